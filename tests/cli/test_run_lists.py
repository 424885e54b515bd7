"""`bench list runs` and `bench price` of many runs: what they print, and how they end."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import many_runs
import pytest
from commands import Bench
from journals import write_run

from bench.cli import run_pages
from bench.cli.tables import align
from bench.machine.proc import stat_of
from bench.report.formats import ascii_json
from bench.results import index
from bench.results.index_query import Wanted
from bench.results.index_records import IndexedRow
from bench.results.summary import RUN_JSON
from bench.store.run_lock import run_lock


@pytest.fixture
def out(tmp_path: Path) -> Path:
    many_runs.write_runs(tmp_path / "results", 12)
    return tmp_path / "results"


def test_a_table_of_runs_the_newest_first(bench: Bench, out: Path) -> None:
    ended = bench("list", "runs", out)
    assert (ended.returncode, ended.stderr) == (0, "")
    head, *rows = ended.stdout.splitlines()
    assert head.split()[:4] == ["run", "started", "status", "rows"]
    assert rows[0].split()[0] == sorted(path.name for path in out.iterdir())[-1]
    assert "not finished" in rows[0]
    assert f"12 runs in {out}" in rows
    assert rows[1].endswith("pruned: prune magnitude")


def test_a_ratio_of_two_rows_that_were_not_measured_together_has_its_mark() -> None:
    """The number alone would say more than the run knows: the table of the run has the same mark."""
    row = IndexedRow(**(dict.fromkeys(IndexedRow.__dataclass_fields__) | {"ratio": 0.5, "by_price": True}))
    assert run_pages._ratio_words(row) == "0.500 ~"
    assert run_pages._ratio_words(replace(row, value=1e-6)) == "0.500"
    assert run_pages._ratio_words(replace(row, by_price=False)) == "0.500"  # servers in blocks
    assert run_pages._ratio_words(replace(row, ratio=None)) == "-"


def test_a_run_that_is_being_measured_is_no_failed_one(bench: Bench, out: Path) -> None:
    """Its rows that were not reached yet have not failed, and nobody should continue it."""
    place = next(
        line.split()[0] for line in bench("list", "runs", out).stdout.splitlines() if " not finished " in line
    )
    with run_lock(out / place):
        line = next(line for line in bench("list", "runs", out).stdout.splitlines() if line.startswith(place))
        assert " in progress " in line
        said = bench("verify", out / place).stdout
        assert f"the run is not finished: process {os.getpid()} is at it" in said
        assert "--resume" not in said
        assert f"is not finished: process {os.getpid()} is at it" in bench("compact", out / place).stderr
    assert "continue it with --resume" in bench("verify", out / place).stdout


def test_filters_and_a_limit(bench: Bench, out: Path) -> None:
    ended = bench("list", "runs", out, "--model", "MODEL-1", "--limit", 2, "--sort", "cost")
    assert len([line for line in ended.stdout.splitlines() if " model-1 " in line]) == 2
    assert "4 of 12 runs in" in ended.stdout
    assert "the first 2 shown" in ended.stdout
    assert "0 of 12 runs in" in bench("list", "runs", out, "--scheme", "nothing like it").stdout


def test_a_run_is_found_by_the_status_that_the_table_shows(bench: Bench, out: Path) -> None:
    lines = bench("list", "runs", out).stdout.splitlines()
    cut = [line.split()[0] for line in lines if " not finished " in line]
    found = bench("list", "runs", out, "--status", "Not finished", "--json").stdout
    assert [run["run_id"] for run in json.loads(found)] == cut
    assert cut


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--max-cost", "-1"), "--max-cost -1: nothing costs less than 0"),
        (
            ("--since", "2026-02-01", "--until", "2026-01-31"),
            "--since 2026-02-01 is after --until 2026-01-31",
        ),
    ],
)
def test_a_filter_that_no_run_could_pass_is_refused(
    bench: Bench, out: Path, words: tuple[str, ...], problem: str
) -> None:
    ended = bench("list", "runs", out, *words)
    assert (ended.returncode, problem in ended.stderr) == (2, True)


def test_json_and_csv_have_the_same(bench: Bench, out: Path) -> None:
    found = json.loads(bench("list", "runs", out, "--json").stdout)
    rows = list(csv.DictReader(io.StringIO(bench("list", "runs", out, "--csv").stdout)))
    assert [one["run_id"] for one in found] == [row["run_id"] for row in rows]
    assert [one["cost_per_1k_tokens_usd"] for one in found] == [
        float(row["cost_per_1k_tokens_usd"]) for row in rows
    ]
    assert {one["directory"] for one in found} == {path.name for path in out.iterdir() if path.is_dir()}


@pytest.mark.parametrize("option", ["--json", "--csv"])
@pytest.mark.parametrize("at_a_time", [1, 5, 1000])
def test_a_list_for_programs_is_the_same_in_pieces(
    bench: Bench, out: Path, monkeypatch: pytest.MonkeyPatch, option: str, at_a_time: int
) -> None:
    asked = ("list", "runs", out, option, "--sort", "name")
    monkeypatch.setattr(index, "AT_A_TIME", at_a_time)
    data = [run_pages.as_data(run, Wanted()) for run in index.Index(out).runs(Wanted(sort="name"))]
    assert len(data) == 12
    found = bench(*asked).stdout
    if option == "--json":
        assert found == ascii_json(data, indent=1) + "\n"
    else:
        assert [row["directory"] for row in csv.DictReader(io.StringIO(found))] == [
            one["directory"] for one in data
        ]
    nothing = bench(*asked, "--model", "nothing like it").stdout
    assert nothing == ("[]\n" if option == "--json" else "\n")


def test_many_are_read_by_several_processes(bench: Bench, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = bench("list", "runs", out, "--json").stdout
    (out / ".index.sqlite").unlink()
    monkeypatch.setattr(run_pages, "MANY", 3)
    ended = bench("list", "runs", out, "--json")
    assert ended.stdout == alone
    assert ended.stderr.startswith("reading 12 runs into the index, once")


def test_a_run_that_cannot_be_read_is_listed_as_such(bench: Bench, tmp_path: Path) -> None:
    run = write_run(tmp_path / "\x1b[31mrun")
    (run / RUN_JSON).write_text(f"{(run / RUN_JSON).read_text()[:-3]}x")
    ended = bench("list", "runs", tmp_path)
    assert ended.returncode == 0
    assert "unreadable" in ended.stdout
    assert "not JSON" in ended.stdout
    assert "\x1b" not in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs", "nowhere"], "nowhere is not a directory of runs"),
        (["runs", "results/reference/quickstart"], "is a run; give the directory that it is in"),
        (["runs", ".", "--sort", "size"], "cannot sort by 'size'"),
        (["runs", ".", "--status", "pased"], "did you mean 'pass'?"),
        (["runs", ".", "--since", "1 May"], "is not a day"),
        (["runs", ".", "--json", "--csv"], "choose one"),
        (["runs", ".", "results"], "one directory"),
        (["models", "--json"], "options are for `bench list runs`"),
        (["runs", ".", "--limit", "-1"], "limit"),
    ],
)
def test_what_makes_no_sense(bench: Bench, arguments: list[str], said: str) -> None:
    ended = bench("list", *arguments)
    assert ended.returncode == 2
    assert said in ended.stderr


# ---- bench price DIRECTORY --------------------------------------------------------------------------


def test_every_run_at_another_price_is_each_run_at_that_price(bench: Bench, out: Path) -> None:
    asked = ("--usd-per-hour", 0.4, "--vcpus", 8)
    found = json.loads(bench("price", out, *asked, "--json").stdout)
    assert len(found) == 24
    for directory in sorted(path for path in out.iterdir() if path.is_dir())[:3]:
        whole = json.loads(bench("price", directory, *asked, "--json").stdout)
        for row in whole["variants"]:
            (one,) = [
                one for one in found if (one["directory"], one["name"]) == (directory.name, row["name"])
            ]
            figure = row["metrics"]["cost_per_1k_tokens_usd"]
            assert one["cost_per_1k_tokens_usd"] == pytest.approx(figure["value"], rel=1e-9)


def test_the_table_and_what_is_wrong_with_it(bench: Bench, out: Path) -> None:
    newest = sorted(path for path in out.iterdir() if path.is_dir())[-1]
    (newest / RUN_JSON).write_text("{}")
    (newest / "journal.jsonl").write_text("{}\n")
    ended = bench("price", out, "--hardware", "h100-80gb")
    assert ended.returncode == 0
    assert "11 runs, 22 of 22 rows measured and priced" in ended.stdout
    assert f"left out: {newest.name}" in ended.stderr
    assert "22 rows: priced as a GPU" in ended.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nothing to change"),
        (["--hardware", "h1000"], "h1000"),
        (["--against", "api"], "are about one run"),
        (["--split"], "are about one run"),
        (["--utilisation", "0"], "utilisation must be above 0"),
    ],
)
def test_what_cannot_be_asked_of_many(bench: Bench, out: Path, options: list[str], said: str) -> None:
    ended = bench("price", out, *options)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_a_list_of_what_is_known_needs_none_of_the_judging_half(out: Path) -> None:
    """So it starts quickly: only what has changed is read by the code that judges runs."""
    code = (
        "import sys; from bench.cli import run_pages; from bench.results.index_query import Wanted; "
        "from pathlib import Path; "
        "list(run_pages.runs(Path(sys.argv[1]), Wanted(), limit=None, as_json=False, as_csv=False)); "
        "print(*{'pydantic', 'bench.records', 'bench.results.summary'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(out)]
    for expected in ({"pydantic", "bench.records", "bench.results.summary"}, set()):
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=os.environ, timeout=60,
            cwd=Path(__file__).resolve().parents[2],
        )  # fmt: skip
        assert set(done.stdout.split()) == expected


@pytest.mark.parametrize("width", [30, 80, None])
def test_a_name_of_blanks_fits_any_terminal(width: int | None) -> None:
    """A run of a stranger may have such a name, and a terminal has to wrap it."""
    assert align([("title", "name"), ("a", " " * 300)], width) == ["title  name", "a"]


@pytest.mark.parametrize(
    ("number", "to", "code"),
    [(signal.SIGINT, os.killpg, 130), (signal.SIGTERM, os.kill, 143), (signal.SIGKILL, os.kill, -9)],
)
def test_readers_end_with_their_command(number: signal.Signals, to: Any, code: int, out: Path) -> None:
    """Ctrl-C made each of them print a traceback, and those of a command that was killed waited for ever."""
    slow = (
        "import os, signal, sys, time, bench.cli.run_pages as pages, bench.results.index_entry as entry\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "pages.MANY = pages.AT_ONCE = 3\n"
        "def read_run(_directory): os.write(1, b'%d\\n' % os.getpid()); time.sleep(1)\n"
        "entry.read_run = read_run\nfrom bench.__main__ import main\nmain()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "list", "runs", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    readers = {int(process.stdout.readline())}
    to(process.pid, number)
    more, said = process.communicate(timeout=60)
    readers |= {int(line) for line in more.splitlines()}
    assert (process.returncode, "Traceback" in said) == (code, False), said
    until = time.monotonic() + 20
    while any(stat_of(pid)[:1] not in ([], ["Z"]) for pid in readers):
        assert time.monotonic() < until, "a reader goes on without its command"
        time.sleep(0.02)
