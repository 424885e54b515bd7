"""The dispatcher, on machines that are scripted: what runs where, what is lost, what is kept."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from bench.errors import TerminatedRun, UsageError
from bench.results.summary import load_run
from bench.scale import campaign as module
from bench.scale.campaign import FILE, Campaign
from bench.scale.dispatch import MOST_ATTEMPTS, Dispatcher
from bench.scale.here import Here
from bench.scale.machines import Heard, Lost, Machine
from bench.scale.pieces import Piece
from bench.scale.receiver import ARRIVING, Receiver

RUNS = Path(__file__).parents[2] / "results" / "reference" / "quickstart"
Answer = Heard | Lost | BaseException


def piece(name: str, *, needs_gpu: bool = False) -> Piece:
    return Piece(name, "", f"digest of {name}", needs_gpu)


def sent(name: str) -> Heard:
    """A whole run, as a machine sends it at its end."""
    files = {file: (RUNS / file).read_bytes() for file in ("run.json", "spec.yaml")}
    files["journal.jsonl"] = gzip.decompress((RUNS / "journal.jsonl.gz").read_bytes())
    chunks = [(f"{name}/{file}", 0, content) for file, content in sorted(files.items())]
    return Heard(tuple(chunks), ("the last words",), 0)


class Scripted:
    """Machines whose answers are given in advance: by machine, for each piece in turn."""

    def __init__(self, *machines: Machine, refuses: Mapping[str, str] | None = None) -> None:
        self.machines, self.refuses = list(machines), dict(refuses or {})
        self.answers: dict[str, Iterator[Answer]] = {}
        self.begun: list[tuple[str, str]] = []
        self.stopped: list[str] = []
        self.kept: list[tuple[str, ...]] = []  # whenever the others were let go
        self.script: Callable[[str, str], Iterator[Answer]] = lambda _machine, name: iter([ended(name)])

    def present(self) -> Sequence[Machine]:
        return tuple(self.machines)

    def begin(self, machine: Machine, piece: Piece) -> str | None:
        if machine.name in self.refuses:
            return self.refuses[machine.name]
        self.begun.append((machine.name, piece.name))
        self.answers[machine.id] = self.script(machine.name, piece.name)
        return None

    def hear(self, machines: Sequence[Machine]) -> Mapping[Machine, Heard | Lost]:
        answer = next(self.answers[machines[0].id])
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Lost):
            self.machines.remove(machines[0])
        return {machines[0]: answer}

    def stop(self, machine: Machine) -> None:
        self.stopped.append(machine.name)

    def spare(self, used: Sequence[Machine]) -> None:
        self.kept.append(tuple(machine.name for machine in used))

    def close(self) -> None:
        return


def ended(name: str, code: int = 5) -> Heard:
    """A run that ended before it had a directory."""
    return Heard((), (f"{name} has ended",), code)


def test_a_machine_without_a_further_piece_is_let_go(campaign: Campaign, tmp_path: Path) -> None:
    machines = Scripted(Machine("1", "one"), Machine("2", "two"))
    pieces = [piece(name) for name in "abc"]
    Dispatcher(machines, campaign, tmp_path, lambda _line: None).run(pieces)
    assert machines.begun == [("one", "a"), ("two", "b"), ("one", "c")]
    assert machines.kept == [("two", "one"), ("one",)], "not while the third piece waits"


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    made = Campaign.create(tmp_path, "test", [])
    yield made
    made.close()


def records(campaign: Campaign, kind: str) -> list[dict[str, object]]:
    lines = (campaign.directory / FILE).read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def test_each_machine_has_one_piece_at_a_time(campaign: Campaign, tmp_path: Path) -> None:
    machines = Scripted(Machine("1", "one"), Machine("2", "two"))
    found = Dispatcher(machines, campaign, tmp_path, lambda _line: None).run([piece(x) for x in "abcd"])
    assert sorted(name for _machine, name in machines.begun) == ["a", "b", "c", "d"]
    assert machines.begun[:2] == [("one", "a"), ("two", "b")]
    assert {one.status for one in found.values()} == {"failed"}
    assert found["digest of a"].reason == "a has ended"


def test_a_run_that_arrives_is_kept_as_it_was_written(campaign: Campaign, tmp_path: Path) -> None:
    machines = Scripted(Machine("1", "one"))
    machines.script = lambda _machine, _name: iter([sent("20260101-000000-x-1234")])
    found = Dispatcher(machines, campaign, tmp_path, lambda _line: None).run([piece("a")])
    ending = found["digest of a"]
    assert (ending.status, ending.run) == ("ok", tmp_path / "20260101-000000-x-1234")
    assert ending.run is not None
    assert (ending.run / "run.json").read_bytes() == (RUNS / "run.json").read_bytes()
    (record,) = records(campaign, "piece_ended")
    assert record["run"] == ending.run.name


@pytest.mark.fault(38)
def test_what_a_lost_machine_had_begun_is_measured_by_another(campaign: Campaign, tmp_path: Path) -> None:
    machines = Scripted(Machine("1", "one"), Machine("2", "two"))
    machines.script = lambda machine, name: iter([Lost("no answer") if machine == "one" else ended(name)])
    found = Dispatcher(machines, campaign, tmp_path, lambda _line: None).run([piece("a"), piece("b")])
    assert machines.begun == [("one", "a"), ("two", "b"), ("two", "a")]
    assert found["digest of a"].machine == "two"
    assert [one["status"] for one in records(campaign, "piece_ended")] == ["lost", "failed", "failed"]
    assert [one["attempt"] for one in records(campaign, "piece_begun")] == [1, 1, 2]


@pytest.mark.fault(38)
def test_a_piece_that_loses_every_machine_is_given_up(campaign: Campaign, tmp_path: Path) -> None:
    machines = Scripted(*(Machine(str(i), f"m{i}") for i in range(5)))
    machines.script = lambda _machine, _name: iter([Lost("no answer")])
    found = Dispatcher(machines, campaign, tmp_path, lambda _line: None).run([piece("a")])
    assert len(machines.begun) == MOST_ATTEMPTS
    assert (found["digest of a"].status, found["digest of a"].reason) == ("lost", "no answer")


@pytest.mark.parametrize(
    ("machines", "reason"),
    [
        ([], "no machine is there"),
        ([Machine("1", "one")], "it needs a GPU, and no machine has one"),
        ([Machine("1", "old", 1)], "no machine can be used: another version"),
    ],
)
def test_a_piece_that_no_machine_can_take_is_not_begun(
    campaign: Campaign, tmp_path: Path, machines: list[Machine], reason: str
) -> None:
    there = Scripted(*machines, refuses={"old": "another version"})
    found = Dispatcher(there, campaign, tmp_path, lambda _line: None).run([piece("a", needs_gpu=True)])
    assert (found["digest of a"].status, found["digest of a"].reason) == ("not begun", reason)


def test_nothing_is_begun_when_the_time_is_up(campaign: Campaign, tmp_path: Path) -> None:
    machines = Scripted(Machine("1", "one"))
    dispatcher = Dispatcher(
        machines, campaign, tmp_path, lambda _line: None, lambda: len(machines.begun) == 1
    )
    found = dispatcher.run([piece("a"), piece("b")])
    assert found["digest of a"].status == "failed"
    assert (found["digest of b"].status, found["digest of b"].reason) == ("not begun", "the time was up")


@pytest.mark.fault(39)
def test_what_is_under_way_is_ended_and_kept(campaign: Campaign, tmp_path: Path) -> None:
    machines = Scripted(Machine("1", "one"))
    machines.script = lambda _machine, _name: iter([TerminatedRun("terminated"), sent("20260101-0-x-1234")])
    with pytest.raises(TerminatedRun):
        Dispatcher(machines, campaign, tmp_path, lambda _line: None).run([piece("a"), piece("b")])
    assert machines.stopped == ["one"]
    assert {one["name"]: one["status"] for one in records(campaign, "piece_ended")} == {
        "a": "ok",
        "b": "not begun",
    }


@pytest.mark.fault(11)
def test_a_full_disk_ends_the_campaign_and_keeps_what_came(
    campaign: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine has ended its run and knows no more of it when the summary has no room here."""
    real = Path.open

    def full(path: Path, *words: Any, **named: Any) -> IO[Any]:
        if path.name == ARRIVING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, *words, **named)

    monkeypatch.setattr(Path, "open", full)
    machines = Scripted(Machine("1", "one"))
    machines.script = lambda _machine, name: iter([sent(f"20260101-0-{name}-1234")])
    found = Dispatcher(machines, campaign, tmp_path, lambda _line: None).run([piece("a"), piece("b")])
    a, b = (found[f"digest of {name}"] for name in "ab")
    assert (a.status, b.status) == ("failed", "not begun")
    assert a.reason.startswith("cannot write ")
    assert "No space left" in a.reason
    assert "No space left" in b.reason
    assert a.run is not None
    assert {path.name for path in a.run.iterdir()} == {"journal.jsonl", "run.json", "logs"}
    assert load_run(a.run).rows


