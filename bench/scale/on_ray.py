"""Use the machines of a Ray cluster: one that is there, or a local one that is started for this campaign.

An actor claims all processors and GPUs of its node, so that Ray gives nobody else a share of what is being
measured. It measures one piece after the other, because a new actor takes a second to import the harness, and
goes when no piece is left for it. The order of the pieces is ours: Ray places an actor on the node that it is
told.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.errors import BenchError, UsageError
from bench.scale.machines import ENDED, Heard, Lost, Machine
from bench.scale.node import NodeRun
from bench.scale.pieces import Piece
from bench.store.source import source_digest

HEAR_S = 10.0  # a machine is asked this often; each question wakes it for a moment
ANSWER_S = 5.0
READY_S = 120.0  # an actor's process has imported the harness by then
LESS_PRIORITY = (
    "Ray gives this run less priority than other programs have (niceness +{}), and this user may not change "
    "it; start Ray on its nodes with RAY_worker_niceness=0"
)


class OnRay:
    """The nodes of the Ray cluster at ``address``; None is ``RAY_ADDRESS``, or else a local cluster."""

    def __init__(self, address: str | None) -> None:
        try:
            import ray
        except ImportError:
            raise UsageError("needs the package ray: pip install 'inference-cost-bench[ray]'") from None
        self._ray = ray
        address = address or os.environ.get("RAY_ADDRESS")
        _must_answer(address)
        try:
            with _Starting(address):
                ray.init(**_cluster(address), log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError, RuntimeError) as bad:
            raise _no_cluster(address, bad) from None
        self._actors: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}
        self._notes: dict[str, str] = {}  # of a node: what is to be said with its first answer
        self._nodes: dict[str, Mapping[str, Any]] = {}

    def present(self) -> Sequence[Machine]:
        found = []
        for node in self._ray.nodes():
            if node["Alive"] and node["Resources"].get("CPU"):
                self._nodes[node["NodeID"]] = node
                gpus = int(node["Resources"].get("GPU", 0))
                found.append(Machine(node["NodeID"], _name(node), gpus))
        return found

    def begin(self, machine: Machine, piece: Piece) -> str | None:
        used_before = machine.id in self._actors
        why = self._refusal(machine, piece)
        if why is not None and used_before:  # perhaps its actor alone has ended meanwhile
            self._let_go(machine.id, ANSWER_S)
            why = self._refusal(machine, piece)
        if why is not None:
            self._let_go(machine.id, ANSWER_S)
            return why
        self._asked[machine.id] = self._actors[machine.id].more.remote(HEAR_S)
        return None

    def _new_actor(self, machine: Machine) -> Any:
        how = {
            "num_cpus": self._nodes[machine.id]["Resources"]["CPU"],
            "num_gpus": machine.gpus,
            "label_selector": {"ray.io/node-id": machine.id},
            "max_restarts": 0,
        }
        return self._ray.remote(NodeRun).options(**how).remote()

    def _refusal(self, machine: Machine, piece: Piece) -> str | None:
        """Begin a piece with the actor of a node, or with a new one. Return why this cannot be, or None."""
        is_new = machine.id not in self._actors
        if is_new:
            self._actors[machine.id] = self._new_actor(machine)
        actor = self._actors[machine.id]
        try:
            if is_new and (why := self._unlike_here(machine, actor)):
                return why
            refused = self._ray.get(actor.begin.remote(piece.text, str(Path.cwd())), timeout=READY_S)
            return None if refused is None else str(refused)
        except self._ray.exceptions.GetTimeoutError:
            return f"it was busy with other work for {READY_S:.0f} s"
        except self._ray.exceptions.RayError as bad:
            return _why(bad)

    def _unlike_here(self, machine: Machine, actor: Any) -> str | None:
        """Return why a node cannot measure for this campaign, or None. Gives its actor our priority."""
        about = self._ray.get(actor.about.remote(), timeout=READY_S)
        if about["source"] != source_digest():
            return "another version of the harness is installed on it"
        if lower := self._ray.get(actor.usual_priority.remote(), timeout=READY_S):
            self._notes[machine.id] = LESS_PRIORITY.format(lower)
        return None

    def hear(self, machines: Sequence[Machine]) -> Mapping[Machine, Heard | Lost]:
        gone = [machine for machine in machines if machine.id not in self._asked]
        if gone:  # as in ``Here.hear``
            return dict.fromkeys(gone, Lost(ENDED))
        asked = {self._asked[machine.id]: machine for machine in machines}
        ready, _ = self._ray.wait(list(asked), num_returns=1, timeout=2 * HEAR_S)
        return {asked[reference]: self._answer(asked[reference], reference) for reference in ready}

    def _answer(self, machine: Machine, reference: Any) -> Heard | Lost:
        try:
            more = self._ray.get(reference)
        except self._ray.exceptions.RayError as bad:
            self._let_go(machine.id)
            return Lost(_why(bad))
        if more["code"] is None:
            self._asked[machine.id] = self._actors[machine.id].more.remote(HEAR_S)
        else:
            del self._asked[machine.id]
            self._end_run(self._actors[machine.id], READY_S)
        note = self._notes.pop(machine.id, None)
        said = (*([note] if note else []), *more["said"])
        return Heard(tuple(more["chunks"]), said, more["code"])

    def _let_go(self, node: str, wait_s: float = READY_S) -> None:
        """End what a node does, remove its directory, and give its processors back to Ray."""
        actor = self._actors.pop(node, None)
        self._asked.pop(node, None)
        if actor is not None:
            self._end_run(actor, wait_s)
            self._ray.kill(actor)

    def _end_run(self, actor: Any, wait_s: float) -> None:
        with suppress(self._ray.exceptions.RayError):  # it is gone already, or does not answer
            self._ray.get(actor.close.remote(), timeout=wait_s)

    def spare(self, used: Sequence[Machine]) -> None:
        for node in self._actors.keys() - {machine.id for machine in used}:
            self._let_go(node)

    def stop(self, machine: Machine) -> None:
        if machine.id in self._actors:
            self._actors[machine.id].stop.remote()

    def close(self) -> None:
        self.spare(())
        self._ray.shutdown()


class _Starting:
    """Turns the bare ``Exception`` with which Ray says that its processes did not start, on a machine that is
    busy, into a BenchError."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is Exception and isinstance(error, Exception):
            raise _no_cluster(self._address, error) from None


