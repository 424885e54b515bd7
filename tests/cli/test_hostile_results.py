"""Results of a stranger given to every command that reads them: one sentence and its exit code, or its work.

The edits are those that were once a traceback, a hang or a line of the stranger's own.
"""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import rich_runs
from commands import Bench
from deep_directories import TOO_DEEP, nested
from result_readers import READERS, ROWS, command
from tampering import rechained, records_of, tampered_journal, tampered_summary

from bench.errors import ExitCode, UsageError
from bench.plan.api_comparison import Question, against_apis
from bench.plan.picture import picture
from bench.results.summary import RUN_JSON, SEAL, load_run, sealed
from bench.store.replay import JOURNAL

EDITED = {ExitCode.OK, ExitCode.USAGE, ExitCode.INCOMPARABLE, ExitCode.INTEGRITY}
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each kind."""
    place = tmp_path_factory.mktemp("sound")
    for kind in ROWS:
        rich_runs.write(place / kind / "run", rich_runs.KINDS[kind]())
    return place


def a_copy(sound: Path, kind: str, place: Path) -> Path:
    return Path(shutil.copytree(sound / kind / "run", place / "results" / "run"))


def summary_edited(run: Path, edit: Edit) -> None:
    """Edit ``run.json``, and seal it again."""
    content = json.loads((run / RUN_JSON).read_text())
    content.pop(SEAL)
    edit(content)
    (run / RUN_JSON).write_text(json.dumps(sealed(content, run / JOURNAL)))


def read_by_all(
    bench: Bench, run: Path, kind: str, tmp_path: Path, readers: Sequence[tuple[str, ...]] = READERS
) -> None:
    """Give a run to every reader; each ends as it may, and prints no line of the stranger's."""
    for reader in readers:
        ended = bench(*command(reader, run, kind, tmp_path / "out"))
        assert ended.returncode in EDITED, (reader, ended.stderr)
        assert "Traceback" not in ended.stderr + ended.stdout
        assert not {"\x1b", "\u202e"} & set(ended.stdout + ended.stderr), reader
        assert ended.returncode == ExitCode.OK or ended.stderr.strip(), reader


@pytest.mark.parametrize("kind", ROWS)
def test_a_sound_run_is_read_by_every_command(bench: Bench, sound: Path, tmp_path: Path, kind: str) -> None:
    run = a_copy(sound, kind, tmp_path)
    for reader in READERS[:7]:
        ended = bench(*command(reader, run, kind, tmp_path / "out"))
        assert ended.returncode in (ExitCode.OK, ExitCode.USAGE), (reader, ended.stderr)
    assert "figure by figure" in bench("verify", run).stdout


def rows(content: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content["variants"]
    return found


def another_row(content: dict[str, Any]) -> None:
    """The row of the summary is in no journal."""
    for one in (*rows(content), *content["comparisons"]):
        for key in ("name", "variant"):
            if one.get(key) in ROWS.values():
                one[key] = "nobody"


def no_baseline(content: dict[str, Any]) -> None:
    content["variants"] = [row for row in rows(content) if not row["is_baseline"]]


def server_of_text(content: dict[str, Any]) -> None:
    for row in rows(content):
        for step in (row["evidence"] or {"steps": []})["steps"]:
            step["server"] = "a text"


def tiny_and_huge(content: dict[str, Any]) -> None:
    """Figures that are within the schema, and have no ratio."""
    for number, row in enumerate(rows(content)):
        for figure in filter(None, (*row["metrics"].values(), *row["drift"].values())):
            for key in ("value", "mean", "ci_low", "ci_high"):
                if isinstance(figure.get(key), float):
                    figure[key] = (1e-300, 1e24)[number % 2]


def nothing(content: dict[str, Any]) -> None:
    """Zero where a figure is divided by."""
    for row in rows(content):
        for figure in filter(None, row["metrics"].values()):
            for key in ("value", "mean", "alone"):
                if isinstance(figure.get(key), float):
                    figure[key] = 0.0


def week(content: dict[str, Any]) -> None:
    content["started_utc"] = "20260131T120000+00:00"


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("mixed", another_row), ("mixed", nothing), ("mixed", tiny_and_huge), ("served", no_baseline),
        ("served", week), ("served", server_of_text), ("served", tiny_and_huge), ("commits", no_baseline),
    ],
)  # fmt: skip
def test_a_summary_that_was_edited_and_sealed(
    bench: Bench, sound: Path, tmp_path: Path, kind: str, edit: Edit
) -> None:
    run = a_copy(sound, kind, tmp_path)
    summary_edited(run, edit)
    read_by_all(bench, run, kind, tmp_path)


