"""Expert pruning of a mixture: remove the experts that the router chooses least, in every layer.

Source: Lu et al. 2024, arXiv 2402.14800, by the frequency of routing. Each token still goes to the same
number of experts, so this saves memory but no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.engine import expert_counts, experts, one_off
from bench.engine.evidence import Census, Check, check
from bench.errors import Unsupported
from bench.optimisations.shared import calibration, decoder

REQUIRES = ("torch",)
WEIGHTS = "any"
NOTE = "as many experts work on each token as before: what is saved is memory"
NO_MIXTURE = "this model is no mixture of experts"
CHOSEN = "chosen"  # beside the counts, in what is kept
GROUPS = ("num_group", "n_group")
COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


@dataclass(frozen=True)
class Params(calibration.CalibrationParams):
    """``keep`` is the share of experts that stay in every layer, above 0 and below 1.

    ``keep_experts`` is their number instead.
    """

    keep: float = 0.75
    keep_experts: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.keep < 1:
            raise ValueError("keep must be above 0 and below 1, such as 0.75")
        if self.keep_experts is not None and self.keep_experts < 1:
            raise ValueError("keep_experts must be at least 1")

    def kept(self, experts_of_a_layer: int) -> int:
        """Return how many experts of a layer stay."""
        return self.keep_experts or round(self.keep * experts_of_a_layer)


def unused(params: Params) -> dict[str, str]:
    """Return the settings that do nothing: a number stands in the place of a share."""
    return {"keep": "keep_experts is given"} if params.keep_experts is not None else {}


def refuse(params: Params, architecture: Mapping[str, Any]) -> str | None:
    """Return why the settings do not fit a model of this shape, or None."""
    if not architecture["mixture"]:
        return NO_MIXTURE
    count, chosen = (architecture.get(key) for key in ("experts", "experts_per_token"))
    return _misfit(params, count, chosen) if count and chosen else None


@dataclass(frozen=True)
class _Layer:
    """The block of a layer that holds experts, its router, and in how many groups the router chooses."""

    block: Any
    experts: Any
    router: Any
    groups: int


def apply(model: Any, params: Params) -> Any:
    """Cut the weights of routers and experts, and put the new number of experts into the config.

    Raises Unsupported if the model is not a mixture, or if fewer experts would stay than each token goes to.
    """
    layers = list(_layers(model))
    if not layers:
        raise Unsupported(NO_MIXTURE)
    before = layers[0].experts.num_experts
    count, tokens = params.kept(before), _chosen(model, params)
    for layer, times in zip(layers, tokens, strict=True):
        kept = _most_used(times, count, layer.groups)
        for name, child in layer.experts.named_children():
            _keep_children(layer.experts, name, child, before, kept)
        for module in (layer.experts, *layer.router.modules()):
            _keep(module, before, kept)
        _keep(layer.block, before, kept)
    config = model.config.get_text_config()
    for name in COUNTS:
        if getattr(config, name, None) == before:
            setattr(config, name, count)
    return model


def _layers(model: Any) -> Iterator[_Layer]:
    """Yield the layers with experts. Raises Unsupported where no router can be told from the rest."""
    ours = {id(one) for one in experts.mixtures(model)}
    for block in model.modules():
        for name, held in block.named_children():
            if id(held) not in ours:
                continue
            routers = [
                module
                for child, part in block.named_children()
                if child != name and "shared" not in child
                for module in part.modules()
                if _rows(module) == held.num_experts
            ]
            if len(routers) != 1:
                raise Unsupported(f"pruning finds no router beside the experts of {type(model).__name__}")
            said = (getattr(one, key, None) for one in (routers[0], block) for key in GROUPS)
            yield _Layer(block, held, routers[0], next(filter(None, said), 1))


def _rows(module: Any) -> int | None:
    weight = module._parameters.get("weight")
    return len(weight) if weight is not None and weight.dim() == 2 else None


def _chosen(model: Any, params: Params) -> list[Any]:
    """Return how often each expert of each layer was chosen on the calibration text, int64 [experts]."""
    import torch

    def make() -> dict[str, Any]:
        windows = calibration.windows(model, params)
        with expert_counts.watched_model(model) as seen:
            decoder.read(model, windows)
        counts = {f"{place:06}": one for place, one in enumerate(seen.counts)}
        return {**counts, CHOSEN: torch.tensor([seen.chosen])}

    recipe = {"scheme": "experts by interface", **calibration.recipe(model, params)}
    found = dict(one_off.kept("pruning", model, recipe, ("torch",), make))
    chosen = int(found.pop(CHOSEN))
    counts = [found[name] for name in sorted(found)]
    if reason := _misfit(params, len(counts[0]), chosen):
        raise Unsupported(reason)
    return counts


def _misfit(params: Params, count: int, chosen: int) -> str | None:
    kept = params.kept(count)
    if kept >= count:
        return f"{kept} experts would stay, and a layer has {count}"
    return f"{kept} experts would stay, and each token goes to {chosen}" if kept < chosen else None


def _most_used(times: Any, count: int, groups: int) -> Any:
    """Return the sorted numbers of the experts that stay: as many of each group, if the router has groups."""
    if count % groups:
        raise Unsupported(f"{count} experts do not fill the {groups} groups of the router")
    size = len(times) // groups
    best = times.view(groups, size).topk(count // groups, dim=1).indices
    first = best.new_tensor(range(groups)).unsqueeze(1) * size
    return (best + first).flatten().sort().values


def _keep(module: Any, before: int, kept: Any) -> None:
    """Cut what a module holds for each expert, and the numbers of experts that it knows."""
    import torch

    for held in (module._parameters, module._buffers):
        for name, tensor in held.items():
            if tensor is None or before not in (tensor.shape[:1] + tensor.shape[-1:]):
                continue
            axis = 0 if tensor.shape[0] == before else -1
            if axis == 0 or tensor.numel() == before:
                cut = tensor.data.index_select(axis, kept.to(tensor.device))
                learnt = held is module._parameters
                held[name] = torch.nn.Parameter(cut, requires_grad=False) if learnt else cut
    for name in COUNTS:
        if getattr(module, name, None) == before:
            setattr(module, name, len(kept))


def _keep_children(module: Any, name: str, layers: Any, before: int, kept: Any) -> None:
    """Cut experts that were taken apart: a list of layers, one for each."""
    import torch

    if isinstance(layers, torch.nn.ModuleList) and len(layers) == before:
        setattr(module, name, torch.nn.ModuleList(layers[number] for number in kept.tolist()))


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check the number of rows of the routers, the weights of the experts, and that all take fewer bytes."""
    old = {m.name: m.shape[0] for m in before.matrices}
    cut = {m.name: m.shape[0] for m in after.matrices if m.shape[0] < old.get(m.name, 0)}
    fits = all(rows == params.kept(old[name]) for name, rows in cut.items())
    counts = sorted(set(cut.values()))
    found = ", ".join(map(str, counts)) or "none"
    wanted = sorted({params.kept(old[name]) for name in cut})
    smaller = after.weights_bytes < before.weights_bytes
    stacked, left = _in_experts(before), _in_experts(after)
    share = left / stacked if stacked else 1.0
    expected = wanted[0] / old[next(iter(cut))] if cut else 0.0
    return [
        check(
            f"experts in {len(cut)} layers", found, bool(cut) and fits, ", ".join(map(str, wanted)) or "fewer"
        ),
        check(
            "weights of experts that stay", f"{share:.4f}", abs(share - expected) < 0.001, f"{expected:.4f}"
        ),
        check("bytes of all weights", after.weights_bytes, smaller, f"< {before.weights_bytes}"),
    ]


def _in_experts(census: Census) -> int:
    """Return the bytes of experts that were taken apart, or else the number of weights in stacks."""
    return sum(m.stored_bytes for m in census.matrices if ".experts." in m.name) or census.others
