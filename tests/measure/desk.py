"""A group of a baseline and one variant whose every worker is scripted, and a machine whose load is data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from fakes import ScriptedWorker

from bench.config.settings import DriftBlock, MeasureBlock, RuntimeBlock, WorkloadBlock
from bench.config.spec import Arm, Group
from bench.machine import noise
from bench.machine.noise import Ticks
from bench.measure import apart_pair, fresh_pair, row, units
from bench.measure.arm import ArmUnderTest, RunContext
from bench.measure.events import Event
from bench.measure.row import VariantRun
from bench.models.reference import LocalModel, LocalPath, ModelRef, SourceRecord
from bench.records import Facts

WORKLOAD = WorkloadBlock(name="chat", requests=6, output_tokens=4)
FACTS = Facts(threads=2, device="cpu", dtype="float32", random_weights=False, vocabulary=10, context=64)
MS = 1_000_000
Reply = dict[str, Any] | Exception
Answer = Callable[[str, Mapping[str, Any]], Reply]
# Imported before any fixture stands something else in its place.
really_disturbed = noise.disturbed


class Notebook:
    """A journal in memory."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, kind: str, payload: Mapping[str, object]) -> None:
        self.records.append({**payload, "kind": kind})

    def sync(self) -> None:
        return None

    def of(self, name: str, key: str) -> list[Any]:
        return [r[key] for r in self.records if r.get("name") == name and key in r]

    @property
    def units(self) -> list[dict[str, Any]]:
        return [record for record in self.records if record["kind"] == "unit"]


class Process(ScriptedWorker):
    """One worker process of the desk, which writes down when it is started and what it is asked."""

    def __init__(self, desk: Desk, arm: Arm) -> None:
        super().__init__(lambda do, arguments: desk.reply(self, do, arguments))
        self.desk, self.arm, self.number = desk, arm, 0
        self.on_progress: Callable[[str], None] = lambda _text: None

    @property
    def side(self) -> str:
        return "base" if self.arm.is_baseline else "variant"

    def __enter__(self) -> Process:
        self.number = 1 + sum(one.side == self.side for one in self.desk.processes)
        self.desk.processes.append(self)
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def start(self, do: str, descriptors: Sequence[int], **arguments: object) -> None:
        assert not self.closed, f"{do} asked of a process that has ended"
        super().start(do, descriptors, **arguments)
        self.desk.log.append((self.side, self.number, do))


