"""Read the rows of a config: in each cell of the sweep, the baseline and its variants, checked one by one."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from bench import plugins
from bench.config.cascades import check_edge
from bench.config.drafts import why_other_tokens
from bench.config.encoders import check_encoder, check_same_task, with_task
from bench.config.gpu_memory import too_large_for_gpu
from bench.config.loadable import check_loadable, check_template
from bench.config.merging import Raw, merged
from bench.config.model_shapes import (
    check_classes,
    check_fits,
    check_order,
    check_shapes,
    check_students,
    why_not_in_batches,
)
from bench.config.models import read_model
from bench.config.served import check_together, is_server, why_not_here
from bench.config.served_rows import ServedRows
from bench.config.settings import RuntimeBlock, WorkloadBlock
from bench.config.spec import Arm, Group, Optimisation
from bench.config.steps import optimisations, settings_in
from bench.config.support import why_unsupported
from bench.config.sweep import WHOLE, cells
from bench.config.variants import ARM_KEYS, MAX_ROWS, Variant, variants_of, written_out
from bench.errors import ConfigError, UsageError, together
from bench.formatting import did_you_mean
from bench.models.reference import ModelRef, Random
from bench.yaml_source import KeyPath, blaming


class RowReader(ServedRows):
    """Read the rows of one file."""

    def groups(self, only: tuple[str, ...]) -> tuple[Group, ...]:
        """Make one group for each cell of the sweep; without a sweep there is one cell."""
        self._choose(only)
        found = self._cells()
        if len(found) * (len(self.variants) + 1) > MAX_ROWS:
            raise self.source.error(
                ("sweep",), f"makes more than {MAX_ROWS} rows", "split it in several files"
            )
        return tuple(self._group(label, cell, only) for label, cell in found)

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """The variants of the file, those of their own sweeps one by one."""
        found = variants_of(self, self.data.get("variants", []), self._homes)
        lines = {path: line for variant in found for path, line in variant.lines.items()}
        self.source = replace(self.source, lines={**self.source.lines, **lines})
        return tuple(found)

    def _choose(self, only: tuple[str, ...]) -> None:
        """Raise UsageError for a name in ``only`` that no variant has."""
        names = list(dict.fromkeys(one for row in self.variants for one in (row.written, row.name)))
        for name in only:
            if name not in names:
                hint = did_you_mean(name, names, f"known: {', '.join(names)}")
                raise UsageError(f"--only {name}: no such variant in {self.source.file} ({hint})")

    @cached_property
    def _homes(self) -> Raw:
        """The block of each key that a sweep may list."""
        homes = {key: "runtime" for key in RuntimeBlock.model_fields if key not in ("name", "own")}
        homes |= {key: "workload" for key in WorkloadBlock.model_fields if key not in ("name", "own")}
        return homes | dict.fromkeys((WHOLE, *self.own_keys("workload")), "workload")

    def _cells(self) -> list[tuple[str, Raw]]:
        """Return the label of each cell of the sweep, with the values that it puts into the file's blocks."""
        sweep = self.data.get("sweep", {})
        for key in sweep if isinstance(sweep, dict) else ():
            if key not in self._homes and str(key).rpartition(".")[2] in settings_in(self.data):
                problem = "a setting of a scheme, and this sweep lists keys of runtime and workload"
                hint = "a variant may have a sweep of its own, over the settings of its steps"
                raise self.source.error(("sweep", key), problem, hint)
        self.known(sweep if isinstance(sweep, dict) else {}, ("sweep",), tuple(self._homes))
        return cells(self.source, sweep, self._homes)

    def alone(self, only: tuple[str, ...]) -> list[Raw]:
        """Return a config for each cell of the sweep, which measures that cell and nothing else."""
        whole = {key: value for key, value in self.data.items() if key != "sweep"}
        if "variants" in whole:
            whole["variants"] = written_out([one for one in self.variants if not only or one.is_among(only)])
        return [merged(whole, cell) for _label, cell in self._cells()]

    def _group(self, label: str, cell: Raw, only: tuple[str, ...]) -> Group:
        base = merged({key: self.data[key] for key in ARM_KEYS if key in self.data}, cell)
        baseline = replace(self._arm("baseline", base, ()), is_baseline=True)
        arms, wrong = [], []
        for variant in self.variants:
            try:
                if not only or variant.is_among(only):
                    arms.append(
                        (self._arm(variant.name, merged(base, variant.raw), variant.path), variant.path)
                    )
            except ConfigError as bad:
                wrong.append(bad)
        if wrong:
            raise together(wrong)
        for arm, path in arms:
            check_together(self.source, baseline, arm, self.place(path, "runtime"))
            place = self.place(path, "optimise")
            check_students(self.source, baseline.model, arm.model, arm.optimise, place, self.find_model)
            check_same_task(self.source, baseline, arm, self.place(path, "model"))
        return Group(label, baseline, tuple(arm for arm, _path in arms))

    def _arm(self, name: str, raw: Raw, path: KeyPath) -> Arm:
        model = read_model(self.source, raw["model"], self.place(path, "model"), self.find_model)
        runtime = with_task(self.runtime(raw.get("runtime", {}), path), model, self.find_model)
        workload = self._sound_workload(raw, runtime, path)
        self._fits(model, runtime, workload, path)
        place = self.place(path, "optimise")
        steps = optimisations(self.source, raw.get("optimise", []), place, runtime.name)
        self._encodes(name, runtime, workload, steps, path)
        check_order(self.source, model, steps, place, self.find_model)
        check_shapes(self.source, model, steps, place, self.find_model)
        if runtime.python is None:  # another interpreter may have other classes
            check_classes(self.source, model, steps, place, self.find_model)
        why = self._why_not(model, runtime, workload, steps, path)
        return Arm(name, False, model, runtime, workload, steps, why)

    def _sound_workload(self, raw: Raw, runtime: RuntimeBlock, path: KeyPath) -> WorkloadBlock:
        """Read a workload that goes with the runtime, and whose requests can be made."""
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
        if hasattr(load, "plan"):
            with blaming(self.source, self.place(path, "workload", "requests")):
                load.plan(workload, 0)
        return workload

    def _fits(self, model: ModelRef, runtime: RuntimeBlock, workload: WorkloadBlock, path: KeyPath) -> None:
        """Refuse a model that the runtime cannot load, or whose context does not hold the requests."""
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
        check_template(self.source, model, runtime, workload, places[0])
        length = self.place(path, "workload", "output_tokens")
        written = 0 if runtime.task else workload.output_tokens
        check_fits(self.source, model, (workload.input_tokens or 1) + written, length, self.find_model)

    def _encodes(
        self,
        name: str,
        runtime: RuntimeBlock,
        workload: WorkloadBlock,
        steps: tuple[Optimisation, ...],
        path: KeyPath,
    ) -> None:
        """Refuse, for an encoder, what is about a model that writes."""
        places = {
            "name": self.place(path, "runtime", "name"),
            "workload": self.place(path, "workload", "name"),
            "output_tokens": self.place(path, "workload", "output_tokens"),
            "optimise": self.place(path, "optimise"),
        }
        check_encoder(self.source, runtime, workload, steps, name, places)

    def _why_not(
        self,
        model: ModelRef,
        runtime: RuntimeBlock,
        workload: WorkloadBlock,
        steps: tuple[Optimisation, ...],
        path: KeyPath,
    ) -> str | None:
        """Return why a row cannot run here; None if it can. A baseline that is too large is an error."""
        place, device = self.place(path, "optimise"), self.place(path, "runtime", "device")
        if is_server(runtime):
            return why_not_here(self.source, runtime, steps, place)
        why = why_unsupported(self.source, runtime, steps, device, place, is_baseline=not path)
        why = why or why_not_in_batches(steps, workload) or why_other_tokens(model, steps)
        why = why or check_edge(self.source, runtime, steps, place, self.find_model, is_baseline=not path)
        if why is None and (why := too_large_for_gpu(model, runtime, self.find_model)) and not path:
            raise self.source.error(
                ("model",), why, "name a smaller model, another dtype or a packed checkpoint"
            )
        return why
