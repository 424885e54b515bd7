"""Measure on this machine alone: one piece after the other, each in a run of its own."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.machine.devices import cuda_device_count
from bench.scale.machines import ENDED, Heard, Lost, Machine
from bench.scale.node import NodeRun
from bench.scale.pieces import Piece

WAIT_S = 10.0  # a run that ends wakes us; its progress may wait


class Here:
    """The machine in front of the user."""

    def __init__(self) -> None:
        self._machine = Machine(platform.node(), "this machine", cuda_device_count())
        self._run: NodeRun | None = None

    def present(self) -> Sequence[Machine]:
        return [self._machine]

    def begin(self, machine: Machine, piece: Piece) -> str | None:
        self._run = NodeRun()
        return self._run.begin(piece.text, str(Path.cwd()))

    def hear(self, machines: Sequence[Machine]) -> Mapping[Machine, Heard | Lost]:
        if self._run is None:  # it had ended, and a signal came before anybody heard of it
            return dict.fromkeys(machines, Lost(ENDED))
        more = self._run.more(WAIT_S)
        if more["code"] is not None:
            self.close()
        return {self._machine: Heard(tuple(more["chunks"]), tuple(more["said"]), more["code"])}

    def stop(self, machine: Machine) -> None:
        if self._run is not None:
            self._run.stop()

    def spare(self, used: Sequence[Machine]) -> None:
        """Do nothing: nobody else is waiting for this machine."""

    def close(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None