class Desk:
    """``base_ms`` and ``variant_ms``: how long a request takes in each pair's turns, the last for ever.
    ``busy``: the share that others have of the processors in each pair's turns, then none. ``bills``: what
    each load of the variant spent once. ``elsewhere``: what a warm-up request and the timed ones compute
    outside their thread.
    ``replies`` comes before what is answered otherwise."""

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        base_ms: Sequence[float] = (100,),
        variant_ms: Sequence[float] = (50,),
        *,
        busy: Sequence[float] = (),
        bills: Sequence[Sequence[Mapping[str, Any]]] = (),
        workload: WorkloadBlock = WORKLOAD,
        base_workload: WorkloadBlock | None = None,
        facts: Mapping[str, Any] | None = None,
        elsewhere: Sequence[float | None] = (None,),
        replies: Callable[[Process, str], Reply | None] = lambda process, do: None,
        **measure: Any,
    ) -> None:
        self.ticks = Ticks(0, 0, 0, 0, 0.5)
        patch.setattr(noise, "disturbed", really_disturbed)
        patch.setattr(noise, "read_ticks", lambda pids=(): self.ticks)
        for module in (apart_pair, fresh_pair, row, units):
            patch.setattr(module, "open_worker", self.open_worker)
        self.processes: list[Process] = []
        self.log: list[tuple[str, int, str]] = []
        self.told: list[Event] = []
        self.notes = Notebook()
        self._facts, self._replies = replace(FACTS, **(facts or {})), replies
        self._elsewhere = elsewhere
        self._busy, self._bills = chain(busy, repeat(0.0)), chain(bills, repeat([]))
        self._ms = {
            side: chain(ms, repeat(ms[-1])) for side, ms in (("base", base_ms), ("variant", variant_ms))
        }
        self.context = RunContext(
            Path(), self.notes, self.told.append, lambda: None,  # type: ignore[arg-type]
            MeasureBlock(**measure), DriftBlock(tokens=64, window=16), "text",
        )  # fmt: skip
        arms = [
            Arm(name, name == "baseline", LocalPath(Path(name)), RuntimeBlock(), load, ())
            for name, load in (("baseline", base_workload or workload), ("v", workload))
        ]
        self.group = Group("", arms[0], (arms[1],))

    def open_worker(self, arm: Arm, group: str, context: RunContext) -> ArmUnderTest:
        return ArmUnderTest(arm, group, context, Process(self, arm))  # type: ignore[arg-type]

    def fetch(self, _ref: ModelRef) -> LocalModel:
        return LocalModel(Path("model"), SourceRecord("path", "m", "model", None, None), ())

    def run(self) -> Desk:
        """The variant's whole row."""
        row = VariantRun(self.group, self.open_worker(self.group.variants[0], "", self.context), self.fetch)
        row.first()
        while row.in_turns and not row.enough():
            row.further()
        return self

    # ---- what the workers say --------------------------------------------------------------------

    def reply(self, process: Process, do: str, arguments: Mapping[str, Any]) -> Reply:
        found = self._replies(process, do)
        if found is not None:
            return found
        answer: Callable[[Process, Mapping[str, Any]], Reply] = getattr(self, f"_{do}")
        return answer(process, arguments)

    def _load(self, process: Process, _arguments: Mapping[str, Any]) -> Reply:
        steps = [{"step": "runtime", "took_s": 1.0, "checks": []}]
        if process.side == "variant":
            steps.append({"step": "prune: x", "took_s": 1.0, "checks": [], "one_off": [*next(self._bills)]})
        return {
            "facts": asdict(self._facts), "load_s": 1.5, "optimise_s": 0.0, "load_memory": {},
            "weights_bytes": 4, "bytes_by_dtype": {"float32": 4}, "parameters": 1, "evidence": steps,
        }  # fmt: skip

    def _prompts(self, process: Process, arguments: Mapping[str, Any]) -> Reply:
        return {"digest": "d", "input_tokens": [3] * len(arguments["prompts"]), "end_ids": [2]}

    def _warm_up(self, process: Process, _arguments: Mapping[str, Any]) -> Reply:
        return {
            "durations_ms": [5.0],
            "steady": True,
            "first_request_ms": 7.0,
            "elsewhere": self._elsewhere[0],
        }

    def _profile(self, process: Process, _arguments: Mapping[str, Any]) -> Reply:
        return {"kernels": [], "launches": None, "gpu_busy_ms": None}

    def _device_times(self, process: Process, _arguments: Mapping[str, Any]) -> Reply:
        steps = [MS] * (process.arm.workload.output_tokens - 1)
        return {"prefill_ns": [MS], "steps_ns": [steps]}

    def _alone(self, process: Process, arguments: Mapping[str, Any]) -> Reply:
        return self._duet(process, arguments)

    def _duet(self, process: Process, arguments: Mapping[str, Any]) -> Reply:
        turns = process.arm.workload.output_tokens
        if process.side == "variant":
            others = round(1000 * next(self._busy))
            now = self.ticks
            self.ticks = Ticks(now.total + 1000, now.steal, now.idle, now.own + 1000 - others, 0.5)
        ns = round(next(self._ms[process.side]) * MS / turns)
        told = {"elsewhere": self._elsewhere[-1]} if arguments.get("slices") else {}
        return {"durations_ns": [[ns] * turns for _ in arguments["batches"]], **told}

    def _solo(self, process: Process, _arguments: Mapping[str, Any]) -> Reply:
        load = process.arm.workload
        batch = {
            "sent_ns": 0, "stamps_ns": [(i + 1) * MS for i in range(load.output_tokens)],
            "end_ns": load.output_tokens * MS, "input_tokens": [3], "tokens": [[5] * load.output_tokens],
        }  # fmt: skip
        return {"batches": [batch] * load.requests}

    def _memory(self, process: Process, _arguments: Mapping[str, Any]) -> Reply:
        return {phase: {"peak_rss_bytes": 9000} for phase in ("prefill", "decode")}

    def _energy(self, process: Process, _arguments: Mapping[str, Any]) -> Reply:
        return {"energy_j": None, "energy_valid": False, "code": "no_meter", "reason": "no meter"}

    def _together(self, process: Process, _arguments: Mapping[str, Any]) -> Reply:
        return {"requests": 4, "differ": 0}

    def _count(self, process: Process, _arguments: Mapping[str, Any]) -> Reply:
        return {
            "requests": 1, "input_tokens": 3, "output_tokens": 4, "forward_calls": 4, "flops": 9,
            "kv_cache_bytes": 8,
        }  # fmt: skip

    def _corpus(self, process: Process, _arguments: Mapping[str, Any]) -> Reply:
        return {"tokens": 100, "digest": "d"}

    def _score(self, process: Process, arguments: Mapping[str, Any]) -> Reply:
        one = {"kld": [0.5] * 15, "same_top": [1] * 15, "ln_p_base": [-1.0] * 15, "ln_p_variant": [-2.0] * 15}
        return {"windows": [one] * len(arguments["starts"])}

    # ---- what they were asked --------------------------------------------------------------------

    def asked(self, side: str, number: int) -> list[str]:
        """The commands of one process, in order."""
        return [do for who, which, do in self.log if (who, which) == (side, number)]

    def arguments(self, side: str, do: str) -> list[Mapping[str, Any]]:
        """Of every such command to that side, process by process."""
        return [
            arguments
            for one in self.processes
            if one.side == side
            for name, arguments in one.asked
            if name == do
        ]

    @property
    def pairs(self) -> int:
        """Pairs of processes that were started."""
        assert Counter(one.side for one in self.processes)["base"] * 2 == len(self.processes)
        return len(self.processes) // 2
