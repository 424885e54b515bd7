"""Drift statistics against an independent computation in float64, and the stream through shared memory."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, rel_entr, softmax

from bench.drift.statistics import jensen_shannon
from bench.errors import NonFiniteOutput
from bench.measure.together import shared_block
from bench.records import DriftWindow
from bench.worker.duet import Baton, PeerGone
from bench.worker.noise_floor import noise_floor
from bench.worker.score import compare_logits, send_logits, shared_rows, statistics

VOCABULARY = 64


class Table:
    """A model that looks its logits up: row t of its table stands at position t of every window."""

    def __init__(self, seed: int, spread: float = 3.0, rows: int = 64) -> None:
        self.rows = torch.from_numpy(
            np.random.default_rng(seed).normal(0, spread, (rows, VOCABULARY))
        ).float()
        self.passes = 0

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        self.passes += 1
        shift = sum(ids) % 7
        return self.rows.roll(shift, 0)[: len(ids)].clone()


def exact(base: torch.Tensor, variant: torch.Tensor, following: Sequence[int]) -> dict[str, np.ndarray]:
    """KL, agreement and log-probabilities in float64 by another route."""
    p, q = (softmax(x.double().numpy(), axis=-1) for x in (base, variant))
    place = np.arange(len(following)), np.array(following)
    return {
        "kld": rel_entr(p, q).sum(-1),
        "same_top": (p.argmax(-1) == q.argmax(-1)).astype(int),
        "ln_p_base": log_softmax(base.double().numpy(), axis=-1)[place],
        "ln_p_variant": log_softmax(variant.double().numpy(), axis=-1)[place],
    }


def streamed(
    base: Any,
    variant: Any,
    windows: Sequence[Sequence[int]],
    rows: int,
    *,
    ahead: bool = False,
    more: Mapping[str, ModuleType] | None = None,
) -> tuple[DriftWindow, ...]:
    """Both sides in threads, ``rows`` rows of shared memory between them."""
    ends, block = socket.socketpair(), shared_block(rows * VOCABULARY * 4)
    found: list[Any] = [None, None]

    def side(me: int, work: Any, engine: Any, **further: Any) -> None:
        with ends[me] as channel:
            try:
                memory = shared_rows(os.dup(block), rows, VOCABULARY)
                found[me] = work(engine, windows, memory, Baton(channel), ahead=ahead, **further)
            except (PeerGone, NonFiniteOutput) as error:
                found[me] = error

    threads = [
        threading.Thread(target=side, args=(0, send_logits, base), daemon=True),
        threading.Thread(target=side, args=(1, compare_logits, variant), kwargs={"more": more}, daemon=True),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "a side of the drift pass hangs"
    os.close(block)
    for one in found:
        if isinstance(one, Exception) and not isinstance(one, PeerGone):
            raise one
    return found[1].windows  # type: ignore[no-any-return]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0.01, 20), st.floats(0, 1))
def test_statistics_agree_with_float64(seed: int, rows: int, spread: float, apart: float) -> None:
    rng = np.random.default_rng(seed)
    base = torch.from_numpy(rng.normal(0, spread, (rows, VOCABULARY))).float()
    variant = base + apart * torch.from_numpy(rng.normal(0, spread, (rows, VOCABULARY))).float()
    following = rng.integers(0, VOCABULARY, rows).tolist()
    kld, same, ln_p, ln_q = statistics(base, variant, following)
    wanted = exact(base, variant, following)
    np.testing.assert_allclose(kld, wanted["kld"], rtol=1e-4, atol=2e-6)
    np.testing.assert_array_equal(same, wanted["same_top"])
    np.testing.assert_allclose(ln_p, wanted["ln_p_base"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ln_q, wanted["ln_p_variant"], rtol=1e-5, atol=1e-5)


def test_the_direction_is_from_the_baseline() -> None:
    """P = (1/2, 1/2), Q = (9/10, 1/10): KL(P ‖ Q) = ln(5/3), and the other way round it is another number."""
    p, q = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]]).log()
    assert statistics(p, q, [0])[0].item() == pytest.approx(np.log(5 / 3), rel=1e-6)
    assert statistics(q, p, [0])[0].item() == pytest.approx(0.9 * np.log(1.8) + 0.1 * np.log(0.2), rel=1e-5)


@pytest.mark.parametrize(
    ("base", "variant", "same"),
    [
        ([1.0, 1.0, 0.0], [1.0, 1.0, 0.0], 1),  # a tie on both sides: the lowest id on both
        ([1.0, 1.0, 0.0], [1.0, 0.0, 0.0], 1),
        ([1.0, 1.0, 0.0], [0.0, 1.0, 0.0], 0),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 1.0], 0),
        ([0.0, 2.0, 2.0], [0.0, 2.0, 2.0], 1),
    ],
)
def test_ties_go_to_the_lowest_id(base: list[float], variant: list[float], same: int) -> None:
    assert int(statistics(torch.tensor([base]), torch.tensor([variant]), [0])[1]) == same


def test_a_shift_of_all_logits_changes_nothing() -> None:
    base = torch.randn(5, VOCABULARY, generator=torch.Generator().manual_seed(0))
    kld, same, ln_p, ln_q = statistics(base, base + 100, [1, 2, 3, 4, 5])
    assert kld.abs().max() < 1e-5
    assert same.all()
    torch.testing.assert_close(ln_p, ln_q, atol=1e-4, rtol=1e-4)


def test_delta_p_is_the_change_of_the_true_token_s_probability() -> None:
    p, q = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.4, 0.5, 0.1]])
    _kld, _same, ln_p, ln_q = statistics(p.log(), q.log(), [1])
    assert ln_q.exp().item() - ln_p.exp().item() == pytest.approx(0.3, abs=1e-6)


def test_statistics_leave_their_inputs_alone() -> None:
    base, variant = torch.randn(3, VOCABULARY), torch.randn(3, VOCABULARY)
    before = base.clone(), variant.clone()
    statistics(base, variant, [0, 1, 2])
    assert torch.equal(base, before[0])
    assert torch.equal(variant, before[1])


WINDOWS = [list(range(start, start + 20)) for start in (0, 3, 11)]


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 5, 19, 20, 64])
def test_the_stream_in_blocks_equals_the_whole_window(rows: int, ahead: bool) -> None:
    base, variant = Table(1), Table(2)
    windows = streamed(base, variant, WINDOWS, rows, ahead=ahead)
    assert len(windows) == len(WINDOWS)
    for ids, window in zip(WINDOWS, windows, strict=True):
        wanted = exact(base.logits(ids)[:-1], variant.logits(ids)[:-1], ids[1:])
        for key, values in wanted.items():
            assert len(getattr(window, key)) == len(ids) - 1
            np.testing.assert_allclose(getattr(window, key), values, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("rows", [1, 5, 19, 64])
def test_further_statistics_are_of_the_same_positions(rows: int) -> None:
    """Jensen-Shannon against scipy's, which is a distance: the square root of the divergence."""
    base, variant = Table(1), Table(2)
    windows = streamed(base, variant, WINDOWS, rows, more={"one": jensen_shannon, "other": jensen_shannon})
    for ids, window in zip(WINDOWS, windows, strict=True):
        p, q = (softmax(one.logits(ids)[:-1].double().numpy(), axis=-1) for one in (base, variant))
        np.testing.assert_allclose(
            window.more["one"], jensenshannon(p, q, axis=-1) ** 2, rtol=1e-4, atol=2e-6
        )
        assert window.more["other"] == window.more["one"]