def quiet_without_stage(found: dict[str, Any]) -> None:
    if found["kind"] == "unit":
        found["noise"] = {"steal_share": 0.5}


def said_by_a_stranger(found: dict[str, Any]) -> None:
    """Text that nobody checks, wherever there is some."""
    text = "x\x1b[31m\n::error::boo\u202e<script>"
    if found["kind"] == "arm":
        found["reason"] = found["drift_reason"] = found["suites_reason"] = text
        for step in (found.get("loaded") or {"evidence": []})["evidence"]:
            step["note"] = step["step"] = text
        found["texts"] = [[text, text] for _one in found["texts"]]
        for kernel in (found.get("profile") or {"kernels": []})["kernels"]:
            kernel["operator"] = text
        if found.get("server"):
            found["server"] |= {"not_pinned": text, "pinned": None, "target": text}


def edited_and_chained(sound: Path, kind: str, edit: Edit, tmp_path: Path) -> Path:
    """A copy of a sound run in which every record was edited and sealed again, without its run.json."""
    run = a_copy(sound, kind, tmp_path)
    records = records_of(run)
    for found in records:
        edit(found)
    rechained(run, records)
    (run / RUN_JSON).unlink()
    return run


@pytest.mark.parametrize(
    ("kind", "edit"),
    [("served", quiet_without_stage), ("mixed", said_by_a_stranger), ("served", said_by_a_stranger)],
)
def test_a_journal_that_was_edited_and_chained(
    bench: Bench, sound: Path, tmp_path: Path, kind: str, edit: Edit
) -> None:
    run = edited_and_chained(sound, kind, edit, tmp_path)
    read_by_all(bench, run, kind, tmp_path)
    page_of_all = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page_of_all


def grid_without_reason(found: dict[str, Any]) -> None:
    if found["kind"] == "arm":
        found["model"]["grid"] = {"file_type": "Q4_0", "block": 32, "levels": 16, "moved": False}


def hub_without_place(found: dict[str, Any]) -> None:
    if found["kind"] == "arm":
        found["model"] = {"kind": "hub", "name": "tiny"}


def settings_in_a_list(found: dict[str, Any]) -> None:
    if found.get("server"):
        found["server"]["settings"] = [1]


def no_server(found: dict[str, Any]) -> None:
    for step in (found.get("loaded") or {"evidence": []})["evidence"]:
        step["server"] = None


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("mixed", grid_without_reason), ("mixed", hub_without_place), ("mixed", no_server),
        ("served", hub_without_place), ("served", settings_in_a_list),
    ],
)  # fmt: skip
def test_what_a_journal_need_not_say(
    bench: Bench, sound: Path, tmp_path: Path, kind: str, edit: Edit
) -> None:
    run = edited_and_chained(sound, kind, edit, tmp_path)
    read_by_all(bench, run, kind, tmp_path)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({"max_increase": "three"}, "not a percentage"), ({"max_decrease": "-1%"}, "not a percentage"),
        ({"max_decrease": "200%"}, ""), ({"max_increase": "9999999999999999999%"}, ""), ({"max": 0.0}, ""),
        ({}, "no limit"),
    ],
)  # fmt: skip
def test_a_limit_that_no_config_may_have(
    bench: Bench, sound: Path, tmp_path: Path, limit: dict[str, Any], said: str
) -> None:
    run = a_copy(sound, "mixed", tmp_path)
    records = records_of(run)
    records[0]["spec"]["gate"] = {"cost_per_1k_tokens_usd": limit, "nothing": limit}
    rechained(run, records)
    (run / RUN_JSON).unlink()
    for ended in (bench("gate", run), bench("gate", run, "--base", run)):
        assert ended.returncode in (*EDITED, 1, 3, ExitCode.FAILED)
        assert "unexpected" not in ended.stderr
        assert said in ended.stderr


