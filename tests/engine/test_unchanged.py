"""Whether a step changed anything is seen in the model itself, and not in what its scheme says."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable
from functools import partial
from types import MethodType, SimpleNamespace
from typing import Any

import pytest
import torch

from bench import plugins
from bench.engine import unchanged


class Model(torch.nn.Module):  # type: ignore[misc]
    """Two layers and a config."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)
        self.config = {"attention": "eager"}
        self.bits = 16
        self.window, self.rounding = (4, 4), SimpleNamespace(bits={"first": 8})
        self.handles = [self.first.register_forward_hook(lambda _layer, _given, done: done)]
        self.second.forward = wrapped(self.second.forward)
        # as torchao does it: a method that is no function
        self.first.extra_repr = MethodType(partial(repr), self.first)


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


def dtype_of_a_layer(model: Any) -> None:
    """In which bitsandbytes computes, for example."""
    model.first.compute_dtype = torch.bfloat16


def window(model: Any) -> None:
    model.window = (8, 8)


def setting_of_an_object(model: Any) -> None:
    model.rounding.bits["first"] = 4


def another_hook(model: Any) -> None:
    for handle in model.handles:
        handle.remove()
    hook(model)


def wrapped_once_more(model: Any) -> None:
    """Both wrappers have one code and one name."""
    model.second.forward = wrapped(model.second.forward)


def wrapped(function: Any) -> Any:
    return lambda given: function(given)


def another_class(model: Any) -> None:
    model.first = torch.nn.Identity()


def cast(model: Any) -> None:
    model.second.bias.data = model.second.bias.data.bfloat16()


CHANGES = (
    flip, transpose, hook, forward, setting, config, another_class, cast, dtype_of_a_layer, window,
    setting_of_an_object, another_hook, wrapped_once_more,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__)
def test_every_kind_of_change_is_seen(change: Callable[[Any], None]) -> None:
    model = Model()
    before = unchanged.looks(model)
    change(model)
    assert unchanged.looks(model) != before


def rotated(given: Any) -> Any:
    """A function beside the model's class, as transformers has one for its rotary embeddings."""
    return given


TABLE = {"sdpa": rotated}


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (sys.modules[__name__], "rotated"), (Model, "_call_impl"), (torch.nn.functional, "silu"),
        (torch.nn.functional, "linear"), (torch, "matmul"), (TABLE, "sdpa"),
    ],
)  # fmt: skip
def test_a_function_that_is_replaced_for_all_models_is_seen(
    place: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So do kernels for a whole class of models work, which touch no module of the model."""
    model = Model()
    before = unchanged.looks(model)
    setter = monkeypatch.setitem if isinstance(place, dict) else monkeypatch.setattr
    setter(place, name, lambda *given: given)
    assert unchanged.looks(model) != before
    monkeypatch.undo()
    assert unchanged.looks(model) == before


def test_a_switch_of_torch_is_seen() -> None:
    model, was = Model(), torch.get_float32_matmul_precision()
    before = unchanged.looks(model)
    torch.set_float32_matmul_precision("medium")
    try:
        assert unchanged.looks(model) != before
    finally:
        torch.set_float32_matmul_precision(was)


@pytest.mark.parametrize(
    ("kernel", "nothing"),
    [
        (None, True),
        (".", True),
        ("aten::.*mm", True),
        ("", True),
        ("tf32|bf16gemm", False),
        ("my::fused", False),
    ],
)
def test_a_kernel_that_any_model_runs_proves_nothing(kernel: str | None, nothing: bool) -> None:
    assert unchanged.proves_nothing(kernel) is nothing


def test_no_change_is_none() -> None:
    model = Model()
    before = unchanged.looks(model)
    model.eval()
    model.first(torch.zeros(1, 64))
    model.first = copy.deepcopy(model.first)
    assert unchanged.looks(model) == before


def test_whatever_a_plain_model_runs_proves_nothing() -> None:
    """A scheme that does nothing could name any of it as its kernel."""
    import transformers

    sizes = dict.fromkeys(("vocab_size", "hidden_size", "intermediate_size"), 32)
    heads = dict.fromkeys(("num_hidden_layers", "num_attention_heads", "num_key_value_heads"), 2)
    model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**sizes, **heads)).eval()
    with torch.no_grad():
        read = model(torch.tensor([[1, 2, 3]]), use_cache=True)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            logits = model(torch.tensor([[4]]), past_key_values=read.past_key_values, use_cache=True).logits
            logits.argmax(-1)
    ran = {event.name for event in profile.events()}
    assert {"aten::silu", "aten::rsqrt", "aten::embedding"} <= ran
    assert not {name for name in ran if not unchanged.proves_nothing(re.escape(name))}


@pytest.mark.parametrize("kernel", ["sgemm", "cudaLaunchKernel", "elementwise", "flash_fwd", "Memcpy"])
def test_nor_does_what_every_model_runs_on_a_gpu(kernel: str) -> None:
    assert unchanged.proves_nothing(kernel)


@pytest.mark.parametrize("verb", ["quantise", "prune", "compile"])
def test_the_kernels_of_our_schemes_prove_something(verb: str) -> None:
    named = [one.KERNEL for _name, one in plugins.each(f"optimisations.{verb}") if hasattr(one, "KERNEL")]
    assert named
    assert not [kernel for kernel in named if unchanged.proves_nothing(kernel)]