def test_without_further_statistics_there_are_none() -> None:
    assert [window.more for window in streamed(Table(1), Table(2), WINDOWS, 5)] == [{}, {}, {}]


@pytest.mark.parametrize("ahead", [False, True])
def test_one_forward_pass_a_window_however_small_the_block(ahead: bool) -> None:
    base, variant = Table(1), Table(2)
    streamed(base, variant, WINDOWS, 2, ahead=ahead)
    assert (base.passes, variant.passes) == (3, 3)


@pytest.mark.parametrize("rows", [1, 3, 19, 64])
def test_computing_at_the_same_time_changes_no_figure(rows: int) -> None:
    """Twenty windows, to the last bit: no row is overwritten before it was read."""
    windows = [list(range(start, start + 20)) for start in range(20)]
    in_turns, at_once = (streamed(Table(1), Table(2), windows, rows, ahead=ahead) for ahead in (False, True))
    assert in_turns == at_once


class Watched(Table):
    """Counts how many of these compute at the same moment."""

    def __init__(self, seed: int, together: list[int], at_work: list[int]) -> None:
        super().__init__(seed)
        self.together, self.at_work = together, at_work

    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        self.at_work.append(1)
        time.sleep(0.02)
        self.together.append(len(self.at_work))
        self.at_work.pop()
        return super().logits(ids)


@pytest.mark.parametrize(("ahead", "most"), [(False, 1), (True, 2)])
def test_who_shares_a_processor_takes_turns(ahead: bool, most: int) -> None:
    """Without ``ahead`` one side computes at a time; with it the next window is begun while one is read."""
    together: list[int] = []
    at_work: list[int] = []
    streamed(Watched(1, together, at_work), Watched(2, together, at_work), WINDOWS * 3, 64, ahead=ahead)
    assert max(together) == most