@pytest.mark.parametrize("reader", [reader for reader in READERS if "ABOVE" not in reader])
def test_a_load_is_no_run(bench: Bench, tmp_path: Path, reader: tuple[str, ...]) -> None:
    """Its journal is sound, and was called damaged."""
    load = rich_runs.write_load(tmp_path / "load")
    ended = bench(*command(reader, load, "served", tmp_path / "out"))
    if reader == ("verify", "RUN"):
        assert ended.returncode == ExitCode.OK
    else:
        assert (ended.returncode, f"`bench load {load}`" in ended.stderr) == (ExitCode.USAGE, True)


def test_a_run_is_no_load(bench: Bench, sound: Path, tmp_path: Path) -> None:
    run = a_copy(sound, "mixed", tmp_path)
    ended = bench("load", run)
    assert (ended.returncode, f"`bench compare {run}`" in ended.stderr) == (ExitCode.USAGE, True)
    ended = bench("load", tmp_path)
    assert (ended.returncode, "holds no load" in ended.stderr) == (ExitCode.USAGE, True)


def test_a_price_that_no_row_pays(bench: Bench, sound: Path, tmp_path: Path) -> None:
    """A run without rows costs nothing, and its price is in the heads of all pages."""
    run = a_copy(sound, "mixed", tmp_path)
    head, *_rows, end = records_of(run)
    head["price"]["currency"] = "EUR"
    rechained(run, [head, end])
    (run / RUN_JSON).unlink()
    read_by_all(bench, run, "mixed", tmp_path)
    assert "the price was changed after the run" in bench("compare", run).stderr


@pytest.mark.parametrize("kind", ROWS)
def test_a_journal_without_its_baseline(bench: Bench, sound: Path, tmp_path: Path, kind: str) -> None:
    run = a_copy(sound, kind, tmp_path)
    rechained(run, [record for record in records_of(run) if record.get("name") not in ("baseline", "base")])
    (run / RUN_JSON).unlink()
    read_by_all(bench, run, kind, tmp_path)


@pytest.mark.parametrize("told", [[1], {}, "x", 2.5, 10**30])
def test_a_list_of_runs_survives_a_key_of_a_wrong_type(
    bench: Bench, sound: Path, tmp_path: Path, told: object
) -> None:
    """SQLite stores no list, so that one run of a stranger took away the list of all."""
    run = a_copy(sound, "mixed", tmp_path)
    shutil.copytree(run, run.parent / "mine")
    summary_edited(run, lambda content: rows(content)[0].update(is_baseline=told))
    ended = bench("list", "runs", run.parent)
    assert (ended.returncode, "unreadable" in ended.stdout) == (ExitCode.OK, True)
    assert bench("price", run.parent, "--usd-per-hour", "1").returncode == ExitCode.OK
    assert "is_baseline" in bench("compare", run).stderr


@pytest.mark.parametrize("many", [False, True])
def test_a_report_that_is_put_beside_a_run_is_written_through_nothing(
    bench: Bench, sound: Path, tmp_path: Path, *, many: bool
) -> None:
    run = a_copy(sound, "mixed", tmp_path)
    (tmp_path / "mine").write_text("mine")
    (run / "report.md").symlink_to(tmp_path / "mine")
    os.mkfifo(run / "report.csv")
    for formats in ["markdown,csv"] if many else ["markdown", "csv"]:
        assert bench("report", run, "--format", formats, "-o", run).returncode == ExitCode.OK
    assert (tmp_path / "mine").read_text() == "mine"
    assert (run / "report.md").read_text().startswith("## ")
    assert "cascade" in (run / "report.csv").read_text()


@pytest.mark.parametrize("kind", ROWS)
def test_a_directory_that_is_called_as_a_command_to_a_terminal(
    bench: Bench, sound: Path, tmp_path: Path, kind: str
) -> None:
    run = a_copy(sound, kind, tmp_path)
    run = run.rename(run.parent / "\x1b]8;;x\x07\u202e\nPLANTED \x9b31m")
    for reader in READERS:
        ended = bench(*command(reader, run, kind, run))
        assert ended.returncode in EDITED, (reader, ended.stderr)
        shown = ended.stdout + ended.stderr
        assert not {"\x1b", "\u202e", "\x9b", "\x07"} & set(shown), reader
        assert "\nPLANTED" not in shown, reader


