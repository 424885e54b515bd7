"""What a person sees while a run goes on: plain lines in a log, and on a terminal what runs, what is next and
about how much time is left."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from rich.console import Console

from bench.cli import progress
from bench.cli.progress import FetchBar, RunProgress
from bench.config.reader import read_config
from bench.config.spec import Spec
from bench.errors import Outcome
from bench.measure.events import Began, Ended, Noted
from bench.models.reference import Progress

ERASE = "\x1b[2K"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CONFIG = """\
name: demo
model: {random: tiny-llama}
runtime: {device: cpu}
variants: [{name: a}, {name: "b[red]c: d"}]
drift: {tokens: 0}
"""
EARLIER_S = {"baseline": 60.0, "a": 30.0, "b[red]c: d": 35.0}
MIB = 2**20


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    (tmp_path / "demo.yaml").write_text(CONFIG)
    return read_config(tmp_path / "demo.yaml")


class Screen:
    """A terminal of 120 columns, and what is written on it."""

    def __init__(self) -> None:
        self._file = io.StringIO()
        self.console = Console(file=self._file, force_terminal=True, width=120, color_system=None)

    @property
    def raw(self) -> str:
        """All of it."""
        return self._file.getvalue()

    @property
    def lines(self) -> list[str]:
        """All of it, without control sequences and blanks; the bar as it is now comes last."""
        text = CONTROL.sub("", self.raw).replace("\r", "\n")
        return [line.strip(" ━╸╺") for line in text.splitlines() if line.strip()]

    @property
    def bar(self) -> str:
        """The line of the bar, without what it is drawn with."""
        return self.lines[-1]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    found = Screen()
    monkeypatch.setattr(progress, "Console", lambda stderr, emoji: found.console)
    return found


# ---- a log -----------------------------------------------------------------------------------------


def test_elsewhere_than_on_a_terminal_each_event_is_a_line(
    spec: Spec, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunProgress(spec, quiet=False, earlier_s=EARLIER_S) as rows:
        for event in (
            Noted("gate: not calibrated"),
            Began("baseline", "load"),
            Ended("baseline", Outcome.OK),
            Began("a", "pair 1, beside baseline"),
            Ended("a", Outcome.OOM_HOST, "killed by the system"),
            Began("b[red]c: d", "load"),
            Ended("b[red]c: d", Outcome.OK),
        ):
            rows.tell(event)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "gate: not calibrated",
        "[1/3] baseline: load",
        "[1/3] baseline: done",
        "[2/3] a: pair 1, beside baseline",
        "[2/3] a: oom_host: killed by the system",
        "[3/3] b[red]c: d: load",
        "[3/3] b[red]c: d: done",
    ]


def test_what_reads_like_an_end_is_none(spec: Spec, capsys: pytest.CaptureFixture[str]) -> None:
    """The number goes up when a row has ended, whatever the words of its stages are."""
    with RunProgress(spec, quiet=False) as rows:
        for stage in ("done", "oom_host: a stage", "unsupported: ", "ok"):
            rows.tell(Began("baseline", stage))
        rows.tell(Noted("a: done"))
        rows.tell(Ended("somebody else", Outcome.OK))
        rows.tell(Began("baseline", "memory"))
    lines = capsys.readouterr().err.splitlines()
    assert {line.partition(" ")[0] for line in lines if line != "a: done"} == {"[1/3]"}


def test_more_ends_than_rows_count_no_further(spec: Spec, capsys: pytest.CaptureFixture[str]) -> None:
    """A gate ends its comparisons by the variant's name."""
    with RunProgress(spec, quiet=False) as rows:
        for name in ("baseline", "a", "b[red]c: d", "a"):
            rows.tell(Ended(name, Outcome.OK))
        rows.tell(Began("candidate", "unit 9"))
        rows.tell(Began("a", "unit 9"))
    assert capsys.readouterr().err.splitlines()[-2:] == ["[3/3] candidate: unit 9", "[2/3] a: unit 9"]


