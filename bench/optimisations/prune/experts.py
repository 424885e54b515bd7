"""Expert pruning of a mixture: remove the experts that the router chooses least, in every layer.

Source: Lu et al. 2024, arXiv 2402.14800, by the frequency of routing. Each token still goes to the same
number of experts, so this saves memory but no time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.engine import one_off
from bench.engine.evidence import Census, Check, check
from bench.errors import Unsupported
from bench.optimisations.shared import calibration, decoder

REQUIRES = ("torch",)
WEIGHTS = "any"
NOTE = "as many experts work on each token as before: what is saved is memory"
NO_MIXTURE = "this model is no mixture of experts"
COUNTS = ("num_experts", "num_local_experts")


@dataclass(frozen=True)
class Params(calibration.CalibrationParams):
    """``keep`` is the share of experts that stay in every layer, above 0 and below 1."""

    keep: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.keep < 1:
            raise ValueError("keep must be above 0 and below 1, such as 0.75")


def refuse(params: Params, architecture: Mapping[str, Any]) -> str | None:
    """Return a reason if the config of the model names no experts, so that there are none to remove."""
    return None if architecture["mixture"] else NO_MIXTURE


def unsupported(device: str, dtype: str) -> str | None:
    """Return None: this scheme runs everywhere."""
    return None


def apply(model: Any, params: Params) -> Any:
    """Cut the weights of routers and experts, and put the new number of experts into the config.

    Raises Unsupported if the model is not a mixture, or if fewer experts would stay than each token goes to.
    """
    import torch

    mixtures = list(_mixtures(model))
    if not mixtures:
        raise Unsupported(NO_MIXTURE)
    count = round(params.keep * mixtures[0].experts.num_experts)
    if count < mixtures[0].gate.top_k:
        raise Unsupported(f"{count} experts would stay, and each token goes to {mixtures[0].gate.top_k}")
    kept_counts = one_off.kept(
        "pruning",
        model,
        {"scheme": "experts", **calibration.recipe(params)},
        ("torch",),
        lambda: {
            f"{place:06}": counts
            for place, counts in enumerate(_chosen(model, mixtures, calibration.windows(model, params)))
        },
    )
    chosen = [kept_counts[name] for name in sorted(kept_counts)]
    for mixture, times in zip(mixtures, chosen, strict=True):
        kept = times.topk(count).indices.sort().values
        for module in (mixture.gate, mixture.experts):
            for name, weight in list(module.named_parameters(recurse=False)):
                setattr(module, name, torch.nn.Parameter(weight.data[kept].clone(), requires_grad=False))
            module.num_experts = count
    for name in COUNTS:
        if hasattr(model.config, name):
            setattr(model.config, name, count)
    return model


def _mixtures(model: Any) -> Iterator[Any]:
    """Yield the blocks that have a router (``gate``) and stacked experts."""
    for module in model.modules():
        stacked = hasattr(getattr(module, "experts", None), "gate_up_proj")
        if stacked and hasattr(getattr(module, "gate", None), "top_k"):
            yield module


def _chosen(model: Any, mixtures: list[Any], windows: Any) -> list[Any]:
    """Count how often each expert of each mixture was chosen, int64 [experts]."""
    import torch

    counts = [torch.zeros(one.experts.num_experts, dtype=torch.long) for one in mixtures]

    def adds_to(count: Any) -> Callable[..., None]:
        def look(_module: Any, _inputs: Any, output: Any) -> None:
            count.add_(torch.bincount(output[2].flatten().cpu(), minlength=count.numel()))

        return look

    with decoder.watching({one.gate: adds_to(count) for one, count in zip(mixtures, counts, strict=True)}):
        decoder.read(model, windows)
    return counts


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check the number of rows of the routers, and that all weights take fewer bytes."""
    old = {m.name: m.shape[0] for m in before.matrices if m.name.endswith(".gate")}
    new = {m.name: m.shape[0] for m in after.matrices if m.name.endswith(".gate")}
    fits = all(new.get(name) == round(params.keep * experts) for name, experts in old.items())
    found = ", ".join(map(str, sorted(set(new.values())))) or "none"
    smaller = after.weights_bytes < before.weights_bytes
    return [
        check(f"experts in {len(new)} layers", found, bool(old) and fits, f"{params.keep:g} of them"),
        check("bytes of all weights", after.weights_bytes, smaller, f"< {before.weights_bytes}"),
    ]
