"""No text of a run reaches a CI server as a command to it, whichever command or format shows the run."""

from __future__ import annotations

import copy
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Bench
from journals import HEAD, SPEC, arm, clock
from tampering import places

from bench import plugins
from bench.cli.output import Stream, command_ci, readers_may_go
from bench.errors import BenchError, ExitCode, InterruptedRun, UsageError
from bench.formatting import defused
from bench.results.history import FEWEST
from bench.results.summarise import summarise
from bench.results.summary import RUN_JSON, load_run, sealed
from bench.store.files import digest
from bench.store.journal import Journal
from bench.store.replay import JOURNAL, load_record

PLANTED = "::error::planted ##[error]planted ##vso[task.x]planted"
LONG = f"{'n' * 150} {PLANTED}"
TWO_LINES = f"first\n{PLANTED}\r{PLANTED}"
OF_TWO_LINES = ("reason", "reasons", "note", "text", "formula", "energy_reason", "drift_reason")
ROW = "::warning::planted ##[group]"
BINARY = {"parquet"}


def obeyed(text: str) -> list[str]:
    """The lines that the runners of GitHub, Azure or TeamCity would obey: their rules, written again."""
    return [
        line
        for line in re.split(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]", text)
        if line.lstrip().startswith("::")
        or any(start in line.lower() for start in ("##[", "##vso[", "##teamcity["))
    ]


def planted(tree: Any, directory: Path) -> Any:
    """``tree`` with commands in every text that a reader of the run accepts there."""
    found = copy.deepcopy(tree)
    for path in list(places(found)):
        holder = found
        for part in path[:-1]:
            holder = holder[part]
        old = holder[path[-1]]
        row = path[:1] == ("variants",) and path[-1] == "name"
        if not isinstance(old, str) or row or path[-1] in ("variant", "against", "group"):
            continue
        words = TWO_LINES if path[-1] in OF_TWO_LINES or "reasons" in path else PLANTED
        holder[path[-1]] = LONG if path == ("name",) else f"{words} {words}"
        try:
            (directory / RUN_JSON).write_text(json.dumps(sealed(found, directory / JOURNAL)))
            load_run(directory)
        except (BenchError, ValueError):
            holder[path[-1]] = old
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with commands in its journal, and in every text of its summary."""
    directory = tmp_path_factory.mktemp("runs") / "planted"
    directory.mkdir()
    spec = {**SPEC, "gate": {"cost_per_1k_tokens_usd": {"max_increase": "3%"}}}
    head = {
        **HEAD, "name": LONG, "price": {**HEAD["price"], "name": PLANTED}, "spec": spec,
        "spec_digest": digest(spec),
    }  # fmt: skip
    with Journal.create(directory / JOURNAL, clock) as journal:
        journal.append("run_started", head)
        for name, step_ms in (("baseline", 2.0), (ROW, 1.0), ("failed", 1.0)):
            arm(journal, name, step_ms)
        journal.append("arm", {"group": "", "name": "failed", "status": "timeout", "reason": TWO_LINES})
        journal.append("run_finished", {})
    (directory / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    content = json.loads(json.dumps(summarise(load_record(directory)).to_json()))
    content = planted(content, directory)
    (directory / RUN_JSON).write_text(json.dumps(sealed(content, directory / JOURNAL)))
    for number in range(FEWEST):  # a history
        again = Path(shutil.copytree(directory, directory.parent / "history" / str(number)))
        content["run_id"] = f"{PLANTED} {number}"
        (again / RUN_JSON).write_text(json.dumps(sealed(content, again / JOURNAL)))
    return directory


def commands() -> Iterator[tuple[str, ...]]:
    for more in ((), ("--json",)):
        yield ("compare", "RUN", *more)
        yield ("compare", "RUN", "RUN", *more)
        yield ("compare", "--history", "DIR", *more)
        yield ("explain", "RUN", ROW, *more)
        yield ("explain", "RUN", "failed", *more)
        yield ("price", "RUN", "--usd-per-hour", "1", *more)
        yield ("price", "RUN", "--against", "api", *more)
        yield ("price", "RUN", "--split", *more)
        yield ("plan", "RUN", "--requests-per-day", "1000", *more)
        yield ("gate", "RUN", *more)
    for name in sorted({*plugins.names("report.formats")} - BINARY):
        yield ("report", "RUN", "--format", name)
    yield ("verify", "RUN")
    yield ("explain", "RUN", PLANTED)
    yield ("report", "RUN", "--format", PLANTED)
    yield ("check", f"{PLANTED}.yaml")
    yield ("list", PLANTED)
    yield (PLANTED,)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_no_line_is_obeyed(bench: Bench, run: Path, words: tuple[str, ...]) -> None:
    places_of = {"RUN": run, "DIR": run.parent / "history"}
    found = bench(*(places_of.get(word, word) for word in words))
    said = found.stdout + found.stderr
    assert "planted" in said or words[0] in ("verify",) or "--split" in words, said
    assert obeyed(found.stdout) == []
    assert obeyed(found.stderr) == []
    assert "Traceback" not in said
    assert found.returncode in {
        ExitCode.OK, ExitCode.USAGE, ExitCode.INCOMPARABLE, ExitCode.FAILED, ExitCode.INTEGRITY
    }, said  # fmt: skip


@pytest.mark.parametrize("name", sorted({*plugins.names("report.formats")} - {"pytest-benchmark"}))
def test_no_line_of_a_file_is_obeyed(bench: Bench, run: Path, tmp_path: Path, name: str) -> None:
    """A job that prints the file is as safe as one that prints the report."""
    if bench("report", run, "--format", name, "-o", tmp_path / "out").returncode == ExitCode.OK:
        assert obeyed((tmp_path / "out").read_bytes().decode(errors="replace")) == []


def test_json_gives_a_program_the_text_as_it_was(bench: Bench, run: Path) -> None:
    found = bench("compare", run, "--json")
    assert found.stdout, found.stderr
    assert json.loads(found.stdout)["name"] == LONG


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_command_in_two_writes(cut: int, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("  ::error::x", "##[error]x", "a ##vso[x]", "\x1b[1m::x", "\r::stop"):
        stream = Stream(sys.stdout)
        stream.write("line\n")
        stream.write(command[:cut])
        stream.write(command[cut:])
        said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        assert obeyed(said) == []
        assert said.replace(" ", "").endswith(re.sub(r"\x1b\[1m", "", command).replace(" ", ""))


@pytest.mark.parametrize(
    "text", ["a::b", "aten::mm", "# Title", "## Title", "x[1]", "#[1]", "https://[::1]/", "12:30: x", ""]
)
def test_other_text_stays(text: str) -> None:
    assert defused(text) == text


def test_our_own_commands_reach_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    with readers_may_go():
        command_ci("::error title=bench gate::x")
    assert obeyed(capsys.readouterr().err) == ["::error title=bench gate::x"]


@pytest.mark.parametrize("kind", [UsageError, InterruptedRun])
def test_pytest_repeats_no_command(kind: type[BenchError]) -> None:
    from bench.cli.pytest_plugin import _in_a_sentence

    with pytest.raises(BaseException, match="planted") as caught, _in_a_sentence():
        raise kind(f"x\n{PLANTED}")
    assert obeyed(str(caught.value)) == []
    assert caught.value.__suppress_context__
