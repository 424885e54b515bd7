"""Read the rows of a config that are servers; an error message names the line of the key that is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from bench import plugins
from bench.config.block_reader import BlockReader
from bench.config.served import address_of, check_server, idle_key, is_server, misfit
from bench.config.settings import DriftBlock, EnergyBlock, MeasureBlock, RuntimeBlock, WorkloadBlock
from bench.config.spec import Group
from bench.config.suite_reader import lm_eval_of
from bench.drift.behaviour import suites_of
from bench.models.reference import ModelRef
from bench.models.registry import find_model
from bench.serving.engines import ADAPTERS
from bench.yaml_source import KeyPath, YamlSource

Raw = Mapping[str, Any]
# What the worker of a row does; a server has no worker.
OF_WORKERS = {"drift": ("statistics",), "measure": ("design", "probes", "memory_limit", "timeout_s")}


class ServedRows(BlockReader):
    """Check rows that are servers, in a file whose content is ``data``."""

    def __init__(self, source: YamlSource) -> None:
        super().__init__(source)
        self.data: Raw = dict(source.data)  # type: ignore[call-overload]
        self.find_model = cache(find_model)

    def all_in_use(self, raw: Raw, runtime: RuntimeBlock, workload: WorkloadBlock, path: KeyPath) -> None:
        """Refuse a server without a load (or the other way round), and a key that would do nothing."""
        if wrong := misfit(runtime, workload):
            raise self.source.error(self.place(path, "workload", "name"), *wrong)
        for key, name, kind in (
            ("runtime", runtime.name, RuntimeBlock),
            ("workload", workload.name, WorkloadBlock),
        ):
            named = plugins.load(f"{key}s", name)
            if idle := idle_key(named, raw.get(key, {}), kind):
                hint = f"{name} uses {', '.join(named.USES)}, and keys of its own"
                raise self.source.error(self.place(path, key, idle), f"does nothing for {name}", hint)
            if getattr(named, "NEEDS_SLO", False) and "slo" not in self.data:
                problem = f"the workload {name!r} needs limits to search for"
                raise self.source.error(self.place(path, key, "name"), problem, "give slo: {ttft_ms: 500}")

    def server(self, runtime: RuntimeBlock, workload: WorkloadBlock, model: ModelRef, path: KeyPath) -> None:
        """Check a row that is a server; do nothing for any other."""
        if not is_server(runtime):
            return
        place = {key: self.place(path, "runtime", key) for key in ("url", "key_env", "args")}
        place["model"] = self.place(path, "model")
        check_server(self.source, runtime, workload, model, place, self.find_model)
        there = address_of(runtime)
        if there is not None and not there.local and "price" not in self.data:
            problem = f"is missing, and {there.host} is not this machine"
            raise self.source.error(("price",), problem, "say what an hour of the server costs")

    def only_of_workers(
        self, groups: Sequence[Group], drift: DriftBlock, measure: MeasureBlock, energy: EnergyBlock | None
    ) -> None:
        """Refuse, in a config of servers, what would be ignored. A default may stand there, as in the full
        config that a run writes."""
        for name, block in (("drift", drift), ("measure", measure)):
            for key in OF_WORKERS[name]:
                if getattr(block, key) != type(block).model_fields[key].default:
                    raise self.source.error((name, key), "does nothing for servers", "leave it out")
        self._only_replies(drift)
        started = any(arm.runtime.name in ADAPTERS for group in groups for arm in group.arms)
        if not measure.pin_client and not started:
            problem = "does nothing for servers that are there already"
            raise self.source.error(("measure", "pin_client"), problem, "leave it out")
        if energy is not None and energy.modelled_watts is not None:
            raise self.source.error(("energy", "modelled_watts"), "does nothing for servers", "leave it out")

    def _only_replies(self, drift: DriftBlock) -> None:
        """Refuse a suite that a server cannot be asked: one that needs the likelihood of each choice."""
        for suite in suites_of(drift.suites):
            if not suite.output_tokens:
                problem = (
                    f"{suite.name} needs the likelihood of each choice, and a server is asked for replies"
                )
                offered = [one.name for one in suites_of(plugins.names("drift.suites")) if one.output_tokens]
                hint = f"of servers: {', '.join(offered)}"
                raise self.source.error(("drift", "suites"), problem, hint)
        if lm_eval_of(drift.suites) is not None:
            problem = "lm-eval needs likelihoods of whole texts, and a server is asked for replies"
            raise self.source.error(("drift", "suites"), problem, "measure it as a row without a server")

    def only_of_servers(self, measure: MeasureBlock) -> None:
        """Refuse, in a config without servers, what would be ignored."""
        if not measure.pin_client:
            raise self.source.error(("measure", "pin_client"), "does nothing without servers", "leave it out")
