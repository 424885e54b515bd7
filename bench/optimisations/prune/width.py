"""Width pruning: remove MLP channels and attention heads, so that every layer has smaller matrices.

Source: the importances are those of Wanda (Sun et al. 2024, arXiv 2306.11695) and of first-order Taylor
expansion (Molchanov et al. 2019, arXiv 1906.10771; Ma et al. 2023, arXiv 2305.11627). They are summed over a
channel, or over the heads that share keys and values. Such heads are removed together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.engine import one_off
from bench.engine.evidence import Census, Check, check
from bench.errors import Unsupported
from bench.optimisations.shared import calibration, classes, decoder

REQUIRES = ("torch",)
MULTIPLE = 8  # kernels are fast for widths that are multiples of this


@dataclass(frozen=True)
class Params(calibration.CalibrationParams):
    """``mlp`` is the share of MLP channels to remove, from 0 to below 1.

    ``keep_heads`` is the number of attention heads that stay in every layer. ``by`` says what their
    importance is computed from: the weights alone (``magnitude``), the weights and their input activations
    (``activation``), or the loss (``taylor``).
    """

    mlp: float = 0.25
    keep_heads: int | None = None
    by: Literal["activation", "magnitude", "taylor"] = "activation"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.mlp < 1:
            raise ValueError("mlp must be from 0 to below 1, such as 0.25")
        if self.mlp == 0 and self.keep_heads is None:
            raise ValueError("nothing would be removed: give mlp or keep_heads")
        if self.keep_heads is not None and self.keep_heads < 1:
            raise ValueError("keep_heads must be at least 1")


def unused(params: Params) -> dict[str, str]:
    """Return the settings that do nothing: the magnitude is that of the weights alone."""
    return calibration.without_text("magnitude reads no text") if params.by == "magnitude" else {}


def refuse(params: Params, architecture: Mapping[str, Any]) -> str | None:
    """Return why the settings do not fit a model of this shape, with the nearest that do, or None."""
    heads, groups = architecture["attention_heads"], architecture["kv_heads"]
    kept, together = params.keep_heads, heads // groups
    if kept is None or (kept % together == 0 and kept <= heads):
        return None
    nearest = min(range(together, heads + 1, together), key=lambda one: abs(one - kept))
    return f"keep_heads {kept}: the model has {heads} heads, {together} to a key; the nearest is {nearest}"


def refuse_model(params: Params, config: Mapping[str, Any]) -> str | None:
    """Return why the class of a model does not take this scheme, or None; ``config`` is its config.json."""
    return classes.why_not_like_llama(config)


def apply(model: Any, params: Params) -> Any:
    """Keep the most important channels and heads in their order, and put the new sizes into the config.

    Raises Unsupported if the settings do not fit the model.
    """
    config, layers = model.config, decoder.plain_blocks(model)
    shape = {"attention_heads": config.num_attention_heads, "kv_heads": config.num_key_value_heads}
    if reason := refuse(params, shape):
        raise Unsupported(reason)
    for block, (channels, inputs) in zip(layers, _importances(model, layers, params), strict=True):
        if params.mlp:
            _cut_mlp(block.mlp, channels, params.mlp)
        if params.keep_heads is not None:
            _cut_heads(block.self_attn, inputs, params.keep_heads, shape)
    config.intermediate_size = layers[0].mlp.down_proj.in_features
    if params.keep_heads is not None:
        config.head_dim = layers[0].self_attn.head_dim
        together = config.num_attention_heads // config.num_key_value_heads
        config.num_attention_heads = params.keep_heads
        config.num_key_value_heads = params.keep_heads // together
    return model


def _importances(model: Any, layers: Any, params: Params) -> list[tuple[Any, Any]]:
    """Return the importances of the inputs of each layer's ``down_proj`` and ``o_proj``, float32 [inputs]."""

    def make() -> dict[str, Any]:
        ends = [block.mlp.down_proj for block in layers] + [block.self_attn.o_proj for block in layers]
        return {f"{place:06}": one for place, one in enumerate(_weighed(model, ends, params))}

    seen = {"scheme": "width", "by": params.by, **calibration.recipe(model, params)}
    kept = one_off.kept("pruning", model, seen, ("torch",), make)
    found = [kept[name] for name in sorted(kept)]
    return list(zip(found[: len(layers)], found[len(layers) :], strict=True))


def _weighed(model: Any, ends: list[Any], params: Params) -> list[Any]:
    """Return the importance of every input of each linear layer in ``ends``, float32 [inputs]."""
    weights = [layer.weight.float() for layer in ends]
    if params.by == "magnitude":
        return [weight.abs().sum(0) for weight in weights]
    if params.by == "activation":
        norms = decoder.input_norms(model, ends, calibration.windows(model, params))
        return [weight.abs().sum(0) * norm for weight, norm in zip(weights, norms, strict=True)]
    slopes = decoder.gradients(model, ends, calibration.windows(model, params))
    return [(weight * slope).abs().sum(0) for weight, slope in zip(weights, slopes, strict=True)]


def _cut_mlp(mlp: Any, importance: Any, share: float) -> None:
    width = importance.numel()
    count = max(MULTIPLE, round(width * (1 - share) / MULTIPLE) * MULTIPLE)
    kept = importance.topk(count).indices.sort().values
    decoder.keep(mlp.gate_proj, outputs=kept)
    decoder.keep(mlp.up_proj, outputs=kept)
    decoder.keep(mlp.down_proj, inputs=kept)


def _cut_heads(attention: Any, importance: Any, keep_heads: int, shape: Mapping[str, int]) -> None:
    import torch

    groups, together = shape["kv_heads"], shape["attention_heads"] // shape["kv_heads"]
    size = importance.numel() // shape["attention_heads"]
    kept = importance.view(groups, -1).sum(1).topk(keep_heads // together).indices.sort().values
    numbers = torch.arange(importance.numel(), device=importance.device)
    queries = numbers.view(groups, -1)[kept].flatten()
    keys = numbers[: groups * size].view(groups, size)[kept].flatten()
    decoder.keep(attention.q_proj, outputs=queries)
    decoder.keep(attention.k_proj, outputs=keys)
    decoder.keep(attention.v_proj, outputs=keys)
    decoder.keep(attention.o_proj, inputs=queries)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check the shapes of the matrices, and that all weights take fewer bytes."""
    checks = []
    if params.mlp:
        checks.append(_narrower(before, after, "mlp.down_proj", 1 - params.mlp))
    if params.keep_heads is not None:
        checks.append(_narrower(before, after, "self_attn.o_proj", None))
    smaller = after.weights_bytes < before.weights_bytes
    return [*checks, check("bytes of all weights", after.weights_bytes, smaller, f"< {before.weights_bytes}")]


def _narrower(before: Census, after: Census, layer: str, share: float | None) -> Check:
    """Check the number of inputs of every such layer: ``share`` of the number before, or only fewer."""
    old = {m.name: m.shape[1] for m in before.matrices if m.name.endswith(layer)}
    new = {m.name: m.shape[1] for m in after.matrices if m.name.endswith(layer)}
    widths = sorted(set(new.values()))
    slack = MULTIPLE if share is not None else 0
    fits = all(
        new.get(name, width) < width and (share is None or abs(new[name] - share * width) <= slack)
        for name, width in old.items()
    )
    wanted = f"{share:g} of {max(old.values(), default=0)}" if share is not None else "fewer"
    return check(
        f"inputs of {layer} in {len(new)} layers",
        ", ".join(map(str, widths)) or "none",
        bool(old) and fits,
        wanted,
    )
