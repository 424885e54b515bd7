"""Find, update and replace the linear layers of a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bench.engine import census
from bench.errors import Unsupported

if TYPE_CHECKING:
    from torch import Tensor


def linears(model: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yield (parent module, attribute name, layer) of every ``torch.nn.Linear`` except the output head.

    The head is left out, as in transformers: it is often tied to the embedding, and its error goes straight
    into the next token.
    """
    import torch

    head = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is torch.nn.Linear and child is not head:
                yield parent, name, child


def must_be_there(model: Any) -> None:
    """Raise Unsupported if the matrices of a model lie in layers of another class, such as those of GPT-2.

    Layers that are packed already are no such matrices.
    """
    if not hasattr(model, "get_output_embeddings") or next(linears(model), None) is not None:
        return
    head = model.get_output_embeddings()
    layers = (layer for _name, layer in census.linear_layers(model) if layer is not head)
    others = {type(layer).__name__ for layer in layers if _is_dense(getattr(layer, "weight", None))}
    if others:
        raise Unsupported(
            f"{type(model).__name__} has no linear layers of torch, which this scheme works on: its matrices "
            f"are in {', '.join(sorted(others))}"
        )


def _is_dense(weight: Any) -> bool:
    return weight is not None and weight.is_floating_point() and weight.dtype.itemsize > 1


def named_linears(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, layer) of the same layers."""
    names = {module: name for name, module in model.named_modules()}
    for _parent, _attribute, layer in linears(model):
        yield names[layer], layer


def update(model: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Copy each of ``tensors`` to the parameter of the same name, if there is one, and return the model."""
    own = dict(model.named_parameters())
    for name in own.keys() & tensors.keys():
        own[name].data.copy_(tensors[name])
    return model


def replace_linears(model: Any, build: Callable[[Any], Any]) -> Any:
    """Replace every linear layer except the head by ``build(layer)``, and return the model."""
    for parent, name, layer in linears(model):
        setattr(parent, name, build(layer))
    return model
