"""The same computed again: other shapes, threads and batches, on engines that are told what to change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from fakes import FakeEngine

from bench.errors import Unsupported
from bench.worker import noise_floor

WINDOWS = [list(range(start, start + 12)) for start in (0, 5, 9)]


class Watched(FakeEngine):
    """Logits that depend on the threads and the batch, as those of real kernels do in their last digits."""

    def __init__(self, threads: int | None = 2, batches: bool = True) -> None:
        super().__init__(facts={"threads": threads})
        self.batches = batches

    def _rows(self, ids: Sequence[int]) -> torch.Tensor:
        return torch.randn(len(ids), 50, generator=torch.Generator().manual_seed(ids[0]))

    def logits(self, ids: Sequence[int]) -> Any:
        return self._rows(ids) + 0.01 * torch.get_num_threads() * torch.arange(50)

    def logits_in_batch(self, texts: Sequence[Sequence[int]]) -> Any | None:
        ids, beside = texts
        assert len(ids) == len(beside)
        assert list(ids) != list(beside)
        rows = torch.stack([self.logits(one) for one in texts])
        return rows + 0.02 * torch.arange(50) if self.batches else None


def test_another_number_of_threads_is_used_and_put_back() -> None:
    usual = torch.get_num_threads()
    found = noise_floor.noise_floor(Watched(), WINDOWS, [1], "threads").windows
    assert torch.get_num_threads() == usual
    assert len(found) == 3
    assert all(value > 1e-6 for window in found for value in window.kld)


def test_a_window_beside_another() -> None:
    found = noise_floor.noise_floor(Watched(), WINDOWS, [1], "batch").windows
    assert [len(window.kld) for window in found] == [11] * 3
    assert min(found[0].kld) > 0


@pytest.mark.parametrize(
    ("engine", "how", "windows"),
    [(Watched(batches=False), "batch", WINDOWS), (Watched(None), "threads", WINDOWS),
     (Watched(), "batch", [WINDOWS[0], WINDOWS[1][:5]])],
    ids=["computes one at a time", "does not tell its threads", "windows of other lengths"],
)  # fmt: skip
def test_nothing_where_it_cannot_be_done(engine: Watched, how: str, windows: list[list[int]]) -> None:
    assert noise_floor.noise_floor(engine, windows, [1], how).windows == ()


class Mixing(FakeEngine):
    """Adds the number of its neighbours to every token: a reply that depends on the batch."""

    def tokens(self, generation: list[list[int]]) -> list[list[int]]:
        return [[token + len(generation) for token in row] for row in generation]


PROMPTS = [[[1, 2], [3]], [[4]], [[5]], [[6]]]


@pytest.mark.parametrize(("engine", "differ"), [(FakeEngine(), 0), (Mixing(), 4)])
def test_four_requests_alone_and_together(engine: FakeEngine, differ: int) -> None:
    found = noise_floor.together(engine, PROMPTS, 40)
    assert (found.requests, found.differ, found.reason) == (4, differ, "")
    assert len(engine.log) == 5 * noise_floor.MOST_TOKENS  # one batch and four alone


class Whole(FakeEngine):
    WHOLE_ANSWERS = True


class Compiled(FakeEngine):
    def compiled_graphs(self) -> int:
        return 1


class Drafts(FakeEngine):
    def drafted(self, context: Sequence[int], most: int) -> int | None:
        return 0


@pytest.mark.parametrize("engine", [Whole(), Compiled(), Drafts()])
def test_why_nothing_was_decoded(engine: FakeEngine) -> None:
    found = noise_floor.together(engine, PROMPTS, 4)
    assert found.requests == 0
    assert len(found.reason) > 10
    assert engine.log == []
    assert noise_floor.together(FakeEngine(), [[[1]]], 4).reason == "there is one request"


class OneByOne(FakeEngine):
    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:
        if len(prompts) > 1:
            raise Unsupported("this cache is for one sequence")
        return super().prefill(prompts, new_tokens)


def test_an_engine_that_refuses_a_batch_is_no_failure() -> None:
    assert noise_floor.together(OneByOne(), PROMPTS, 4).reason == "this cache is for one sequence"
