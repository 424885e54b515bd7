"""A real Ray cluster of several nodes on this machine: one of them is lost, and nothing of the work is."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from byte_tokenizer import write_tokenizer
from fakes import fake_model

from bench.errors import BenchError
from bench.scale import on_ray
from bench.scale.campaign import Campaign
from bench.scale.dispatch import Dispatcher
from bench.scale.machines import Machine
from bench.scale.on_ray import OnRay
from bench.scale.pieces import Piece

pytest.importorskip("ray")
# A piece that ends after half a second, without measuring: what is tested is where it runs.
BROKEN = "name: broken\nmodel: no-such-model\n"
# A piece that is at work until the file GO is there, and then fails.
WAITING = """
name: waiting
model: {path: toy}
runtime: {name: callable, target: "serve:answer"}
workload: {requests: 1}
drift: {tokens: 0}
"""
SERVE = """
import os, time
from pathlib import Path

def answer(prompt):
    Path(__file__).with_name("NICENESS").write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))
    while not Path(__file__).with_name("GO").exists():
        time.sleep(0.1)
    raise SystemError("the file is there")
"""


@pytest.fixture(autouse=True)
def asked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "HEAR_S", 0.5)


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """Where the nodes make their directories: a short path, as that of a socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="ray-") as place:
        yield Path(place)


@pytest.fixture(scope="module")
def cluster(scratch: Path) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(scratch))
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    made.shutdown()


def test_the_reason_is_found_in_what_ray_says() -> None:
    server = ConnectionError(
        "Initialization failure from server:\nTraceback:\n  File\nRuntimeError: no port\n"
    )
    assert on_ray._why(server) == "Initialization failure from server: RuntimeError: no port"
    assert (
        on_ray._why(RuntimeError("It died.\nIt did, because it was killed."))
        == "It did, because it was killed."
    )
    assert on_ray._why(RuntimeError()) == "RuntimeError"
    other = RuntimeError(
        "The actor died because of an error raised in its creation task, \x1b[36mray::NodeRun()\x1b[39m "
        "(pid=1)\n   ^^^\nRuntimeError: failed:\n   ^^^\nModuleNotFoundError: No module named 'bench'"
    )
    assert on_ray._why(other) == f"{on_ray.NO_BENCH} (ModuleNotFoundError: No module named 'bench')"


@pytest.mark.fault(44)
@pytest.mark.fault(38)
def test_a_node_that_dies_loses_no_piece_and_doubles_none(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serve.py").write_text(SERVE)
    write_tokenizer(fake_model(tmp_path / "toy"))
    monkeypatch.chdir(tmp_path)
    doomed = cluster.add_node(num_cpus=1)
    machines = OnRay(cluster.address)
    begin = machines.begin
    where: list[str] = []

    def and_kill(machine: Machine, piece: Piece) -> str | None:
        why = begin(machine, piece)
        where.append(machine.id)
        if len(where) == 2:  # both nodes are at work
            cluster.remove_node(doomed)
            (tmp_path / "GO").touch()
        return why

    monkeypatch.setattr(machines, "begin", and_kill)
    pieces = [Piece(f"piece {i}", WAITING, f"digest {i}") for i in range(3)]
    campaign, told = Campaign.create(tmp_path, "test", pieces), list[str]()
    try:
        found = Dispatcher(machines, campaign, tmp_path, told.append).run(pieces)
    finally:
        machines.close()
        campaign.close()
    assert len(set(where[:2])) == 2
    assert set(found) == {piece.digest for piece in pieces}
    assert all("the file is there" in one.reason for one in found.values())
    begun = Counter(line.split(":")[0] for line in told if ": on " in line)
    lost = [line for line in told if "was lost" in line]
    assert len(lost) == 1
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    may_raise = os.geteuid() == 0 and not any("niceness" in line for line in told)
    assert int((tmp_path / "NICENESS").read_text()) == (usual if may_raise else min(usual + 15, 19))
    assert sum(begun.values()) == len(pieces) + 1


def test_a_node_has_one_actor_for_all_its_pieces(
    cluster: Any, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second piece begins with the actor of the first, the third with a new one, as that was killed."""
    machines, campaign = OnRay(cluster.address), Campaign.create(tmp_path, "test", [])
    made = list[Any]()
    new_actor, begin = machines._new_actor, machines.begin
    begun = list[str]()

    def counted(machine: Machine) -> Any:
        made.append(new_actor(machine))
        return made[-1]

    def and_kill(machine: Machine, piece: Piece) -> str | None:
        if len(begun) == 2:
            machines._ray.kill(made[0])
        begun.append(piece.name)
        return begin(machine, piece)

    monkeypatch.setattr(machines, "_new_actor", counted)
    monkeypatch.setattr(machines, "begin", and_kill)
    pieces = [Piece(name, BROKEN, f"digest {name}") for name in "abc"]
    try:
        found = Dispatcher(machines, campaign, tmp_path, lambda _line: None).run(pieces)
    finally:
        machines.close()
        campaign.close()
    assert begun == ["a", "b", "c"]
    assert len(made) == 2
    assert all("no-such-model" in one.reason for one in found.values())
    assert list(scratch.glob("bench-scratch-*")) == []


@pytest.mark.fault(42)
def test_another_harness_on_a_node_is_not_used(
    cluster: Any, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "source_digest", lambda: "another")
    machines, campaign = OnRay(cluster.address), Campaign.create(tmp_path, "test", [])
    try:
        found = Dispatcher(machines, campaign, tmp_path, lambda _line: None).run([Piece("a", BROKEN, "d")])
    finally:
        machines.close()
        campaign.close()
    assert (found["d"].status, found["d"].machine) == ("not begun", "")
    assert "another version of the harness is installed on it" in found["d"].reason
    assert list(scratch.glob("bench-scratch-*")) == [], "the directory of an actor that measured nothing"


def test_a_cluster_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_named: object) -> None:
        raise Exception("The current node timed out during startup. This could happen.")

    monkeypatch.setattr("ray.init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(BenchError, match="no Ray cluster at this machine: The current node timed out"):
        OnRay(None)


def test_a_cluster_that_is_not_there_is_said() -> None:
    with pytest.raises(BenchError, match=r"no Ray cluster at 127\.0\.0\.1:1: Connection refused"):
        OnRay("127.0.0.1:1")
