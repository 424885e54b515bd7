"""Names of kernels as profilers give them, and as a person says them (``kernel_names.tsv``)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.kernel_names import LONGEST, short

LINES = Path(__file__).with_name("kernel_names.tsv").read_text(encoding="utf-8").splitlines()
NAMES = [line.split("\t") for line in LINES]


def test_there_are_many() -> None:
    assert len({name for name, _expected in NAMES}) == len(NAMES) >= 60


@pytest.mark.parametrize(("name", "expected"), NAMES, ids=[one[0][:40] for one in NAMES])
def test_a_kernel_as_a_person_says_it(name: str, expected: str) -> None:
    assert short(name) == expected


@given(st.text(max_size=300))
def test_any_text_has_a_short_name(name: str) -> None:
    if "::" not in name:
        assert len(short(name)) <= LONGEST
