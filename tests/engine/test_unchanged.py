"""Whether a step changed anything is seen in the model itself, and not in what its scheme says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
import torch

from bench.engine import unchanged


class Model(torch.nn.Module):  # type: ignore[misc]
    """Two layers and a config."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)
        self.config = {"attention": "eager"}
        self.bits = 16


def flip(model: Any) -> None:
    """No sum of magnitudes sees it."""
    model.first.weight.data.neg_()


def transpose(model: Any) -> None:
    model.first.weight.data = model.first.weight.data.t().contiguous()


def hook(model: Any) -> None:
    model.first.register_forward_pre_hook(lambda _layer, given: given)


def forward(model: Any) -> None:
    model.first.forward = MethodType(lambda _layer, given: given, model.first)


def setting(model: Any) -> None:
    model.bits = 8


def config(model: Any) -> None:
    model.config["attention"] = "sdpa"


def another_class(model: Any) -> None:
    model.first = torch.nn.Identity()


def cast(model: Any) -> None:
    model.second.bias.data = model.second.bias.data.bfloat16()


@pytest.mark.parametrize(
    "change",
    [flip, transpose, hook, forward, setting, config, another_class, cast],
    ids=lambda one: one.__name__,
)
def test_every_kind_of_change_is_seen(change: Callable[[Any], None]) -> None:
    model = Model()
    before = unchanged.looks(model)
    change(model)
    assert unchanged.looks(model) != before


def test_no_change_is_none() -> None:
    model = Model()
    before = unchanged.looks(model)
    model.eval()
    model.first(torch.zeros(1, 64))
    model.first = copy.deepcopy(model.first)
    assert unchanged.looks(model) == before
