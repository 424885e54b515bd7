"""A decoder written as ONNX by ONNX Runtime's own model builder (onnxruntime-genai).

Compared with a traced export no cache is copied at a step, and it needs no older transformers. Of the head
only the positions asked for are computed, as in the other engines.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import Unsupported

RECIPE = 1  # part of the cache key: raise it when the same weights would be written otherwise
BUILDERS = {
    "LlamaForCausalLM": "LlamaModel",
    "MistralForCausalLM": "MistralModel",
    "Qwen2ForCausalLM": "QwenModel",
    "Qwen3ForCausalLM": "Qwen3Model",
}
FILE = "model.onnx"
HEAD, HEAD_WEIGHT = "/lm_head/MatMul", "lm_head.MatMul.weight"
KEPT = "kept_positions"


def exported(directory: Path, pins: Sequence[str]) -> Path:
    """The model in ``directory`` as ONNX in float32, from the cache where it was written before."""
    from bench.models.cache import file_sha256, fill

    weights = "".join(file_sha256(path) for path in sorted(directory.glob("*.safetensors")))
    key = f"onnx float32 {file_sha256(directory / 'config.json')} {weights} {RECIPE} {' '.join(pins)}"
    return fill(key, lambda staging: write(directory, staging)) / FILE


def write(directory: Path, out: Path) -> None:
    """Write ``model.onnx`` and its weights beside it. Unsupported for an architecture not known here
    and for sliding windows, with which the operator wants prompts of one length and masks otherwise."""
    import torch
    import transformers
    from onnxruntime_genai.models import builder

    config = transformers.AutoConfig.from_pretrained(directory, local_files_only=True)
    architecture = (config.architectures or ["a model that names none"])[0]
    if architecture not in BUILDERS:
        raise Unsupported(f"ONNX is written for {', '.join(BUILDERS)} here, not for {architecture}")
    if getattr(config, "sliding_window", None):
        raise Unsupported("ONNX is written here for models that attend to everything, not to a window")
    float32 = builder.ir.DataType.FLOAT
    make = getattr(builder, BUILDERS[architecture])
    with tempfile.TemporaryDirectory() as scratch, _quiet(), torch.no_grad():
        graph = make(config, float32, float32, "cpu", scratch, {})
        graph.make_model(str(directory))
        graph.save_model(str(out))
    _choose_positions(out / FILE)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The builder prints a line per layer and draws bars."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _choose_positions(path: Path) -> None:
    """Have the head see the positions of the input ``kept_positions`` [sequences, positions, 1] alone: all
    of a window that is scored, the last one of a prompt."""
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