def test_a_summary_is_there_when_it_is_whole(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    for name, _, content in sent("run").chunks:
        for place in range(0, len(content), 9999):
            receiver.take((name, place, content[place : place + 9999]))
            assert not (tmp_path / "run" / "run.json").exists()
    assert receiver.finished() == "ok"
    assert (tmp_path / "run" / "run.json").read_bytes() == (RUNS / "run.json").read_bytes()


def test_a_signal_between_the_end_of_a_run_and_its_being_heard(campaign: Campaign, tmp_path: Path) -> None:
    """Whoever is asked again about a run that has ended says so."""
    here = Here()
    machines = Scripted(*here.present())
    machines.script = lambda _machine, _name: iter([TerminatedRun("terminated")])
    before, machines.hear = machines.hear, None  # type: ignore[method-assign, assignment]

    def hear(asked: Sequence[Machine]) -> Mapping[Machine, Heard | Lost]:
        return here.hear(asked) if machines.stopped else before(asked)

    machines.hear = hear  # type: ignore[method-assign]
    with pytest.raises(TerminatedRun):
        Dispatcher(machines, campaign, tmp_path, lambda _line: None).run([piece("a")])
    assert [one["reason"] for one in records(campaign, "piece_ended")] == ["its run had ended"]


@pytest.mark.fault(43)
@pytest.mark.parametrize(
    "chunk",
    [
        ("../outside/journal.jsonl", 0, b"x"),
        ("run/../../outside", 0, b"x"),
        ("/etc/passwd", 0, b"x"),
        ("run/evil.py", 0, b"x"),
        ("run/logs/../run.json", 0, b"x"),
        ("run/journal.jsonl", 7, b"x"),
    ],
)
def test_a_machine_writes_nothing_but_the_files_of_its_run(
    campaign: Campaign, tmp_path: Path, chunk: tuple[str, int, bytes]
) -> None:
    machines = Scripted(Machine("1", "one"))
    machines.script = lambda _machine, _name: iter([Heard((chunk,))])
    found = Dispatcher(machines, campaign, tmp_path / "out", lambda _line: None).run([piece("a")])
    assert found["digest of a"].status == "failed"
    assert not (tmp_path / "outside").exists()
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert written == []


@pytest.mark.fault(41)
def test_a_campaign_that_is_continued_skips_what_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, changed, missing = piece("a"), piece("b"), piece("c")
    told = list[str]()
    machines = Scripted(Machine("1", "one"))
    machines.script = lambda _machine, name: iter([sent(f"run-{name}") if name != "c" else ended(name)])
    first = Campaign.create(tmp_path, "test", [done, changed, missing])
    Dispatcher(machines, first, tmp_path, lambda _line: None).run([done, changed, missing])
    first.close()
    now = [done, Piece("b", "", "another digest"), missing]
    made_by = str(load_run(RUNS).harness["source_sha256"])
    monkeypatch.setattr(module, "source_digest", lambda: made_by)
    assert set(module.complete(first.directory, now, told.append)) == {done.digest}
    assert told == []
    monkeypatch.setattr(module, "source_digest", lambda: "another harness")
    assert module.complete(first.directory, now, told.append) == {}
    assert told == ["a: run-a was measured by other code of bench; it is measured again"]
    monkeypatch.setattr(module, "source_digest", lambda: made_by)
    journal = tmp_path / "run-a" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-1000])
    assert module.complete(first.directory, now, told.append) == {}
    assert told[1].startswith("a: its run does not count any more (")
    notes = first.directory / FILE
    notes.write_bytes(notes.read_bytes()[:-10])
    module.complete(first.directory, now, told.append)
    assert "dropped a torn last line" in told[2]


