"""Export a decoder as an OpenVINO graph, and read what a compiled graph holds.

optimum-intel traces the graph, because it knows how the cache of each architecture becomes the state of a
graph. Tracing it here would need fewer packages, but it would be one more thing that can be wrong. The head
computes the positions asked for, as in OpenVINO's own pipelines.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.engine import Options
from bench.engine.evidence import Census, Matrix
from bench.engine.stepping import MOST_BELOW, MOST_BELOW_ROUNDED, apart, probe
from bench.errors import Unsupported
from bench.models.json_files import json_object, packing
from bench.runtimes._checkpoint import in_our_words
from bench.runtimes._export import kept_export
from bench.runtimes._whole import must_be_whole

RECIPE = 2  # part of the cache key: raise it when the same weights are written differently
FILE = "model.xml"
PROBED = 24  # tokens of the text with which a new graph is compared with its model
LogitsOf = Callable[[Path, Sequence[int]], Any]  # of a graph and of token ids: [tokens, vocabulary]
END = 2**31 - 1
QUANTISED_ACTIVATIONS = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
HOLDERS = ("FullyConnected", "Gather")
ACTIVATION_GROUPS = {"float": 0, "int8": 32}


def precision(dtype: str) -> str:
    """Return OpenVINO's name of a dtype. Raises Unsupported if this processor has no instructions for it."""
    capability = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}[dtype]
    if capability not in library().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Unsupported(f"OpenVINO does not compute in {dtype} on this processor")
    return PRECISIONS[dtype]


def library() -> Any:
    """Import OpenVINO without its telemetry package, which would report the import to its makers."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def settings_for(options: Options) -> dict[str, object]:
    """Return the settings of a graph. Raises Unsupported for what no model does in this engine."""
    if options.device.startswith("cuda"):
        raise Unsupported("the openvino engine runs on the CPU")
    if options.random:
        raise Unsupported("the openvino engine needs a model's weights, not random ones")
    if options.attention != "sdpa" and not options.task:
        raise Unsupported(f"the openvino engine has sdpa attention for decoders, not {options.attention}")
    threads = {} if options.threads is None else {"INFERENCE_NUM_THREADS": options.threads}
    return {
        "INFERENCE_PRECISION_HINT": precision(options.dtype),
        QUANTISED_ACTIVATIONS: ACTIVATION_GROUPS["float"],
        "ENABLE_CPU_PINNING": False,  # the harness binds the threads
        **threads,
    }


def exported(directory: Path, dtype: str, logits_of: LogitsOf) -> Path:
    """Return the graph of the model in ``directory`` with weights in ``dtype``.

    It comes from the cache if it was written before. ``logits_of`` runs a new graph, which must compute what
    the model computes. Raises Unsupported for an architecture that cannot be exported, or that is exported
    as another model.
    """
    packages = " ".join(version(name) for name in ("openvino", "optimum-intel", "transformers"))
    by = f"{packages} {RECIPE}"

    def write(to: Path) -> None:
        _write(directory, to, dtype)
        _must_be_the_model(directory, dtype, partial(logits_of, to / FILE))

    return kept_export(directory, f"openvino {dtype}", by, write) / FILE


def _must_be_the_model(directory: Path, dtype: str, logits: Callable[[Sequence[int]], Any]) -> None:
    """Raise Unsupported if a new graph computes other logits than the model that it was traced from.

    A trace keeps the path that its example took through the model, such as the experts that it chose.
    """
    import torch
    import transformers

    with in_our_words("sdpa", "transformers cannot load this model"):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            str(directory), dtype=getattr(torch, dtype), local_files_only=True, use_safetensors=True
        )
    ids = probe(PROBED, model.config.get_text_config().vocab_size)
    with torch.inference_mode():
        right = model.eval()(torch.tensor([ids])).logits[0].float()
    mean = math.fsum(map(apart, right, logits(ids))) / len(ids)
    most = MOST_BELOW if dtype == "float32" else MOST_BELOW_ROUNDED
    if not mean <= most:
        raise Unsupported(
            f"optimum-intel {version('optimum-intel')} exports another model: its logits are {mean:.2g} sd "
            f"from those of transformers {version('transformers')} (at most {most})"
        )


def _write(directory: Path, to: Path, dtype: str) -> None:
    openvino = library()
    import torch
    from optimum.exporters.openvino import main_export
    from optimum.intel import OVConfig

    _exportable(directory)
    must_be_whole(directory)
    traced = to / "traced"
    with in_our_words("sdpa", "optimum-intel cannot export this model"):
        main_export(
            str(directory),
            traced,
            task="text-generation-with-past",
            local_files_only=True,
            model_loading_kwargs={"torch_dtype": getattr(torch, dtype), "use_safetensors": True},
            ov_config=OVConfig(dtype="fp32"),  # without this, models of 1e9 weights are quantised
        )
    model = openvino.Core().read_model(traced / "openvino_model.xml")
    _let_choose_positions(openvino, model)
    openvino.save_model(model, to / FILE, compress_to_fp16=False)
    del model
    shutil.rmtree(traced)


def refuse_model(config: Mapping[str, Any]) -> str | None:
    """Return why this engine does not take the checkpoint of a ``config.json``, as far as that says it."""
    packed = "the openvino engine exports checkpoints in floating point, not packed ones"
    return packed if packing(config) else None


def _exportable(directory: Path) -> None:
    """Raise Unsupported for packed weights, and for a model type for which optimum-intel has no recipe."""
    from optimum.exporters.tasks import TasksManager

    config = json_object(directory / "config.json")
    if reason := refuse_model(config):
        raise Unsupported(reason)
    kind = config.get("model_type", "")
    try:
        tasks = TasksManager.get_supported_tasks_for_model_type(kind, "openvino", library_name="transformers")
    except (KeyError, ValueError):
        tasks = {}
    if "text-generation-with-past" not in tasks:
        raise Unsupported(f"optimum-intel {version('optimum-intel')} does not export {kind} models")


def _let_choose_positions(openvino: Any, model: Any) -> None:
    """Add an input ``first``: the head computes the positions from there to the last (-1: only the last)."""
    operators = openvino.opset13
    head = model.outputs[0].get_node()
    while head.get_type_name() != "MatMul":
        head = head.input_value(0).get_node()
    first = operators.parameter([1], openvino.Type.i64, name="first")
    first.output(0).get_tensor().set_names({"first"})
    stop, step, axis = (operators.constant([value], openvino.Type.i64) for value in (END, 1, 1))
    chosen = operators.slice(head.input_value(0), first, stop, step, axis)
    head.input(0).replace_source_output(chosen.output(0))
    model.add_parameters([first])
    model.validate_nodes_and_infer_types()


# ---- a compiled graph --------------------------------------------------------------------------


def of(operator: Any, fact: str) -> str:
    return str(operator.get_rt_info()[fact].astype(str))


def dtype_of(operator: Any) -> str:
    return str(operator.get_output_element_type(0).get_type_name())


def elements_of(operator: Any) -> int:
    return math.prod(operator.get_output_shape(0))


def bytes_of(operator: Any) -> int:
    """Return the bytes of a constant: 0 for the empty constant that stands for a missing bias."""
    elements = elements_of(operator)
    return elements * int(operator.get_output_element_type(0).bitwidth) // 8 if elements else 0


def held_by(operator: Any) -> list[Any]:
    """Return the tables among an operator's inputs: weights, scales, zero points."""
    sources = [one.get_source_output().get_node() for one in operator.inputs()]
    sources = [one.input_value(0).get_node() if of(one, "layerType") == "Convert" else one for one in sources]
    return [one for one in sources if of(one, "layerType") == "Const" and len(one.get_output_shape(0)) > 1]