class Dies(Exception):
    """Planted."""


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_the_other_side_learns_that_one_has_died(ahead: bool, side: int, at: int) -> None:
    """At whatever window it is: the survivor ends with PeerGone, and nothing waits for ever."""

    class Mortal(Table):
        def logits(self, ids: Sequence[int]) -> torch.Tensor:
            found = super().logits(ids)
            if self.passes == at:
                raise Dies
            return found

    ends, block = socket.socketpair(), shared_block(4 * VOCABULARY * 4)
    ended: list[Any] = [None, None]

    def work(me: int) -> None:
        with ends[me] as channel:
            engine: Any = Mortal(me) if me == side else Table(me)
            memory = shared_rows(os.dup(block), 4, VOCABULARY)
            try:
                (send_logits, compare_logits)[me](engine, WINDOWS, memory, Baton(channel), ahead=ahead)
            except (Dies, PeerGone) as error:
                ended[me] = type(error)

    threads = [threading.Thread(target=work, args=(me,), daemon=True) for me in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "a side of the drift pass hangs"
    os.close(block)
    assert ended[side] is Dies
    assert ended[1 - side] is PeerGone


def test_a_model_has_no_drift_against_itself() -> None:
    for window in streamed(Table(1), Table(1), WINDOWS, 4):
        assert window.kld == (0.0,) * 19
        assert window.same_top == (1,) * 19
        assert window.ln_p_base == window.ln_p_variant


def test_kl_is_never_below_zero() -> None:
    """float32 leaves −1e-9 here and there; a report must not."""
    base = Table(5)
    near = Table(5)
    near.rows = base.rows + 1e-4
    assert min(value for window in streamed(base, near, WINDOWS, 8) for value in window.kld) >= 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("ahead", [False, True])
def test_not_finite_is_a_failure_of_its_own(bad: float, side: int, ahead: bool) -> None:
    tables = [Table(1), Table(2)]
    tables[side].rows[5, 5] = bad
    with pytest.raises(NonFiniteOutput, match="NaN or infinite"):
        streamed(tables[0], tables[1], WINDOWS, 4, ahead=ahead)


def test_a_logit_that_no_model_has_is_a_failure_too() -> None:
    """Its probabilities would be numbers that no journal holds. What a model masks may be as small as it
    likes."""
    tables = [Table(1), Table(2)]
    tables[0].rows[5, 5] = torch.finfo(torch.float32).min
    streamed(tables[0], tables[0], WINDOWS, 4)
    tables[1].rows[5, 5] = 2e5
    with pytest.raises(NonFiniteOutput, match=r"a logit of 2e\+05 on the evaluation text"):
        streamed(tables[0], tables[1], WINDOWS, 4)


def test_the_last_position_has_no_next_token_and_is_not_looked_at() -> None:
    table = Table(1)
    table.rows[:] = table.rows[0]
    real = table.logits

    def with_bad_end(ids: Sequence[int]) -> torch.Tensor:
        rows = real(ids)
        rows[-1] = float("nan")
        return rows

    table.logits = with_bad_end  # type: ignore[method-assign]
    assert len(streamed(table, Table(2), WINDOWS, 4)[0].kld) == 19


def test_the_noise_floor_compares_the_same_positions() -> None:
    class Longer(Table):
        """Answers a little differently when more text follows."""

        def logits(self, ids: Sequence[int]) -> torch.Tensor:
            return self.rows[: len(ids)] + (0.01 if len(ids) > 20 else 0.0) * torch.arange(VOCABULARY)

    model: Any = Longer(3)
    found = noise_floor(model, WINDOWS, [1, 2, 3], "shapes").windows
    rows = model.rows[:19]
    wanted = exact(rows, rows + 0.01 * torch.arange(VOCABULARY), WINDOWS[0][1:])
    np.testing.assert_allclose(found[0].kld, wanted["kld"], rtol=1e-3, atol=2e-6)
    assert len(found) == 3


def test_the_floor_of_a_deterministic_model_is_zero() -> None:
    class Fixed(Table):
        def logits(self, ids: Sequence[int]) -> torch.Tensor:
            return self.rows[: len(ids)]

    model: Any = Fixed(3)
    assert all(set(w.kld) == {0.0} for w in noise_floor(model, WINDOWS, [1, 2], "shapes").windows)


def test_a_thousand_calls_leave_no_descriptor_open() -> None:
    """A long text takes thousands of calls, a process may have a thousand files open."""
    from pathlib import Path

    block = shared_block(4 * VOCABULARY)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        shared_rows(os.dup(block), 1, VOCABULARY)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    os.close(block)


def test_both_sides_see_the_same_memory() -> None:
    block = shared_block(2 * VOCABULARY * 4)
    writer, reader = (shared_rows(os.dup(block), 2, VOCABULARY) for _ in range(2))
    writer[1, 3] = 42.0
    assert reader[1, 3] == 42.0
    os.close(block)
