"""What is drawn while a model is fetched: on a terminal a bar, elsewhere a line for each stage."""

from __future__ import annotations

import pytest

from bench.cli.progress import CLEAR_LINE, FetchBar
from bench.formatting import MIB
from bench.models.reference import Progress


def drawn(capsys: pytest.CaptureFixture[str], *steps: Progress, live: bool, quiet: bool = False) -> str:
    with FetchBar(quiet=quiet) as bar:
        bar._live = live
        for step in steps:
            bar.update(step)
    return capsys.readouterr().err


def part(done: int, total: int | None, stage: str = "fetching") -> Progress:
    return Progress(stage, done * MIB, None if total is None else total * MIB)


@pytest.mark.parametrize(
    ("done", "total", "text"),
    [
        (0, 60, "░" * 30 + " 0 of 60 MiB"),
        (20, 60, "█" * 10 + "░" * 20 + " 20 of 60 MiB"),
        (60, 60, "█" * 30 + " 60 of 60 MiB"),
        (90, 60, "█" * 30 + " 90 of 60 MiB"),
        (20, None, "20 MiB"),
        (20, 0, "20 MiB"),
    ],
)
def test_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], done: int, total: int | None, text: str
) -> None:
    assert drawn(capsys, part(done, total), live=True) == f"{CLEAR_LINE}model: fetching {text}\n"


def test_a_line_for_each_stage_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    steps = part(0, 60), part(20, 60), part(60, 60, "checking"), part(0, 60)
    said = "model: fetching ...\nmodel: checking ...\nmodel: fetching ...\n"
    assert drawn(capsys, *steps, live=False) == said


@pytest.mark.parametrize("live", [True, False])
def test_nothing_where_it_should_be_quiet(capsys: pytest.CaptureFixture[str], live: bool) -> None:
    assert drawn(capsys, part(0, 60), live=live, quiet=True) == ""
    assert drawn(capsys, live=live) == ""
