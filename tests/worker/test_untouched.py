"""What a step does is the same before and after everything that the harness does to a process.

Its time is compared by ``benchmarks/test_before_and_after.py``, on a quiet machine. Here it is what a time is
made of: the operators that a step calls, and whatever could be left behind and called with them.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from byte_tokenizer import write_tokenizer
from engines import saved, toys
from torch.utils._python_dispatch import TorchDispatchMode

from bench.engine import Engine, Options
from bench.runtimes.transformers import load
from bench.worker import counters, joules, kernels, passes

BATCHES = [[[5, 6, 7, 8]], [[9, 10, 11, 12]]]
NEW_TOKENS = 6


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    place = saved(toys(128, None)["llama"](), tmp_path_factory.mktemp("toy"))
    write_tokenizer(place)
    return load(Path(place), Options(device="cpu", threads=1))


class Operators(TorchDispatchMode):
    """Counts every operator that torch dispatches."""

    def __init__(self) -> None:
        super().__init__()
        self.called: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.called[str(func)] += 1
        return func(*args, **(kwargs or {}))


def operators(engine: Engine) -> Counter[str]:
    """The operators of one decode step."""
    generation = engine.prefill(BATCHES[0], NEW_TOKENS)
    with Operators() as seen:
        engine.step(generation)
    return seen.called


def left_behind(engine: Engine) -> dict[str, object]:
    """Whatever runs beside a step if somebody has forgotten it."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    return {
        "hooks": sum(len(getattr(module, kind)) for module in engine.model.modules() for kind in hooks),
        "modes": torch._C._len_torch_dispatch_stack(),
        "profiler": torch.autograd._profiler_enabled(),
        "trace": (sys.gettrace(), sys.getprofile()),
        "garbage": (gc.isenabled(), gc.get_threshold()),
        "threads": torch.get_num_threads(),
        "training": any(module.training for module in engine.model.modules()),
        "gradients": torch.is_grad_enabled(),
    }


PASSES = {
    "warm-up": lambda engine: passes.warm_up(engine, BATCHES[0], NEW_TOKENS, 2),
    "solo": lambda engine: passes.solo(engine, BATCHES, NEW_TOKENS),
    "device times": lambda engine: passes.device_pass(engine, BATCHES, NEW_TOKENS),
    "memory": lambda engine: passes.memory_pass(engine, BATCHES[0], NEW_TOKENS),
    "energy": lambda engine: joules.measure(engine, BATCHES[0], NEW_TOKENS),
    "finite": lambda engine: engine.finite(BATCHES[0][0]),
    "checks": lambda engine: (engine.as_decoded(), engine.census()),
    "count": lambda engine: counters.count(engine, BATCHES[0], NEW_TOKENS),
    "profile": lambda engine: kernels.of_a_step(engine, BATCHES[0], NEW_TOKENS, []),
}


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_leaves_the_step_as_it_was(engine: Engine, name: str) -> None:
    before, state = operators(engine), left_behind(engine)
    PASSES[name](engine)
    assert operators(engine) == before
    assert left_behind(engine) == state
    assert sum(before.values()) > 20


def test_what_is_left_behind_is_seen(engine: Engine) -> None:
    """The test above can fail: a hook that adds an operator is one more operator and one more hook."""
    before, state = operators(engine), left_behind(engine)
    handle = engine.model.register_forward_hook(lambda _module, _args, out: (out.logits.add(0), None)[1])
    try:
        assert operators(engine) != before
        assert left_behind(engine) != state
    finally:
        handle.remove()
    assert operators(engine) == before
