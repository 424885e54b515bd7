"""What is said about the numbers that a weights file could hold."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from bench.records.grid import CONFOUNDED, Grid, grid_of, quantises, warning, words


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (None, ""),
        (grid_of("F16"), "read from F16"),
        (grid_of("Q4_1"), "dequantised from Q4_1 (blocks of 32, 16 levels), and still on that grid"),
        (
            replace(grid_of("Q6_K"), why_not="architecture phi3 is not known here"),
            "dequantised from Q6_K (blocks of 16, 64 levels), and still on that grid "
            "(architecture phi3 is not known here)",
        ),
        (
            replace(grid_of("Q4_1"), moved=True, kl=3e-11),
            "dequantised from Q4_1 (blocks of 32, 16 levels), then moved off that grid without changing the "
            "function (KL to the file's own < 1e-6)",
        ),
    ],
)
def test_one_sentence_about_the_weights(grid: Grid | None, said: str) -> None:
    assert words(asdict(grid) if grid else None) == said


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([], False),
        (["prune magnitude (sparsity=0.5)"], False),
        (["quantise kv-hqq (bits=8)"], False),
        (["prune magnitude", "quantise torch-int4"], True),
    ],
)
def test_what_rounds_weights(steps: list[str], found: bool) -> None:
    assert quantises(steps) == found


def test_quantised_rows_of_weights_on_a_grid_are_warned_of() -> None:
    on, off = grid_of("Q4_1"), replace(grid_of("Q4_1"), moved=True, kl=0.0)

    def said(grid: Grid | None, step: str) -> str | None:
        model = {"name": "mine", "grid": asdict(grid) if grid else None}
        return warning([(model, ()), (model, (step,))])

    found = said(on, "quantise torch-int4")
    assert found == f"the weights of mine were {words(asdict(on))}{CONFOUNDED}"
    assert said(on, "prune magnitude") is None
    assert said(off, "quantise torch-int4") is None
    assert said(grid_of("BF16"), "quantise torch-int4") is None
    assert said(None, "quantise torch-int4") is None
    assert warning([({"name": "of an old run"}, ("quantise torch-int4",)), ({}, ())]) is None
