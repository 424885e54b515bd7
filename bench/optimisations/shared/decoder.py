"""Take a decoder apart: find its blocks, watch the inputs of its layers, and make layers smaller."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bench.errors import Explained, Unsupported
from bench.formatting import one_line

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
FAULTS = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RuntimeError)
OF_MEMORY = ("memory", "CUDA error", "CUBLAS", "alloc")  # what an error says that is an outcome of its own
MOST_SAID = 200
PROBE_TOKENS = 4


def blocks(model: Any) -> Any:
    """Return the blocks in order, a ``ModuleList``.

    Raises Unsupported if the model is no plain stack of blocks.
    """
    found = getattr(getattr(model, "model", None), "layers", None)
    if found is None:
        raise Unsupported(f"known are decoders with model.layers, not {type(model).__name__}")
    return found


def plain_blocks(model: Any) -> Any:
    """Return the blocks. Raises Unsupported unless each has the seven linear layers of a Llama block."""
    found = blocks(model)
    for block in found:
        has = [hasattr(getattr(block, "self_attn", None), name) for name in ATTENTION]
        has += [hasattr(getattr(block, "mlp", None), name) for name in MLP]
        if not all(has):
            raise Unsupported(f"width pruning knows blocks with {', '.join((*ATTENTION, *MLP))} only")
    return found


@contextmanager
def watching(modules: Mapping[Any, Callable[..., None]]) -> Iterator[None]:
    """Call each function with (module, inputs, output) whenever its module has run."""
    hooks = [module.register_forward_hook(look) for module, look in modules.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def read(model: Any, windows: Sequence[Any]) -> None:
    """Run every window of token ids [1, tokens] through the model, without a cache and without gradients."""
    import torch

    with torch.no_grad():
        for window in windows:
            model(input_ids=window, use_cache=False, logits_to_keep=1)


def input_norms(model: Any, layers: Sequence[Any], windows: Sequence[Any]) -> list[Any]:
    """Return, for each linear layer, the L2 norm of every input channel over all tokens, float32 [inputs]."""
    import torch

    squares = [torch.zeros(layer.in_features, device=layer.weight.device) for layer in layers]

    def adds_to(total: Any) -> Callable[..., None]:
        def look(_module: Any, inputs: Any, _output: Any) -> None:
            total.add_(inputs[0].float().flatten(0, -2).square().sum(0))

        return look

    with watching({layer: adds_to(total) for layer, total in zip(layers, squares, strict=True)}):
        read(model, windows)
    return [total.sqrt() for total in squares]


def gradients(model: Any, layers: Sequence[Any], windows: Sequence[Any]) -> list[Any]:
    """Return, for each linear layer, the gradient of the next-token loss, shaped as its weight.

    It is the sum over all windows.
    """
    for layer in layers:
        layer.weight.requires_grad_(True)
    for window in windows:
        model(input_ids=window, labels=window, use_cache=False).loss.backward()
    found = [layer.weight.grad.float() for layer in layers]
    for layer in layers:
        layer.weight.grad = None
        layer.weight.requires_grad_(False)
    return found


def keep(layer: Any, outputs: Any = None, inputs: Any = None) -> None:
    """Cut a linear layer down to some of its outputs and inputs (sorted indices), in place."""
    import torch

    weight = layer.weight.data
    if outputs is not None:
        weight = weight[outputs]
        if layer.bias is not None:
            layer.bias = torch.nn.Parameter(layer.bias.data[outputs].clone(), requires_grad=False)
    if inputs is not None:
        weight = weight[:, inputs]
    layer.weight = torch.nn.Parameter(weight.clone(), requires_grad=False)
    layer.out_features, layer.in_features = weight.shape


@contextmanager
def fewer_layers(model: Any) -> Iterator[None]:
    """Raise Unsupported in place of what a library says when a model with fewer layers is made or run: a
    class may count on all of them. Running out of memory stays what it is."""
    name = type(model).__name__

    def explained(bad: BaseException) -> Unsupported | None:
        if not isinstance(bad, FAULTS) or any(word in str(bad) for word in OF_MEMORY):
            return None
        said = one_line(f"{type(bad).__name__}: {bad}")[:MOST_SAID]
        return Unsupported(f"{name} does not run with a part of its layers ({said})")

    with Explained(explained):
        yield


def must_run(model: Any) -> None:
    """Read a few tokens with a cache. Raises Unsupported if the model, of which layers were taken, cannot."""
    import torch

    ids = torch.zeros((1, PROBE_TOKENS), dtype=torch.long, device=model.device)
    with fewer_layers(model), torch.no_grad():
        cache = getattr(model(input_ids=ids, use_cache=True), "past_key_values", None)
        if cache is not None:
            model(input_ids=ids[:, :1], use_cache=True, past_key_values=cache)


def first_layers(model: Any, count: int) -> Any:
    """Return a view of the model with its first ``count`` layers alone; it shares all its weights.

    Only the top of the module tree is copied, so that the list of layers differs and nothing else.
    """
    import torch

    short, inner = _shallow(model), _shallow(model.model)
    short.config = inner.config = copy.deepcopy(model.config)
    config = short.config.get_text_config(decoder=True)
    config.num_hidden_layers = count
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = config.layer_types[:count]
    inner.layers = torch.nn.ModuleList(model.model.layers[:count])
    short.model = inner
    return short


def _shallow(module: Any) -> Any:
    found = copy.copy(module)
    found._modules = dict(module._modules)
    return found