def test_directories_in_each_other_beside_runs(bench: Bench, sound: Path, tmp_path: Path) -> None:
    run = a_copy(sound, "mixed", tmp_path)
    with nested(run.parent, TOO_DEEP):
        for reader in READERS:
            ended = bench(*command(reader, run, "mixed", tmp_path / "out"))
            assert ended.returncode in EDITED, (reader, ended.stderr)
    with nested(run):
        assert bench("verify", run).returncode == ExitCode.OK


def test_a_report_in_the_place_of_a_directory(bench: Bench, sound: Path, tmp_path: Path) -> None:
    run = a_copy(sound, "mixed", tmp_path)
    (run / "report.md").mkdir()
    ended = bench("report", run, "-o", run)
    assert (ended.returncode, ended.stderr) == (
        ExitCode.USAGE, f"bench: cannot write {run / 'report.md'}: Is a directory\n"
    )  # fmt: skip


def test_a_day_after_which_there_is_none(bench: Bench, sound: Path, tmp_path: Path) -> None:
    a_copy(sound, "mixed", tmp_path)
    ended = bench("list", "runs", tmp_path / "results", "--until", "9999-12-31")
    assert (ended.returncode, "1 run in" in ended.stdout) == (ExitCode.OK, True)
    assert "0 of 1 run in" in bench("list", "runs", tmp_path / "results", "--until", "2026-01-30").stdout
    assert "1 run in" in bench("list", "runs", tmp_path / "results", "--until", "2026-01-31").stdout


def test_a_row_that_is_a_billion_times_slower_has_no_billion_stairs(sound: Path, tmp_path: Path) -> None:
    run = a_copy(sound, "mixed", tmp_path)

    def slow(content: dict[str, Any]) -> None:
        content["comparisons"] = []
        for row in rows(content)[1:]:
            for key in ("request_throughput", "output_throughput", "total_token_throughput"):
                row["metrics"][key]["value"] *= 1e-9

    summary_edited(run, slow)
    found = against_apis(load_run(run), [], Question(dt.date(2026, 1, 31)))
    began = time.monotonic()
    assert len(picture("title", found).lines) > 2
    assert time.monotonic() - began < 2


def test_what_belongs_to_another_user_is_listed_as_such(
    bench: Bench, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is readable by its owner alone; the others beside it are shown."""
    run = a_copy(sound, "mixed", tmp_path)
    shutil.copytree(run, run.parent / "mine")
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != run and may(path, mode))
    ended = bench("list", "runs", run.parent)
    assert ended.returncode == ExitCode.OK
    assert "this user may not look into it" in ended.stdout
    assert "2 runs in" in ended.stdout


def test_a_run_that_may_not_be_looked_into_is_no_missing_run(
    bench: Bench, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a container of root has measured: there is a run, and the message says why it is not shown."""
    run = a_copy(sound, "mixed", tmp_path)
    for file in run.iterdir():
        if file.is_file():
            file.unlink()  # whoever may not look into a directory is told that there is no such file
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != run and may(path, mode))
    ended = bench("price", run.parent)
    assert (ended.returncode, ended.stderr) == (
        ExitCode.USAGE, f"bench: no run in {run.parent} can be read (bench list runs {run.parent})\n"
    )  # fmt: skip
    with pytest.raises(UsageError, match="this user may not look into it"):
        load_run(run)


def test_a_directory_that_this_user_may_not_look_into(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, **_how: object) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", denied)
    ended = bench("gate", "results/theirs")
    assert ended.returncode == ExitCode.USAGE
    assert ended.stderr == "bench: results/theirs: this user may not look into it\n"


@pytest.mark.parametrize("seed", range(16))
def test_one_edit_of_many(bench: Bench, sound: Path, tmp_path: Path, seed: int) -> None:
    """scripts/fuzz-readers does this by the thousand."""
    draw = random.Random(seed)
    kind = draw.choice(sorted(ROWS))
    run = a_copy(sound, kind, tmp_path)
    draw.choice((tampered_journal, tampered_summary))(run, draw)
    read_by_all(bench, run, kind, tmp_path, draw.sample(READERS, 3))
