"""Drift by place, kind of token and script, against a plain loop; and of what kind a token is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from fakes import arm_record, drift_window, run_record

from bench.drift import parts
from bench.metrics import drift_parts
from bench.records import DriftWindow
from bench.records.token_kinds import KINDS, kind_of, kinds_of


def window(kld: Sequence[float], kinds: str = "") -> DriftWindow:
    n = len(kld)
    same = [int(value < 0.5) for value in kld]
    return replace(drift_window(kld, same, [-1.0] * n, [-1.0] * n), kinds=kinds)


TEXT = (window([0.1, 0.2, 0.3, 0.4, 0.5], "lldwp"), window([0.6, 0.7, 0.8, 0.9], "cccx"))


def test_quarters_hold_every_position_once() -> None:
    found = parts.by_place(TEXT)
    assert found["quarter_1"].kld == ((0.1,), (0.6,))
    assert found["quarter_4"].kld == ((0.4, 0.5), (0.9,))
    assert sum(part.positions for part in found.values()) == 9


def test_by_kind_of_the_next_token() -> None:
    found = parts.by_token(TEXT)
    assert found["latin"].kld == ((0.1, 0.2),)
    assert found["latin"].same_top == ((1, 1),)
    assert found["cjk"].kld == ((0.6, 0.7, 0.8),)
    assert found["other_letters"].positions == 0
    assert sum(part.positions for part in found.values()) == 9
    assert all(not part.positions for part in parts.by_token([window([0.1])]).values())


def test_by_script_of_the_window() -> None:
    found = parts.by_script((*TEXT, window([1.0, 1.0], "dd")))
    assert found["latin"].kld == (TEXT[0].kld,)
    assert found["cjk"].kld == (TEXT[1].kld,)
    assert parts.script_of("ccl") == "cjk"
    assert parts.script_of("12") is None


def test_figures_are_means_with_their_positions() -> None:
    run = run_record(arm_record(), arm_record("v", drift=TEXT))
    found = drift_parts.figures(run.arms[1], run)
    cjk = found["kld_of_cjk"]
    assert cjk is not None
    assert cjk.value == pytest.approx(0.7)
    assert (cjk.notes["n"], cjk.notes["top1"]) == (3, 0.0)
    assert found["kld_of_other_letters"] is None
    assert set(drift_parts.figures(run.arms[0], run).values()) == {None}


@pytest.mark.parametrize(
    ("text", "kind"),
    [(" the", "l"), ("ß", "l"), ("中", "c"), ("ひ", "c"), ("한", "c"), ("й", "a"), ("ا", "a"), (" 7th", "d"),
     ("٣", "d"), (".", "p"), ("€", "p"), (" \n", "w"), ("", "x"), ("�", "x"), ("\u200b", "x")],
)  # fmt: skip
def test_of_what_kind_a_token_is(text: str, kind: str) -> None:
    assert kind_of(text) == kind
    assert kind in KINDS


def test_tokens_that_are_a_letter_together_share_its_kind() -> None:
    """Byte-level tokenizers cut a Chinese letter into bytes."""
    parts_of = b"a" + "中".encode() + b" " + "é".encode() + b"\xe4"

    def text(ids: Sequence[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")

    assert kinds_of(list(parts_of), text) == "lcccwllx"
    assert kinds_of([0xFF] * 5, text) == "xxxxx"
    assert kinds_of([], text) == ""
