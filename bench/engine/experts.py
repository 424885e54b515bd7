"""Convert the stacked experts of a mixture into linear layers, two per expert.

transformers holds the experts of a layer as two stacks, [experts, outputs, inputs] each, and multiplies them
in one grouped product. A scheme that packs or prunes linear layers does not find them, although they are most
of the weights. Here each expert becomes two linear layers, which any scheme treats like the others.

The layout is that of ``transformers.integrations.moe``. Its ``ALL_EXPERTS_FUNCTIONS`` allows us to register
another way to compute experts. Routers, activations and gates stay those of the architecture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.engine.evidence import Check, check
from bench.errors import Unsupported

ONE_BY_ONE = "bench_one_by_one"  # the name under which transformers finds ``_one_by_one``
MARKS = ("has_gate", "has_bias", "is_transposed", "num_experts")  # attributes of transformers' expert classes
# How far an output may move, in standard deviations: separate products round differently than grouped ones.
MOST_APART, MOST_APART_ROUNDED = 1e-4, 0.05  # in float32, and in dtypes with fewer bits
NOTE = "its experts are computed one by one; add a row {rearrange: experts} to see what that alone costs"
TOKENS = 4  # the outputs before and after are compared on at least this many tokens


@dataclass(frozen=True)
class Taken:
    """Count the experts that were converted, in how many layers and with how many ``weights``.

    ``apart`` is how far their outputs are from those of the stacks, in standard deviations of the output, and
    ``most`` is how far they may be.
    """

    experts: int = 0
    layers: int = 0
    weights: int = 0
    apart: float = 0.0
    most: float = MOST_APART

    def checks(self, all_weights: int) -> list[Check]:
        """Return the checks for a model that has ``all_weights`` weights in matrices and stacks."""
        share = self.weights / max(all_weights, 1)
        found = f"{self.experts} of {self.layers} layers, with {share:.1%} of the weights"
        apart = f"{self.apart:.2g} sd of the output apart"
        return [
            check("experts taken as linear layers", found, self.experts > 0, "all"),
            check(
                "they compute what their stacks did", apart, self.apart <= self.most, f"at most {self.most:g}"
            ),
        ]


def mixtures(model: Any) -> Iterator[Any]:
    """Yield every module that holds experts, stacked or converted, in the order of the model."""
    for module in getattr(model, "modules", list)():
        if all(hasattr(module, mark) for mark in MARKS) and hasattr(module, "down_proj"):
            yield module


def stacked(model: Any) -> list[Any]:
    """Return the modules that hold their experts as stacks."""
    return [module for module in mixtures(model) if not _is_apart(module)]


def has_stacks(model: Any) -> bool:
    """Return whether a model holds stacked matrices, which schemes for linear layers do not find."""
    modules: Iterable[Any] = getattr(model, "modules", list)()
    return any(_is_stack(weight) for module in modules for weight in module._parameters.values())


def into_linears(model: Any) -> Taken:
    """Replace the stacks of every mixture by linear layers, one mixture after the other.

    The weights are copied, so that packing an expert frees the memory of its original weights. Raises
    Unsupported for experts that transformers does not compute by its common interface.
    """
    return _all_apart(_usable(model), views=False)


@contextmanager
def lent_as_linears(model: Any) -> Iterator[Taken]:
    """Give the block linear layers whose weights are views of the stacks, and restore the stacks after it.

    A change in place changes the stacks. Raises Unsupported as ``into_linears`` does.
    """
    modules = _usable(model)
    before = [(module, module.config._experts_implementation, dict(module._parameters)) for module in modules]
    try:
        yield _all_apart(modules, views=True)
    finally:
        for module, implementation, parameters in before:
            for name in _names(module):
                module._modules.pop(name, None)
            module._parameters.clear()
            module._parameters.update(parameters)
            module.config._experts_implementation = implementation


@contextmanager
def reading_everything(model: Any) -> Iterator[None]:
    """Let every expert compute every token in the block, as calibration needs it; no output changes."""
    modules = [module for module in mixtures(model) if _is_apart(module)]
    for module in modules:
        module.reads_everything = True
    try:
        yield
    finally:
        for module in modules:
            module.reads_everything = False


def _usable(model: Any) -> list[Any]:
    """Return the stacked mixtures. Raises Unsupported if other weights are stacked by expert, or packed."""
    usable = stacked(model)
    ours = {id(module) for module in usable}
    for name, module in model.named_modules():
        if id(module) not in ours and any(map(_is_stack, module._parameters.values())):
            raise Unsupported(
                f"{type(model).__name__} computes its experts ({name}) in its own way: this scheme "
                "works on linear layers, and on experts that transformers computes by its common interface"
            )
    for module in usable:
        packed = [stack.dtype for stack in _stacks(module).values() if stack.dtype.itemsize < 2]
        if packed:
            raise Unsupported(f"the experts of {type(model).__name__} are already packed ({packed[0]})")
    return usable


def _is_stack(weight: Any) -> bool:
    """Return whether a parameter is a stack of matrices, and not the weight of a convolution."""
    return weight is not None and weight.dim() == 3 and weight.shape[0] > 1 and min(weight.shape[1:]) >= 8


def _names(module: Any) -> tuple[str, str]:
    return ("gate_up_proj" if module.has_gate else "up_proj"), "down_proj"


def _stacks(module: Any) -> dict[str, Any]:
    return {name: getattr(module, name) for name in _names(module)}


def _is_apart(module: Any) -> bool:
    return "down_proj" in module._modules


def _all_apart(modules: list[Any], *, views: bool) -> Taken:
    """Convert every mixture, and then let transformers compute all of them by ``_one_by_one``."""
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    ALL_EXPERTS_FUNCTIONS.register(ONE_BY_ONE, _one_by_one)
    taken = [_compared(module, views) for module in modules]
    for module in modules:
        module.config._experts_implementation = ONE_BY_ONE
    return _together(taken)


def _take_apart(module: Any, views: bool) -> None:
    """Replace the stacks of one mixture by linear layers."""
    import torch

    for name in _names(module):
        stack, biases = getattr(module, name), getattr(module, f"{name}_bias") if module.has_bias else None
        matrices = (matrix.T if module.is_transposed else matrix for matrix in stack.data)
        layers = torch.nn.ModuleList(
            _linear(matrix if views else _own(matrix), None if biases is None else biases.data[number])
            for number, matrix in enumerate(matrices)
        )
        delattr(module, name)
        if biases is not None:
            delattr(module, f"{name}_bias")
        setattr(module, name, layers.eval())


def _own(weight: Any) -> Any:
    import torch

    return weight.clone(memory_format=torch.contiguous_format)


def _linear(weight: Any, bias: Any | None) -> Any:
    import torch

    outputs, inputs = weight.shape
    layer = torch.nn.Linear(inputs, outputs, bias is not None, device="meta")
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = torch.nn.Parameter(bias, requires_grad=False)
    return layer


def _one_by_one(self: Any, hidden_states: Any, top_k_index: Any, top_k_weights: Any) -> Any:
    """Compute the output [tokens, width] of a mixture from its input [tokens, width].

    ``top_k_index`` and ``top_k_weights`` are the chosen experts and their weights, both [tokens, chosen].
    Each chosen expert reads its tokens. Products and sums are in the same order as in transformers'
    ``batched_mm_experts_forward``.
    """
    import torch

    tokens, chosen = top_k_index.shape
    up, down = (getattr(self, name) for name in _names(self))
    gate = self._apply_gate if self.has_gate else self.act_fn
    pairs = top_k_index.reshape(-1)
    counts = torch.bincount(pairs, minlength=self.num_experts).tolist()
    out = torch.zeros(len(pairs), hidden_states.shape[-1], dtype=hidden_states.dtype, device=pairs.device)
    places = pairs.argsort(stable=True).split(counts)
    everything = getattr(self, "reads_everything", False)
    for number, place in enumerate(places[: self.num_experts]):
        if everything:
            out[place] = down[number](gate(up[number](hidden_states)))[place // chosen].to(out.dtype)
        elif len(place):
            out[place] = down[number](gate(up[number](hidden_states[place // chosen]))).to(out.dtype)
    weighted = out * top_k_weights.reshape(-1, 1)
    return weighted.view(tokens, chosen, -1).sum(1).to(hidden_states.dtype)


def _compared(module: Any, views: bool) -> Taken:
    """Convert one mixture, and compare its outputs before and after on tokens that reach every expert."""
    import torch

    up, down = _stacks(module).values()
    width = up.shape[1] if module.is_transposed else up.shape[2]
    experts, device = module.num_experts, up.device
    tokens = max(TOKENS, experts)
    drawn = torch.Generator().manual_seed(0)
    read = torch.randn(tokens, width, generator=drawn).to(up.device, up.dtype)
    first = torch.arange(tokens, device=device) % experts
    index = torch.stack([first, (first + 1) % experts], 1) if experts > 1 else first[:, None]
    weights = torch.full(index.shape, 0.5, dtype=up.dtype, device=device)
    with torch.no_grad():
        before = module(read, index, weights)
        _take_apart(module, views)
        after = _one_by_one(module, read, index, weights)
    spread = float(before.float().std())
    apart = float((before - after).float().abs().max()) / spread if spread > 0 else 0.0
    most = MOST_APART if up.dtype is torch.float32 else MOST_APART_ROUNDED
    return Taken(experts, 1, up.numel() + down.numel(), apart, most)


def _together(taken: list[Taken]) -> Taken:
    if not taken:
        return Taken()
    return Taken(
        sum(each.experts for each in taken), len(taken), sum(each.weights for each in taken),
        max(each.apart for each in taken), taken[0].most,
    )  # fmt: skip