def matrix_of(operator: Any, is_head: bool, scalars: Mapping[str, float]) -> Matrix:
    held = held_by(operator)
    weight = max(held, key=elements_of)
    return Matrix(
        name=operator.get_friendly_name(),
        module=of(operator, "layerType"),
        dtype=dtype_of(weight),
        elements=elements_of(weight),
        stored_bytes=sum(map(bytes_of, held)),
        zero_fraction=None,
        is_head=is_head,
        scalars=scalars,
    )


def census(operators: Sequence[Any], group: Mapping[str, float]) -> Census:
    """List every matrix of an executed graph, the head last, each with the numbers in ``group``."""
    holders = [one for one in operators if of(one, "layerType") in HOLDERS and held_by(one)]
    matrices = tuple(matrix_of(one, one is holders[-1], group) for one in holders)
    by_dtype: dict[str, int] = {}
    for operator in operators:
        if of(operator, "layerType") == "Const" and (size := bytes_of(operator)):
            by_dtype[dtype_of(operator)] = by_dtype.get(dtype_of(operator), 0) + size
    return Census(matrices, sum(by_dtype.values()), by_dtype)


def parameters(files: Iterable[Path], *, tied: bool) -> int:
    """Return how many weights safetensors files hold; a ``tied`` head is counted once."""
    from safetensors import safe_open

    count = 0
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                if not (tied and name == "lm_head.weight"):
                    count += math.prod(file.get_slice(name).get_shape())
    return count


def activations(group: Any) -> str:
    """Say how activations are multiplied, from the setting ``QUANTISED_ACTIVATIONS``."""
    return f"activations in int8 by groups of {group}" if group else "activations not quantised"
