"""What the pages say of the repeated runs of quantisation-cpu, beside their files and scripts."""

from __future__ import annotations

import itertools
import json
import math
import re
import runpy
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bench.optimisations.quantise.hqq import BETWEEN_RUNS_SD

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "results" / "reference" / "quantisation-cpu"
README = (RUNS / "README.md").read_text()
OF_ONE_DAY = ("2026-11-28", "2026-11-28-second", "2026-11-28-third", "2026-11-28-fourth", "2026-11-28-fifth")
ON_INTEL = ("2026-11-28-sixth", "2026-11-29", "2026-11-29-second")
HOURS = {7: "seven", 8: "eight", 10: "ten", 14: "fourteen"}
LINE = re.compile(r"\| `([\w-]+)`, `([\w-]+)` \| (\d+)(?: of \d+)? \| (\d+)(?: of \d+)? \| ([\d.]+) %")
TAIL = re.compile(r"(\d+) rows: .*'within': (\d+), 'within, hours apart': (\d+), .*median change ([\d.]+) %")


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(name: str, *runs: str) -> str:
        main: Callable[..., Any] = runpy.run_path(str(RUNS / name))["main"]
        main(*(str(RUNS / one / "run.json") for one in runs))
        return capsys.readouterr().out

    return run


def hours_of(*runs: str) -> float:
    """From the beginning of the first run to the end of the last."""
    times = [json.loads((RUNS / one / "run.json").read_text()) for one in runs]
    first = min(datetime.fromisoformat(one["started_utc"]) for one in times)
    return (max(datetime.fromisoformat(one["finished_utc"]) for one in times) - first).total_seconds() / 3600


def test_every_line_about_two_runs_is_what_the_script_counts(script: Callable[..., str]) -> None:
    lines = LINE.findall(README)
    assert len(lines) == len(re.findall(r"\| `[\w-]+`, `", README)) == 10
    for first, second, within, apart, change in lines:
        found = TAIL.search(script("repeat.py", first, second))
        assert found
        _rows, inside, more, median = found.groups()
        said = (int(within), int(apart), change)
        assert said == (int(inside), int(inside) + int(more), median), (first, second)


def test_the_runs_of_the_present_design_are_all_compared() -> None:
    """A pair of runs that agrees less well is not left out."""
    third, fourth, fifth = OF_ONE_DAY[2:]
    compared = {line[:2] for line in LINE.findall(README)}
    assert {(third, fourth), (fourth, fifth), (third, fifth)} <= compared
    assert set(itertools.combinations(ON_INTEL, 2)) <= compared


def test_the_intervals_that_hold_are_those_that_the_script_counts(script: Callable[..., str]) -> None:
    found = re.search(r"(\d+ of \d+) intervals \(([\d.]+) %\)", script("coverage.py", *ON_INTEL))
    assert found
    assert f"| all | {found[1]} ({found[2]} %) |" in README


@pytest.mark.parametrize(
    ("page", "said", "runs"),
    [
        ("docs/guide.md", "runs within {} hours, taken together", OF_ONE_DAY[:4]),
        ("docs/decisions/0025-between-runs.md", "config within {} hours", OF_ONE_DAY[:4]),
        ("bench/optimisations/quantise/hqq.py", "four rows within {} hours", OF_ONE_DAY[:4]),
        ("docs/results.md", "five runs, within {} hours", OF_ONE_DAY),
        ("results/reference/quantisation-cpu/README.md", "within seven and a half hours", OF_ONE_DAY[2:]),
    ],
)
def test_the_hours_are_those_of_the_runs(page: str, said: str, runs: tuple[str, ...]) -> None:
    hours = hours_of(*runs)
    text = " ".join((ROOT / page).read_text().split())
    assert said.format(HOURS[math.ceil(hours)]) in text
    assert "{}" in said or 7 < hours <= 7.5


def test_what_hqq_s_intervals_include_is_what_the_code_adds() -> None:
    for page in ("docs/guide.md", "docs/results.md"):
        text = " ".join((ROOT / page).read_text().split())
        assert f"include a standard deviation of {100 * BETWEEN_RUNS_SD:.1f} %" in text
    assert f"HQQ says {BETWEEN_RUNS_SD}" in (ROOT / "docs/decisions/0025-between-runs.md").read_text()


def test_what_runs_differ_by_is_what_the_script_finds(script: Callable[..., str]) -> None:
    found = script("between_runs.py", *OF_ONE_DAY)
    lines = re.findall(r"^(\S+(?: \S+)*) {3,}(.*)", found, re.MULTILINE)
    numbers = {name: line.split() for name, line in lines}
    text = " ".join((ROOT / "docs/results.md").read_text().split())
    hqq, others = numbers["hqq"], numbers["all but hqq"]
    assert f"differ by {hqq[1]} % more than their pairs show ({hqq[2]} to {hqq[4]} %)" in text
    assert f"all others together by {others[1]} % (at most {others[4]} %)" in text
    assert f"by {numbers['bf16'][1]} and {numbers['onnx'][1]} %" in text
