"""Depth pruning: remove whole layers: the last ones, given ones, or those that change their input least.

Source: Men et al. 2024, arXiv 2403.03853 (ShortGPT). The influence of a block is one minus the mean cosine
between its input and its output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.engine import one_off
from bench.engine.evidence import Census, Check, check
from bench.errors import Unsupported
from bench.optimisations.shared import calibration, classes, decoder

REQUIRES = ("torch",)
WEIGHTS = "any"
FIRST, NUMBERED = ("first_k_dense_replace",), ("mlp_only_layers",)  # as configs of mixtures say it


@dataclass(frozen=True)
class Params(calibration.CalibrationParams):
    """``keep_layers`` is the number of layers that stay.

    Without it and without ``drop``, four of five layers stay. ``by`` says how the layers to remove are
    chosen. ``drop`` lists the layers to remove, counted from 0.
    """

    keep_layers: int | None = None
    by: Literal["influence", "last"] = "influence"
    drop: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_layers is not None and self.keep_layers < 1:
            raise ValueError("keep_layers must be at least 1")
        if self.keep_layers is not None and self.drop:
            raise ValueError("give either keep_layers or drop")
        if len(set(self.drop)) < len(self.drop) or any(number < 0 for number in self.drop):
            raise ValueError("drop must be numbers of layers from 0, each once")

    def kept(self, layers: int) -> int:
        """Return how many of ``layers`` stay."""
        if self.drop:
            return layers - len(self.drop)
        return self.keep_layers if self.keep_layers is not None else layers - max(1, round(layers / 5))


def unused(params: Params) -> dict[str, str]:
    """Return the settings that do nothing: only the influence of a layer is measured on a text."""
    if params.drop:
        reason = "drop names the layers to remove"
        return {"by": reason, **calibration.without_text(reason)}
    return {} if params.by == "influence" else calibration.without_text("the last layers are removed")


def refuse(params: Params, architecture: Mapping[str, Any]) -> str | None:
    """Return why the settings do not fit a model of this shape, with the nearest that do, or None."""
    layers = architecture["layers"]
    if params.keep_layers is not None and params.keep_layers >= layers:
        return f"keep_layers {params.keep_layers}: the model has {layers}; the nearest is {layers - 1}"
    if params.drop and max(params.drop) >= layers:
        return f"drop {max(params.drop)}: the layers of the model are 0 to {layers - 1}"
    return None if params.kept(layers) >= 1 else f"none of the {layers} layers would stay"


def refuse_model(params: Params, config: Mapping[str, Any]) -> str | None:
    """Return why the class of a model does not take this scheme, or None; ``config`` is its config.json."""
    return classes.why_no_fewer_layers(config)


def apply(model: Any, params: Params) -> Any:
    """Remove layers, renumber those that stay in their order, and put their number into the config.

    Raises Unsupported if the settings do not fit the model, or if it does not run without these layers.
    """
    import torch

    layers = decoder.blocks(model)
    if reason := refuse(params, {"layers": len(layers)}):
        raise Unsupported(reason)
    dropped = _dropped(model, layers, params)
    kept = [number for number in range(len(layers)) if number not in dropped]
    config = model.config.get_text_config()
    for name, value in of_kept(config, len(layers), kept).items():
        setattr(config, name, value)
    config.num_hidden_layers = len(kept)
    model.model.layers = torch.nn.ModuleList(layers[number] for number in kept)
    for number, block in enumerate(model.model.layers):
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = number
    decoder.must_run(model)
    return model


def of_kept(config: Any, layers: int, kept: Sequence[int]) -> dict[str, Any]:
    """Return what a config says of single layers, for those that stay: a list with an entry for each layer,
    numbers of layers, or how many first ones are of another kind. A checkpoint of them is loaded by it."""
    found: dict[str, Any] = {}
    for name, value in vars(config).items():
        if name in FIRST and isinstance(value, int):
            found[name] = sum(number < value for number in kept)
        elif name in NUMBERED and isinstance(value, list):
            found[name] = [place for place, number in enumerate(kept) if number in value]
        elif "layer" in name and isinstance(value, list) and len(value) == layers:
            found[name] = [value[number] for number in kept]
    return found


def _dropped(model: Any, layers: Any, params: Params) -> set[int]:
    import torch

    if params.drop:
        return set(params.drop)
    count = len(layers) - params.kept(len(layers))
    if params.by == "last":
        return set(range(len(layers) - count, len(layers)))
    influence = one_off.kept(
        "pruning",
        model,
        {"scheme": "depth", **calibration.recipe(model, params)},
        ("torch",),
        lambda: {"influence": torch.tensor(influences(model, calibration.windows(model, params)))},
    )["influence"].tolist()
    return set(sorted(range(len(layers)), key=influence.__getitem__)[:count])


def influences(model: Any, windows: Any) -> list[float]:
    """Return 1 − mean cosine(input, output) of every block over the tokens of ``windows``."""
    import torch

    layers = decoder.blocks(model)
    sums, tokens = [0.0] * len(layers), [0] * len(layers)

    def adds_to(number: int) -> Callable[..., None]:
        def look(_module: Any, inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output
            cosine = torch.nn.functional.cosine_similarity(inputs[0].float(), output.float(), dim=-1)
            sums[number] += float(cosine.sum())
            tokens[number] += cosine.numel()

        return look

    with decoder.watching({block: adds_to(number) for number, block in enumerate(layers)}):
        decoder.read(model, windows)
    return [1 - total / count for total, count in zip(sums, tokens, strict=True)]


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check how many layers hold matrices, and that all weights take fewer bytes."""
    old, new = _layers(before), _layers(after)
    wanted = params.kept(old) if old else 0
    smaller = after.weights_bytes < before.weights_bytes
    return [
        check("layers", new, 0 < new == wanted, wanted),
        check("bytes of all weights", after.weights_bytes, smaller, f"< {before.weights_bytes}"),
    ]


def _layers(census: Census) -> int:
    found = (re.search(r"\blayers\.(\d+)\.", m.name) for m in census.matrices)
    return len({one.group(1) for one in found if one})
