"""Read a YAML config into a Spec and check every rule, before anything is loaded or written.

An error message names the file, the line, the key and the nearest known name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from bench import plugins
from bench.config.amounts import too_many_requests, too_much
from bench.config.arms import WHOLE, blaming, cells, optimisations, read_model, why_unsupported
from bench.config.drift_block import check_drift, judged_on_other_text
from bench.config.edges import check_edge, check_no_gate
from bench.config.loadable import check_loadable
from bench.config.merging import Raw, merged
from bench.config.pasted_keys import refuse_pasted_keys
from bench.config.room import too_large_for_gpu
from bench.config.served import check_together, is_server, why_not_here
from bench.config.served_rows import ServedRows
from bench.config.shapes import (
    check_fits,
    check_order,
    check_shapes,
    check_students,
    why_not_in_batches,
)
from bench.config.spec import (
    Arm,
    BuildBlock,
    DriftBlock,
    EnergyBlock,
    Group,
    LimitBlock,
    MeasureBlock,
    PriceBlock,
    RuntimeBlock,
    SloBlock,
    Spec,
    WorkloadBlock,
)
from bench.config.spelling import override, spelled
from bench.errors import ConfigError, UsageError, together
from bench.formatting import did_you_mean
from bench.models.reference import Random
from bench.pricing.book import price_called
from bench.pricing.reprice import check_rent
from bench.store.files import digest
from bench.yaml_source import KeyPath, YamlSource, parse_yaml, read_yaml

ARM_KEYS = ("model", "runtime", "workload", "optimise")
FILE_KEYS = (
    *("name", *ARM_KEYS, "variants", "price", "slo", "energy", "drift", "measure", "gate", "sweep", "build"),
)
ADDED = ("statistics", "probes", "memory_limit", "items")  # keys that older configs do not have
MAX_ROWS = 1000


def read_config(path: Path, overrides: Sequence[str] = (), only: Sequence[str] = ()) -> Spec:
    """Read and check one config, with ``overrides`` (``key.path=value``) applied.

    Only the variants named in ``only`` are kept, or all if it is empty. Raises ConfigError (exit 2) for
    anything that is wrong with the file, UsageError for the arguments.
    """
    source = _as_asked(read_yaml(path), overrides)
    refuse_pasted_keys(source)
    return _Reader(source).spec(tuple(only))


def read_alone(path: Path, overrides: Sequence[str] = (), only: Sequence[str] = ()) -> list[Raw]:
    """Return a config for each group of a config that ``read_config`` has found to be right: the group and
    nothing else, with ``overrides`` applied, as plain data."""
    return _Reader(_as_asked(read_yaml(path), overrides)).alone(tuple(only))


def read_build(text: str, file: str) -> BuildBlock:
    """Read the ``build`` block of a config alone, before anything that it names has to exist."""
    source = spelled(parse_yaml(text, file))
    return _Reader(source).build()


def read_outline(text: str, file: str, overrides: Sequence[str] = ()) -> Spec:
    """Read what a config says that needs nothing of what it names: its name, its limits, and no rows.

    The price is the default one, because nothing is priced.
    """
    return _Reader(_as_asked(parse_yaml(text, file), overrides)).outline()


def _as_asked(source: YamlSource, overrides: Sequence[str]) -> YamlSource:
    """Return a file in our spelling of its keys, with ``overrides`` applied in their order."""
    source = spelled(source)
    for one in overrides:
        source = override(source, one)
    return source


class _Reader(ServedRows):
    """The reader of one file."""

    def __init__(self, source: YamlSource) -> None:
        super().__init__(source)
        self.known(self.data, (), FILE_KEYS)

    def spec(self, only: tuple[str, ...]) -> Spec:
        """Read the whole file."""
        name = self._name()
        if "model" not in self.data:
            raise self.source.error(("model",), "is missing", "name a file in models/, e.g. smollm2-135m")
        price = self.block(PriceBlock, "price", self.data.get("price", {"hardware": "cloud-2vcpu-8gb"}))
        with blaming(self.source, ("price", "hardware")):
            if price.hardware is not None:
                price_called(price.hardware)
        with blaming(self.source, ("price", "usd_per_hour")):
            if price.usd_per_hour is not None:
                check_rent(price.usd_per_hour, price.vcpus)
        drift = self.block(DriftBlock, "drift", self.data.get("drift", {}))
        check_drift(self.source, drift)
        measure = self.block(MeasureBlock, "measure", self.data.get("measure", {}))
        for probe in measure.probes:
            with blaming(self.source, ("measure", "probes")):
                plugins.load("probes", probe)
        slo = self.block(SloBlock, "slo", self.data["slo"]) if "slo" in self.data else None
        energy = self.block(EnergyBlock, "energy", self.data["energy"]) if "energy" in self.data else None
        groups = self.groups(only)
        served = any(is_server(group.baseline.runtime) for group in groups)
        if served and "tokens" not in drift.model_fields_set:  # each is a request, so it is asked for
            drift = drift.model_copy(update={"tokens": 0})
        full = self._with_defaults(price, slo, energy, drift, measure)
        judged_on_other_text(self.source, drift, groups)
        gate = self.limits(drift, slo, groups, energy)
        if served:
            self.only_of_workers(drift, measure, energy)
        if served and (many := too_many_requests(groups, measure)):
            raise self.source.error(("workload", "requests"), *many)
        if too := too_much(groups, drift, gate):
            raise self.source.error(*too)
        return Spec(
            name=name,
            file=self.source.file,
            groups=groups,
            price=price,
            drift=drift,
            measure=measure,
            gate=gate,
            build=self.build(),
            slo=slo,
            expanded=yaml.safe_dump(full, sort_keys=False, allow_unicode=True),
            digest=digest(full),
        )

    def outline(self) -> Spec:
        """Read name and limits alone."""
        raw = self.data.get("gate", {})
        limits = tuple(
            (key, self.block(LimitBlock, key, value, ("gate",)))
            for key, value in (raw if isinstance(raw, dict) else {}).items()
        )
        price, drift, measure = PriceBlock(hardware="cloud-2vcpu-8gb"), DriftBlock(), MeasureBlock()
        full = {**self.data, "drift": _lists(drift.model_dump())}
        return Spec(
            name=self._name(), file=self.source.file, groups=(), price=price, drift=drift, measure=measure,
            gate=limits, build=self.build(), slo=None, digest=digest(full),
            expanded=yaml.safe_dump(full, sort_keys=False, allow_unicode=True),
        )  # fmt: skip

    def _name(self) -> str:
        """Read the name of the file's runs."""
        name = self.data.get("name", Path(self.source.file).stem)
        if not isinstance(name, str) or not name.strip() or len(name) > 200 or not name.isprintable():
            raise self.source.error(("name",), "must be a name of at most 200 characters, on one line")
        return name

    def build(self) -> BuildBlock:
        """Read how the sides of a gate on commits are built."""
        return self.block(BuildBlock, "build", self.data.get("build", {}))

    def _with_defaults(
        self,
        price: PriceBlock,
        slo: SloBlock | None,
        energy: EnergyBlock | None,
        drift: DriftBlock,
        measure: MeasureBlock,
    ) -> dict[str, Any]:
        blocks = {
            "runtime": self.runtime(self.data.get("runtime", {})).to_json(),
            "workload": self.workload(self.data.get("workload", {})).to_json(),
            "price": price.model_dump(exclude_none=True),
            **({"slo": slo.model_dump(exclude_none=True)} if slo else {}),
            **({"energy": energy.model_dump(exclude_none=True)} if energy else {}),
            "drift": _lists(drift.model_dump()),
            "measure": _lists(measure.model_dump()),
        }
        return {
            key: blocks.get(key, self.data.get(key)) for key in FILE_KEYS if key in self.data or key in blocks
        }

    # ---- arms ------------------------------------------------------------------------------------

    def groups(self, only: tuple[str, ...]) -> tuple[Group, ...]:
        """Make one group for each cell of the sweep; without a sweep there is one cell."""
        variants = self.data.get("variants", [])
        if not isinstance(variants, list):
            raise self.source.error(("variants",), "must be a list of variants")
        names = [self._variant_name(variant, i) for i, variant in enumerate(variants)]
        for name in only:
            if name not in names:
                hint = did_you_mean(name, names, f"known: {', '.join(names)}")
                raise UsageError(f"--only {name}: no such variant in {self.source.file} ({hint})")
        found = self._cells()
        if len(found) * (len(names) + 1) > MAX_ROWS:
            raise self.source.error(
                ("sweep",), f"makes more than {MAX_ROWS} rows", "split it in several files"
            )
        return tuple(self._group(label, cell, variants, names, only) for label, cell in found)

    def _cells(self) -> list[tuple[str, dict[str, dict[str, Any]]]]:
        """Return the label of each cell of the sweep, and what it lays on the file."""
        homes = {key: "runtime" for key in RuntimeBlock.model_fields if key not in ("name", "own")}
        homes |= {key: "workload" for key in WorkloadBlock.model_fields if key not in ("name", "own")}
        homes |= dict.fromkeys((WHOLE, *self.own_keys("workload")), "workload")
        sweep = self.data.get("sweep", {})
        self.known(sweep if isinstance(sweep, dict) else {}, ("sweep",), tuple(homes))
        return cells(self.source, sweep, homes)

    def alone(self, only: tuple[str, ...]) -> list[Raw]:
        """Return a config for each cell of the sweep, which measures that cell and nothing else."""
        whole = {key: value for key, value in self.data.items() if key != "sweep"}
        if only:
            whole["variants"] = [one for one in whole["variants"] if one["name"] in only]
        return [merged(whole, cell) for _label, cell in self._cells()]

    def _group(
        self, label: str, cell: Raw, variants: list[Any], names: list[str], only: tuple[str, ...]
    ) -> Group:
        base = merged({key: self.data[key] for key in ARM_KEYS if key in self.data}, cell)
        baseline = replace(self._arm("baseline", base, ()), is_baseline=True)
        arms, wrong = [], []
        for i, (name, variant) in enumerate(zip(names, variants, strict=True)):
            own = {key: value for key, value in variant.items() if key != "name"}
            try:
                if not only or name in only:
                    arms.append(self._arm(name, merged(base, own), ("variants", i)))
            except ConfigError as bad:
                wrong.append(bad)
        if wrong:
            raise together(wrong)
        for arm in arms:
            path = ("variants", names.index(arm.name))
            check_together(self.source, baseline, arm, self.place(path, "runtime"))
            place = self.place(("variants", names.index(arm.name)), "optimise")
            check_students(self.source, baseline.model, arm.model, arm.optimise, place, self.find_model)
        return Group(label, baseline, tuple(arms))

    def _variant_name(self, variant: object, index: int) -> str:
        path: KeyPath = ("variants", index)
        if not isinstance(variant, dict):
            raise self.source.error(path, "must be a block with a name")
        self.known(variant, path, ("name", *ARM_KEYS))
        name = variant.get("name")
        if not isinstance(name, str) or not 1 <= len(name.strip()) <= 100 or not name.isprintable():
            raise self.source.error(
                (*path, "name"), "every variant needs a name of at most 100 characters, on one line"
            )
        earlier = [other.get("name") for other in self.data["variants"][:index]]
        if name in earlier or name == "baseline":
            raise self.source.error((*path, "name"), f"{name!r} is taken")
        return name

    def _arm(self, name: str, raw: Raw, path: KeyPath) -> Arm:
        runtime = self.runtime(raw.get("runtime", {}), path)
        workload = self.workload(raw.get("workload", {}), path)
        load = plugins.load("workloads", workload.name)
        self.all_in_use(raw, runtime, workload, path)
        with blaming(self.source, self.place(path, "workload", "file"), str(workload.file)):
            problem = load.problem(workload)
        if problem:
            raise self.source.error(self.place(path, "workload", problem[0]), problem[1])
        if workload.batch_size > workload.requests:
            raise self.source.error(
                self.place(path, "workload", "batch_size"),
                f"{workload.batch_size} requests at a time, and there are {workload.requests} in all",
                "raise requests, or lower batch_size",
            )
        model = read_model(self.source, raw["model"], self.place(path, "model"), self.find_model)
        engine = plugins.load("runtimes", runtime.name)
        self.server(runtime, workload, model, path)
        if getattr(engine, "WHOLE_ANSWERS", False) and isinstance(model, Random):
            raise self.source.error(
                self.place(path, "model"),
                f"{runtime.name} counts tokens with this model's tokenizer, and a random one has none",
                "name a model in models/, or {path} with a tokenizer.json",
            )
        places = self.place(path, "model"), self.place(path, "runtime", "attention")
        check_loadable(self.source, model, runtime, places, self.find_model)
        length = self.place(path, "workload", "output_tokens")
        check_fits(self.source, model, workload, length, self.find_model)
        place = self.place(path, "optimise")
        steps = optimisations(self.source, raw.get("optimise", []), place, runtime.name)
        check_order(self.source, steps, place)
        check_shapes(self.source, model, steps, place, self.find_model)
        device = self.place(path, "runtime", "device")
        if is_server(runtime):
            why = why_not_here(self.source, runtime, steps, place)
        else:
            why = why_unsupported(self.source, runtime, steps, device, place, is_baseline=not path)
            why = why or why_not_in_batches(steps, workload)
            why = why or check_edge(self.source, runtime, steps, place, self.find_model, is_baseline=not path)
            if why is None and (why := too_large_for_gpu(model, runtime, self.find_model)) and not path:
                raise self.source.error(
                    ("model",), why, "name a smaller model, another dtype or a packed checkpoint"
                )
        return Arm(name, False, model, runtime, workload, steps, why)

    def limits(
        self,
        drift: DriftBlock,
        slo: SloBlock | None,
        groups: tuple[Group, ...],
        energy: EnergyBlock | None = None,
    ) -> tuple[tuple[str, LimitBlock], ...]:
        """Read the gate's limits, each of which must be on a known metric that this config measures."""
        raw = self.data.get("gate", {})
        if not isinstance(raw, dict):
            raise self.source.error(("gate",), "must be a block of limits")
        if not raw:
            return ()
        check_no_gate(self.source, groups)
        from bench.gate.limits import never_judged, rules
        from bench.metrics import all_metrics

        self.known(raw, ("gate",), tuple(all_metrics()))
        served = any(is_server(group.baseline.runtime) for group in groups)
        random = all(isinstance(arm.model, Random) for group in groups for arm in group.arms)
        limits = tuple((key, self.block(LimitBlock, key, value, ("gate",))) for key, value in raw.items())
        asked = energy.model_dump(exclude_none=True) if energy else {}
        for key, limit in limits:
            relative = limit.max_increase is not None or limit.max_decrease is not None
            scores = bool(drift.tokens) and not random
            reason = never_judged(
                key,
                relative,
                scores,
                drift.suites,
                good=slo is not None,
                served=served,
                searches=all(group.baseline.workload.name == "search" for group in groups),
                asked=asked,
                statistics=drift.statistics,
            )
            if reason:
                raise self.source.error(("gate", key), *reason)
            for rule in rules({key: limit.model_dump()}):
                if rule.kind == "timed" and not 0 < rule.margin < math.inf:
                    hint = "give the smallest change that matters, such as 2%; 0% is for what is counted"
                    problem = f"{100 * rule.bound:g} % cannot be shown for what is timed"
                    raise self.source.error(("gate", key, rule.limit), problem, hint)
        return limits


def _lists(block: Mapping[str, Any]) -> dict[str, Any]:
    """Turn tuples into lists, as YAML has them, and leave out the keys of ``ADDED`` where nothing is given.

    A config without them is therefore expanded as it was before these keys existed.
    """
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in block.items()}
    return {key: value for key, value in plain.items() if key not in ADDED or value}


__all__ = ["ConfigError", "read_config"]
