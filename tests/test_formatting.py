"""How numbers are said."""

from __future__ import annotations

import pytest

from bench.formatting import GIB, MIB, format_setting, format_size, ordinal, short_name, with_ordinals
from bench.metrics import all_metrics


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0th"), (1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (10, "10th"), (11, "11th"), (12, "12th"),
     (13, "13th"), (21, "21st"), (22, "22nd"), (93, "93rd"), (99, "99th"), (101, "101st"), (112, "112th")],
)  # fmt: skip
def test_a_place_in_a_row(number: int, said: str) -> None:
    assert ordinal(number) == said


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        ("1th percentile of KL; by windows", "1st percentile of KL; by windows"),
        ("5th percentile of KL", "5th percentile of KL"),
        ("99.9th percentile of KL", "99.9th percentile of KL"),
        ("PPL(Q) − PPL(P)", "PPL(Q) − PPL(P)"),
    ],
)
def test_a_formula_is_shown_with_the_right_ordinal(kept: str, shown: str) -> None:
    assert with_ordinals(kept) == shown


@pytest.mark.parametrize(
    ("share", "said"),
    [(1.0, "100%"), (0.5, "50%"), (0.07, "7%"), (0.025, "2.5%"), (0.999, "99.9%"),
     (0.004, "0.4%"), (1e-5, "0.001%")],
)  # fmt: skip
def test_a_share_that_was_chosen_is_never_rounded_to_none_or_all(share: float, said: str) -> None:
    assert format_setting(share) == said


def test_no_metric_is_shown_with_a_wrong_ordinal() -> None:
    shown = [with_ordinals(metric.formula) for metric in all_metrics().values()]
    assert [formula for formula in shown if "1th " in formula or "2th " in formula or "3th " in formula] == []
    assert sum("1st percentile" in formula for formula in shown) == 3


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("main", "main"),
        ("fix-\U0001f469\u200d\U0001f4bb", "fix-\U0001f469�\U0001f4bb"),
        ("\udcff", "�"),
        ("a\n::error::x", "a ::error::x"),
        ("a" * 200, "a" * 200),
        ("a" * 300 + "b", "a" * 99 + "…" + "a" * 99 + "b"),
    ],
)
def test_a_name_as_results_can_hold_it(name: str, shown: str) -> None:
    assert short_name(name) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (10_959, "10.7 KiB"),
        (350 * MIB, "350 MiB"), (2.3 * GIB, "2.3 GiB"), (5000 * GIB, "5,000 GiB"),
    ],
)  # fmt: skip
def test_bytes_have_the_unit_that_suits_them(size: float, shown: str) -> None:
    assert format_size(size) == shown
