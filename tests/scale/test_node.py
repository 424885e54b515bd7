"""One piece on this machine: a real ``bench run`` of a function, read out while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from byte_tokenizer import write_tokenizer
from fakes import fake_model

from bench.bounded import keep_short
from bench.errors import ExitCode
from bench.results.run_summary import RunStatus
from bench.results.summary import load_run
from bench.results.verify import verify_run
from bench.scale import campaign
from bench.scale.node import NodeRun
from bench.scale.receiver import Receiver

SERVE = """
import time

def answer(prompt):
    time.sleep({seconds})
    return "Thank you for asking."
"""
CONFIG = {
    "name": "answers",
    "runtime": {"name": "callable", "threads": 1, "target": "serve:answer"},
    "workload": {"requests": 2},
    "variants": [{"name": "same"}],
    "drift": {"tokens": 0},
    "measure": {"processes": 1, "max_rounds": 1, "max_disturbance": 1.0},
}


@pytest.fixture
def node() -> Iterator[NodeRun]:
    made = NodeRun()
    yield made
    made.close()


def config(place: Path) -> dict[str, Any]:
    """With a model that is read in no time: only its tokenizer counts."""
    toy = fake_model(place / "toy")
    write_tokenizer(toy)
    return {**CONFIG, "model": {"path": str(toy)}}


def project(place: Path, seconds: float) -> str:
    (place / "serve.py").write_text(SERVE.format(seconds=seconds))
    return yaml.safe_dump(config(place))


def read_out(node: NodeRun, receiver: Receiver) -> int:
    while True:
        more = node.more(60.0)
        for chunk in more["chunks"]:
            receiver.take(chunk)
        if more["code"] is not None:
            return int(more["code"])


def test_a_run_arrives_as_it_was_written(node: NodeRun, tmp_path: Path) -> None:
    text = project(tmp_path, 0.0)
    assert node.begin(text, str(tmp_path)) is None
    receiver = Receiver(tmp_path / "results")
    assert read_out(node, receiver) == ExitCode.OK
    assert receiver.finished() == RunStatus.OK
    assert receiver.directory is not None
    assert verify_run(receiver.directory).endswith("the summary of the journal, figure by figure")
    assert [row.name for row in load_run(receiver.directory).rows] == ["baseline", "same"]
    first = node._place
    node.close()
    assert not first.exists()
    assert node.begin(text, str(tmp_path)) is None, "another one after it"
    again = Receiver(tmp_path / "results")
    assert read_out(node, again) == ExitCode.OK
    assert again.finished() == RunStatus.OK
    assert again.directory not in (None, receiver.directory)


def test_a_run_that_is_stopped_keeps_what_it_has(node: NodeRun, tmp_path: Path) -> None:
    text = project(tmp_path, 5.0)
    assert node.begin(text, str(tmp_path)) is None
    receiver, said = Receiver(tmp_path / "results"), list[str]()
    _until_it_has_begun(node, receiver)
    node.stop()
    while (more := node.more(60.0))["code"] is None:
        for chunk in more["chunks"]:
            receiver.take(chunk)
        said += more["said"]
    for chunk in more["chunks"]:
        receiver.take(chunk)
    assert more["code"] == ExitCode.TERMINATED
    assert receiver.directory is not None
    said += more["said"]
    assert said[-1] == f"bench: terminated; what was measured is in {receiver.directory.name}"
    assert receiver.finished() in (RunStatus.PARTIAL, RunStatus.INVALID)


@pytest.mark.fault(38)
def test_what_arrived_of_a_lost_run_can_be_read(node: NodeRun, tmp_path: Path) -> None:
    text = project(tmp_path, 5.0)
    assert node.begin(text, str(tmp_path)) is None
    receiver = Receiver(tmp_path / "results")
    _until_it_has_begun(node, receiver)
    kept = receiver.cut_short()
    assert kept is not None
    assert load_run(kept).status in (RunStatus.PARTIAL, RunStatus.INVALID)


def _until_it_has_begun(node: NodeRun, receiver: Receiver) -> None:
    while not _begun(receiver):
        more = node.more(0.2)
        for chunk in more["chunks"]:
            receiver.take(chunk)
        assert more["code"] is None, f"it ended before it measured anything: {more['said']}"


def _begun(receiver: Receiver) -> bool:
    """Whether a record of a row has arrived, behind that of the run: from then on something is measured."""
    journal = receiver.directory and receiver.directory / "journal.jsonl"
    return bool(journal) and journal.is_file() and journal.read_bytes().count(b"\n") > 1


@pytest.mark.fault(42)
def test_a_directory_that_is_not_there_is_said(node: NodeRun) -> None:
    assert node.begin("name: x", "/no/such/place") == (
        "there is no directory /no/such/place on it, where the paths of the config begin"
    )


def test_a_campaign_on_this_machine(tmp_path: Path) -> None:
    """As a user starts it: two groups, of which one cannot be measured; then it is continued."""
    (tmp_path / "serve.py").write_text(SERVE.format(seconds=0.0))
    good, bad, ours = tmp_path / "good.yaml", tmp_path / "bad.yaml", config(tmp_path)
    good.write_text(yaml.safe_dump({**ours, "name": "good"}))
    bad.write_text(
        yaml.safe_dump({**ours, "name": "bad", "runtime": {**ours["runtime"], "target": "serve:no"}})
    )
    command = [sys.executable, "-P", "-m", "bench", "run", "good.yaml", "bad.yaml", "--on", "here"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == ExitCode.FAILED, ended.stderr
    (place,) = (tmp_path / "results").glob("*/" + campaign.FILE)
    assert f"--resume {place.parent.relative_to(tmp_path)}" in ended.stdout
    again = [*command, "--resume", str(place.parent), "-q"]
    ended = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == ExitCode.FAILED
    assert "measured before" in ended.stdout
    runs = [path.parent.name for path in (tmp_path / "results").glob("*/run.json")]
    assert len([name for name in runs if "-good-" in name]) == 1


def test_a_run_that_ended_before_its_first_record(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    receiver.take(("run/spec.yaml", 0, b"name: x\n"))
    assert receiver.finished() is None
    assert receiver.cut_short() is None


NICE = """
import os, sys
from bench.scale.node import NodeRun

