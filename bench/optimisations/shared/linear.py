"""Find, update and replace the linear layers of a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

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
