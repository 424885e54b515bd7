"""A page that cannot be made: the fault is ours, unless the results behind it were edited."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import rich_runs
from commands import Bench

from bench.errors import ExitCode, IntegrityError
from bench.results.summary import RUN_JSON, SEAL, load_run, sealed
from bench.runs import directory as runs_directory
from bench.runs.directory import write_summary
from bench.serving import record
from bench.store.replay import JOURNAL

PAGES = [
    (("compare", "RUN"), "bench.report.table.render"),
    (("compare", "RUN", "RUN"), "bench.results.run_comparison.render"),
    (("compare", "RUN", "--drift"), "bench.report.drift_pages.render"),
    (("compare", "RUN", "--examples", "2"), "bench.results.examples.examples"),
    (("report", "RUN", "--format", "csv"), "bench.report.formats.csv.render"),
    (("explain", "RUN", "plain"), "bench.report.row_sentence.sentence"),
    (("price", "RUN", "--against", "api"), "bench.plan.api_comparison.against_apis"),
    (("price", "RUN", "--usd-per-hour", "2"), "bench.report.table.render"),
    (("price", "RUN", "--split"), "bench.plan.token_costs.splits"),
    (("plan", "RUN", "--requests-per-day", "1000"), "bench.plan.served.served_rows"),
    (("gate", "RUN"), "bench.results.stored_gate.judge_run"),
]
ERRORS = (TypeError("ours"), ZeroDivisionError("ours"), KeyError("ours"), AssertionError("ours"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rich_runs.write(tmp_path_factory.mktemp("sound") / "run", rich_runs.mixed())


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, Exception], None]:
    """Break a function of ours; crash reports go to the test's own directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def broken_page(name: str, error: Exception) -> None:
        def fails(*_arguments: object, **_named: object) -> None:
            raise error

        module, _, function = name.rpartition(".")
        monkeypatch.setattr(import_module(module), function, fails)

    return broken_page


def edited(run: Path) -> None:
    """Another figure in ``run.json``, with a new seal."""
    content = json.loads((run / RUN_JSON).read_text())
    content.pop(SEAL)
    content["variants"][1]["metrics"]["request_throughput"]["value"] = 1e9
    (run / RUN_JSON).write_text(json.dumps(sealed(content, run / JOURNAL)))


@pytest.mark.parametrize(
    ("command", "page"), PAGES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_page_of_a_sound_run_that_cannot_be_made_is_our_bug(
    bench: Bench, sound: Path, broken: Callable[[str, Exception], None], command: tuple[str, ...], page: str
) -> None:
    words = [str(sound) if word == "RUN" else word for word in command]
    assert bench(*words).returncode in (ExitCode.OK, ExitCode.USAGE, ExitCode.INCONCLUSIVE)
    broken(page, ERRORS[len(page) % len(ERRORS)])
    ended = bench(*words)
    assert (ended.returncode, "This is a bug" in ended.stderr) == (ExitCode.FAILED, True), ended.stderr


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("without_journal", [False, True])
def test_a_page_of_an_edited_run_that_cannot_be_made_is_its_editors_fault(
    bench: Bench, sound: Path, tmp_path: Path, broken: Callable[[str, Exception], None], error: Exception,
    without_journal: bool,
) -> None:  # fmt: skip
    run = Path(shutil.copytree(sound, tmp_path / "run"))
    edited(run)
    if without_journal:
        (run / JOURNAL).unlink()
    broken("bench.report.table.render", error)
    ended = bench("compare", run)
    words = (
        "cannot be checked" if without_journal else "variants[1].metrics.request_throughput.value: 1000000000"
    )
    assert (ended.returncode, words in ended.stderr) == (ExitCode.INTEGRITY, True), ended.stderr
    assert "bug" not in ended.stderr


def test_of_two_runs_the_edited_one_is_named(
    bench: Bench, sound: Path, tmp_path: Path, broken: Callable[[str, Exception], None]
) -> None:
    run = Path(shutil.copytree(sound, tmp_path / "run"))
    edited(run)
    broken("bench.results.run_comparison.render", ERRORS[0])
    ended = bench("compare", sound, run)
    assert (ended.returncode, str(run) in ended.stderr) == (ExitCode.INTEGRITY, True), ended.stderr


@pytest.mark.parametrize("is_edited", [False, True])
def test_a_page_of_a_load_that_cannot_be_made(
    bench: Bench, tmp_path: Path, broken: Callable[[str, Exception], None], is_edited: bool
) -> None:
    load = rich_runs.write_load(tmp_path / "load")
    if is_edited:
        path = load / record.SUMMARY
        path.write_text(path.read_text().replace('"all": 6', '"all": 7'))
    broken("bench.cli.load_pages.page", ERRORS[0])
    ended = bench("load", load)
    assert ended.returncode == (ExitCode.INTEGRITY if is_edited else ExitCode.FAILED), ended.stderr
    assert ("This is a bug" in ended.stderr) != is_edited


def test_an_earlier_load_at_a_limit_that_breaks_us_is_our_bug(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own limits are computed first, which shows that the load itself is sound."""
    load, real = rich_runs.write_load(tmp_path / "load"), record.figures
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fails(samples: object, limits: object, *more: object) -> object:
        if dict(limits.most_ms) == {"ttft": 7.0}:  # type: ignore[attr-defined]
            raise TypeError("ours")
        return real(samples, limits, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(record, "figures", fails)
    ended = bench("load", load, "--slo", "ttft:7")
    assert (ended.returncode, "This is a bug" in ended.stderr) == (ExitCode.FAILED, True), ended.stderr


def test_a_run_that_was_just_measured_is_all_ours(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The summary of somebody's journal is refused; that of our own is not called a damaged file."""
    run = Path(shutil.copytree(sound, tmp_path / "run"))
    (run / RUN_JSON).unlink()

    def fails(_record: object) -> None:
        raise TypeError("ours")

    monkeypatch.setattr(runs_directory, "summarise", fails)
    monkeypatch.setattr("bench.results.summary.summarise", fails)
    with pytest.raises(TypeError, match="ours"):
        write_summary(run)
    with pytest.raises(IntegrityError, match="do not fit together"):
        load_run(run)