os.nice(4)
if "refused" in sys.argv:
    def refuse(*_arguments):
        raise PermissionError
    os.setpriority = refuse
usual = os.getpriority(os.PRIO_PROCESS, os.getppid())
print(NodeRun().usual_priority(), os.getpriority(os.PRIO_PROCESS, 0) - usual)
"""


@pytest.mark.fault(44)
@pytest.mark.parametrize("may", ["root", "refused"])
def test_a_run_gets_the_priority_of_what_started_its_scheduler(may: str, tmp_path: Path) -> None:
    if may == "root" and os.geteuid() != 0:
        pytest.skip("only root may raise a priority")
    command = [sys.executable, "-c", NICE, may]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split() == (["0", "0"] if may == "root" else ["4", "4"])


def test_a_line_that_is_half_written_is_told_once_and_whole(node: NodeRun) -> None:
    node._child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    node._ended = os.pidfd_open(node._child.pid)
    told = []
    for part in (b"base", b"line: \xc3", b"\xa9\nsa", b"me: ", b""):
        with (node._place / "said").open("ab") as said:
            said.write(part)
        told.append(node.more(0.0)["said"])
    assert told == [[], [], ["baseline: \u00e9"], [], []]
    node.stop()
    assert node.more(60.0)["said"] == ["same: "]


def test_a_log_that_is_shortened_arrives_as_it_is_at_the_end(node: NodeRun, tmp_path: Path) -> None:
    """What was sent of it was longer than what is left, and the campaign would have waited for ever."""
    node._child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    node._ended = os.pidfd_open(node._child.pid)
    (node._place / "said").touch()
    log = node._place / "out" / "run" / "logs" / "baseline.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"begin" + b"words " * (3 << 20))
    receiver = Receiver(tmp_path)
    for _ in range(5):
        for chunk in node.more(0.0)["chunks"]:
            receiver.take(chunk)
    assert (tmp_path / "run" / "logs" / "baseline.log").read_bytes().startswith(b"beginwords")
    keep_short(log)
    node.stop()
    read_out(node, receiver)
    assert (tmp_path / "run" / "logs" / "baseline.log").read_bytes() == log.read_bytes()
    assert log.stat().st_size < 10 << 20
