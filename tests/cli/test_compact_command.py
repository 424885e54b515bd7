"""`bench compact`: what it prints, how it ends, and that all other commands say what they said before."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Bench, Ended
from rich_runs import KINDS, write

from bench.errors import ExitCode
from bench.store.run_files import JOURNAL, REST, RUN_JSON, SAMPLES

pytest.importorskip("pyarrow")

COMMANDS = (
    ["compare", "RUN"],
    ["compare", "RUN", "--json"],
    ["compare", "RUN", "--drift"],
    ["compare", "RUN", "--examples", "2"],
    ["compare", "RUN", "OTHER"],
    ["compare", "OTHER", "RUN", "--json"],
    ["explain", "RUN", "plain", "--json"],
    ["price", "RUN", "--usd-per-hour", "2", "--json"],
    *(["report", "RUN", "--format", name] for name in ("html", "markdown", "csv", "jsonl", "junit")),
    ["gate", "RUN"],
    ["price", "DIR", "--usd-per-hour", "2", "--vcpus", "2", "--json"],
    ["list", "runs", "DIR", "--json"],
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for name, kind in (("a", "mixed"), ("b", "mixed"), ("c", "commits"), ("d", "served")):
        write(tmp_path / "results" / name, KINDS[kind]())
    return tmp_path / "results"


def said(bench: Bench, out: Path, run: str) -> list[Ended]:
    places = {"RUN": out / run, "OTHER": out / "b", "DIR": out}
    return [bench(*(places.get(word, word) for word in words)) for words in COMMANDS]


@pytest.mark.parametrize("run", ["a", "c", "d"])
def test_every_command_says_the_same_of_a_compacted_run(bench: Bench, out: Path, run: str) -> None:
    before = said(bench, out, run)
    assert sum(ended.returncode == 0 for ended in before) > len(COMMANDS) // 2
    ended = bench("compact", out / run)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"{run} compacted: " in ended.stdout
    assert (out / run / SAMPLES).is_file()
    assert said(bench, out, run) == before


def test_a_run_without_its_samples_is_still_listed_and_compared(bench: Bench, out: Path) -> None:
    bench("compact", out / "a")
    before = said(bench, out, "a")
    for name in (REST, SAMPLES):
        (out / "a" / name).unlink()
    after = said(bench, out, "a")
    lost = {
        " ".join(words): now.returncode
        for words, was, now in zip(COMMANDS, before, after, strict=True)
        if was != now
    }
    assert lost.pop("list runs DIR --json") == 0  # which has the digest of each journal
    assert lost == dict.fromkeys(
        (
            "compare RUN --examples 2",
            "gate RUN",
            "explain RUN plain --json",
            "price RUN --usd-per-hour 2 --json",
        ),
        ExitCode.USAGE,
    )
    assert bench("verify", out / "a").returncode == ExitCode.USAGE


def test_a_list_sees_that_the_numbers_were_altered(bench: Bench, out: Path) -> None:
    bench("compact", out)
    assert "unreadable" not in bench("list", "runs", out).stdout
    samples = out / "a" / SAMPLES
    whole = samples.read_bytes()
    samples.write_bytes(whole[:-1] + b"2")
    listed = bench("list", "runs", out, "--json").stdout
    assert "samples.parquet is torn, or was changed" in listed
    samples.write_bytes(whole)
    assert "unreadable" not in bench("list", "runs", out).stdout


def test_a_directory_of_runs_and_back(bench: Bench, out: Path) -> None:
    whole = {run: (run / JOURNAL).read_bytes() for run in out.iterdir()}
    (out / "b" / JOURNAL).write_bytes(whole[out / "b"].rpartition(b"\n{")[0] + b"\n")
    dry = bench("compact", out, "--dry-run")
    assert [line.split(" would ")[0] for line in dry.stdout.splitlines()] == [f"{out / n}" for n in "acd"]
    assert not list(out.glob(f"*/{REST}"))
    done = bench("compact", out, out / "a")
    assert done.returncode == 0
    assert f"bench: {out / 'b'} is not finished" in done.stderr
    assert len(done.stdout.splitlines()) == len(list(out.glob(f"*/{SAMPLES}"))) == 3
    assert bench("compact", out).returncode == 0
    back = bench("compact", "--undo", out)
    assert (back.returncode, len(back.stdout.splitlines())) == (0, 3)
    assert {run: (run / JOURNAL).read_bytes() for run in out.iterdir() if run.name != "b"} == {
        run: data for run, data in whole.items() if run.name != "b"
    }


def test_only_old_runs(bench: Bench, out: Path) -> None:
    ended = bench("compact", out, "--older-than", "365d")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "ended later than asked for" in ended.stderr
    assert len(bench("compact", out, "--older-than", "1s").stdout.splitlines()) == 4


def test_the_gravest_of_several_refusals_is_the_exit_code(bench: Bench, out: Path) -> None:
    journal = out / "a" / JOURNAL
    journal.write_bytes(journal.read_bytes().replace(b'"took_s":1.0', b'"took_s":1.5', 1))
    (out / "b" / RUN_JSON).unlink()
    ended = bench("compact", out / "b", out / "c", out / "a")
    assert ended.returncode == ExitCode.INTEGRITY
    assert f"{out / 'c'} compacted" in ended.stdout
    assert "2 runs left as before" in ended.stderr
    alone = bench("compact", out / "b")
    assert alone.returncode == ExitCode.USAGE
    assert f"{out / 'b'} is not finished" in alone.stderr


@pytest.mark.parametrize(
    "words", [["--undo", "--dry-run"], ["--undo", "--older-than", "3d"], ["--older-than", "soon"]]
)
def test_options_that_make_no_sense(bench: Bench, out: Path, words: list[str]) -> None:
    ended = bench("compact", out, *words)
    assert ended.returncode == ExitCode.USAGE
    assert words[0] in ended.stderr


def test_a_place_without_runs(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "none"):
        assert bench("compact", place).returncode == ExitCode.USAGE