def test_a_worker_s_words_do_not_drive_the_terminal(spec: Spec, capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(spec, quiet=False) as rows:
        rows.tell(Began("a", "load, step \x1b[2J1"))
        rows.tell(Ended("a", Outcome.RUN_ERROR, "\x1b]0;title\x07"))
    assert "\x1b" not in capsys.readouterr().err


def test_quiet_says_nothing_on_a_terminal_either(spec: Spec, screen: Screen) -> None:
    with RunProgress(spec, quiet=True, earlier_s=EARLIER_S) as rows:
        rows.tell(Began("baseline", "load"))
        rows.tell(Ended("baseline", Outcome.OK))
        rows.tell(Noted("note"))
    assert screen.raw == ""


# ---- a terminal ------------------------------------------------------------------------------------


def test_a_terminal_shows_what_runs_what_is_next_and_the_time_left(spec: Spec, screen: Screen) -> None:
    with RunProgress(spec, quiet=False, earlier_s=EARLIER_S) as rows:
        assert screen.raw == "", "a model may be fetched first, with a bar of its own"
        rows.tell(Began("baseline", "load"))
        assert screen.bar == "0/3 baseline: load, next: a, about 2 min 05 s left"
        rows.tell(Ended("baseline", Outcome.OK))
        assert screen.bar == "1/3 next: a, about 65 s left"
        rows.tell(Began("a", "pair 1: beside baseline"))
        assert screen.bar == "1/3 a: pair 1: beside baseline, next: b[red]c: d, about 65 s left"
        rows.tell(Ended("a", Outcome.OOM_HOST, "killed by the system"))
        rows.tell(Began("b[red]c: d", "load"))
        assert screen.bar == "2/3 b[red]c: d: load, about 35 s left"
        rows.tell(Ended("b[red]c: d", Outcome.OK))
        assert screen.bar == "3/3"
    assert [line for line in screen.lines if line.startswith("[")] == [
        "[1/3] baseline: done", "[2/3] a: oom_host: killed by the system", "[3/3] b[red]c: d: done",
    ]  # fmt: skip


def test_there_is_no_bar_before_something_runs(spec: Spec, screen: Screen) -> None:
    """A gate says what it can see, and then fetches its models."""
    with RunProgress(spec, quiet=False) as rows:
        rows.tell(Noted("gate: not calibrated"))
        rows.tell(Ended("baseline", Outcome.UNSUPPORTED, "no GPU"))
        assert screen.lines == ["gate: not calibrated", "[1/3] baseline: unsupported: no GPU"]
        rows.tell(Began("a", "load"))
        assert screen.bar == "1/3 a: load, next: b[red]c: d"


def test_on_a_terminal_too_only_an_end_counts(spec: Spec, screen: Screen) -> None:
    with RunProgress(spec, quiet=False) as rows:
        rows.tell(Began("baseline", "done: all of it"))
        rows.tell(Noted("baseline: done"))
        rows.tell(Began("baseline", "oom_host: no"))
        assert screen.bar == "0/3 baseline: oom_host: no, next: a"
        rows.tell(Ended("baseline", Outcome.OK))
        assert screen.bar == "1/3 next: a"


def test_rows_that_get_their_pairs_one_at_a_time_end_late(spec: Spec, screen: Screen) -> None:
    """The time that a row has had is not left. After the last row comes the first that has not ended."""
    now = [0.0]
    with RunProgress(spec, quiet=False, earlier_s=EARLIER_S, clock=lambda: now[0]) as rows:
        rows.tell(Ended("baseline", Outcome.OK))
        shown = []
        for at, who in enumerate(("a", "b[red]c: d", "a", "b[red]c: d")):
            now[0] = 10.0 * at
            rows.tell(Began(who, "pair"))
            shown.append(screen.bar)
        now[0] = 40.0
        rows.tell(Ended("b[red]c: d", Outcome.OK))
        shown.append(screen.bar)
    assert shown == [
        "1/3 a: pair, next: b[red]c: d, about 65 s left",
        "1/3 b[red]c: d: pair, next: a, about 55 s left",
        "1/3 a: pair, next: b[red]c: d, about 45 s left",
        "1/3 b[red]c: d: pair, next: a, about 35 s left",
        "2/3 next: a, about 10 s left",
    ]


def test_units_of_a_gate_are_no_rows_of_the_config(spec: Spec, screen: Screen) -> None:
    with RunProgress(spec, quiet=False) as rows:
        rows.tell(Began("candidate", "unit 3"))
    assert screen.bar == "0/3 candidate: unit 3"


@pytest.mark.parametrize("earlier_s", [None, {}, {"baseline": 60.0, "a": 30.0}])
def test_no_time_is_named_where_a_row_has_never_run(
    spec: Spec, screen: Screen, earlier_s: Mapping[str, float] | None
) -> None:
    with RunProgress(spec, quiet=False, earlier_s=earlier_s) as rows:
        rows.tell(Began("baseline", "load"))
    assert screen.bar == "0/3 baseline: load, next: a"


def test_the_bar_is_gone_at_the_end_and_ends_and_notes_stay(spec: Spec, screen: Screen) -> None:
    with RunProgress(spec, quiet=False) as rows:
        rows.tell(Began("baseline", "load"))
        rows.tell(Noted("a note"))
        rows.tell(Ended("baseline", Outcome.OK))
        shown = len(screen.raw)
    _drawn, erased, after = screen.raw[shown:].rpartition(ERASE)
    assert erased, "the line of the bar is taken back"
    assert CONTROL.sub("", after).strip() == ""
    assert {"a note", "[1/3] baseline: done"} <= set(screen.lines)


def test_each_cell_of_a_sweep_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row is known by its cell and its name, as in the events."""
    (tmp_path / "demo.yaml").write_text(f"{CONFIG}sweep: {{batch_size: [1, 2]}}\n")
    with RunProgress(read_config(tmp_path / "demo.yaml"), quiet=False) as rows:
        rows.tell(Ended("batch_size=1 baseline", Outcome.OK))
        rows.tell(Began("batch_size=1 a", "load"))
    assert capsys.readouterr().err.splitlines() == [
        "[1/6] batch_size=1 baseline: done", "[2/6] batch_size=1 a: load",
    ]  # fmt: skip


# ---- a model that is fetched -----------------------------------------------------------------------


def fetched(update: Callable[[Progress], None]) -> None:
    for done in (0, 5 * MIB, 10 * MIB):
        update(Progress("download", done, 10 * MIB))
    update(Progress("convert", 0, None))


def test_a_fetch_is_a_line_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with FetchBar(quiet=False) as bar:
        fetched(bar.update)
    assert capsys.readouterr().err.splitlines() == ["model: download ...", "model: convert ..."]
    with FetchBar(quiet=True) as bar:
        fetched(bar.update)
    assert capsys.readouterr().err == ""
