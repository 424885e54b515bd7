"""Write a decoder as ONNX with ONNX Runtime's own model builder (onnxruntime-genai).

In contrast to a traced export, no cache is copied at a step, and no older transformers is needed. The head
computes only the positions asked for, as in the other engines.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import Unsupported
from bench.models.json_files import json_object
from bench.runtimes._checkpoint import in_our_words
from bench.runtimes._config import unknown_key
from bench.runtimes._export import kept_export
from bench.runtimes._whole import must_be_whole

RECIPE = 2  # part of the cache key: raise it when the same weights are written differently
BUILDERS = {
    "LlamaForCausalLM": "LlamaModel",
    "MistralForCausalLM": "MistralModel",
    "Qwen2ForCausalLM": "QwenModel",
    "Qwen3ForCausalLM": "Qwen3Model",
}
BIASES = {"attention_bias": (True,), "mlp_bias": (True,)}  # the builder adds those that the weights have
FILE = "model.onnx"
HEAD, HEAD_WEIGHT = "/lm_head/MatMul", "lm_head.MatMul.weight"
KEPT = "kept_positions"
CANNOT = "ONNX Runtime's model builder cannot write this model"


def exported(directory: Path, pins: Sequence[str]) -> Path:
    """Return the model in ``directory`` as ONNX in float32, from the cache if it was written before."""
    by = f"{RECIPE} {' '.join(pins)}"
    return kept_export(directory, "onnx float32", by, lambda staging: write(directory, staging)) / FILE


def write(directory: Path, out: Path) -> None:
    """Write ``model.onnx``, with its weights beside it. Raises Unsupported as ``computed`` does."""
    import torch

    config, maker = computed(directory)
    must_be_whole(directory)
    from onnxruntime_genai.models import builder

    float32 = builder.ir.DataType.FLOAT
    make = getattr(builder, maker)
    with tempfile.TemporaryDirectory() as scratch, _quiet(), torch.no_grad(), in_our_words("eager", CANNOT):
        graph = make(config, float32, float32, "cpu", scratch, {})
        graph.make_model(str(directory))
        graph.save_model(str(out))
    _choose_positions(out / FILE)


def refuse_model(config: Mapping[str, Any]) -> str | None:
    """Return why the model of a ``config.json`` is not written as ONNX here; None if it is."""
    architecture = str((config.get("architectures") or ["a model that names none"])[0])[:60]
    if architecture not in BUILDERS:
        return f"ONNX is written for {', '.join(BUILDERS)} here, not for {architecture}"
    # Only the class of Llama slows down low frequencies, and it ignores every other kind of scaling.
    scaled = architecture == "LlamaForCausalLM"
    return unknown_key("onnxruntime", config, BIASES, scaled_rotation=scaled)


def computed(directory: Path) -> tuple[Any, str]:
    """Return the config of a model, and the name of the builder's class that computes all of it.

    Raises Unsupported for an architecture that is not known here, for a key of the config that the builder
    would ignore, or understand in another way than transformers, and for sliding windows, even those that a
    class has by default: with these the operator needs prompts of one length, and masks differently.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(directory, local_files_only=True)
    if reason := refuse_model(json_object(directory / "config.json")):
        raise Unsupported(reason)
    if getattr(config, "sliding_window", None):
        raise Unsupported("ONNX is written here for models that attend to everything, not to a window")
    return config, BUILDERS[config.architectures[0]]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the builder prints: a line per layer, and progress bars."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _choose_positions(path: Path) -> None:
    """Let the head see only the positions in a new input ``kept_positions`` [sequences, positions, 1].

    These are all positions of a window that is scored, and the last position of a prompt.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    place, head = next((i, node) for i, node in enumerate(model.graph.node) if node.name == HEAD)
    kept = f"{KEPT}/hidden"
    gather = onnx.helper.make_node(
        "GatherND", [head.input[0], KEPT], [kept], f"/{KEPT}/GatherND", batch_dims=1
    )
    head.input[0] = kept
    model.graph.node.insert(place, gather)
    shape = ["batch_size", "kept", 1]
    model.graph.input.append(onnx.helper.make_tensor_value_info(KEPT, onnx.TensorProto.INT64, shape))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "kept"
    onnx.save(model, path)