def _no_cluster(address: str | None, bad: Exception) -> BenchError:
    return BenchError(f"no Ray cluster at {address or 'this machine'}: {_why(bad)}")


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
NOT_MADE = "error raised in its creation task"  # as Ray says it; the cause is below a traceback
NO_BENCH = "bench does not start on it, as where another version of it, or none, is installed"


def _must_answer(address: str | None) -> None:
    """Raise BenchError if nothing listens at ``HOST:PORT``: Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except (OSError, OverflowError) as bad:
        raise BenchError(f"no Ray cluster at {address}: {getattr(bad, 'strerror', None) or bad}") from None


def _cluster(address: str | None) -> dict[str, Any]:
    """Return how to reach a cluster, or how to start one. Without ``local``, Ray would look for one that
    somebody left on this machine; a dashboard would work beside what is measured."""
    if address:
        return {"address": address}
    settings = {"worker_niceness": 0}  # what is measured has the priority that it has without Ray
    return {"address": "local", "include_dashboard": False, "_system_config": settings}


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"


def _why(bad: Exception) -> str:
    """Return the line of Ray's message that gives the reason, or its first one; with its last one, if a
    traceback follows."""
    lines = [line.strip() for line in _COLOUR.sub("", str(bad)).splitlines() if line.strip()]
    if lines and NOT_MADE in lines[0]:
        return f"{NO_BENCH} ({lines[-1]})"[:200]
    because = [line for line in lines if "because" in line]
    first = (because or lines or [type(bad).__name__])[0]
    return (f"{first} {lines[-1]}" if first.endswith(":") and len(lines) > 1 else first)[:200]