@pytest.mark.fault(39)
def test_a_campaign_whose_harness_was_killed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL while the second of three pieces is measured, of which the beginning has come."""
    pieces = [piece(name) for name in "abc"]
    whole = sent("run-a")
    begun = [("run-b/journal.jsonl", at, content[:9000])
             for name, at, content in whole.chunks if name.endswith("journal.jsonl")]  # fmt: skip
    machines = Scripted(Machine("1", "one"))

    def script(_machine: str, name: str) -> Iterator[Answer]:
        if name == "a":
            yield whole
        yield Heard(tuple(begun))
        os.kill(os.getpid(), signal.SIGKILL)

    if not (child := os.fork()):
        machines.script = script
        Dispatcher(machines, Campaign.create(tmp_path, "test", pieces), tmp_path, str).run(pieces)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    made_by = str(load_run(RUNS).harness["source_sha256"])
    monkeypatch.setattr(module, "source_digest", lambda: made_by)
    (directory,) = (path.parent for path in tmp_path.glob(f"*/{FILE}"))
    assert set(module.complete(directory, pieces)) == {"digest of a"}
    assert load_run(tmp_path / "run-b").finished_utc is None
    machines.script = lambda _machine, name: iter([sent(f"again-{name}")])
    again = Campaign.reopen(directory, pieces)
    found = Dispatcher(machines, again, tmp_path, str).run(pieces[1:])
    again.close()
    assert {one.status for one in found.values()} == {"ok"}
    assert set(module.complete(directory, pieces)) == {one.digest for one in pieces}


@pytest.mark.fault(40)
def test_a_campaign_has_one_command_at_a_time(campaign: Campaign) -> None:
    with pytest.raises(UsageError, match=str(os.getpid())):
        Campaign.reopen(campaign.directory, [])
