"""Measure a checked config and write its results directory; start reading here.

The stages, in order: fetch the models; measure the baseline alone, in its own worker; then measure each
variant. For a variant, start a fresh pair of workers for it and its baseline, load and optimise, check the
evidence, run both in turns, measure the variant alone, and compare its output with the baseline's. When every
variant has its first pair, the variants get further ones, one at a time each, until the interval of each
cost ratio is narrow enough; those only run in turns. Everything goes into the journal as it happens. At the
end ``run.json`` is made from the journal by the function that ``bench verify`` also uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

import bench
from bench.config.devices import devices_of
from bench.config.inputs import digests
from bench.config.spec import Spec
from bench.environments import installed_beside
from bench.errors import BenchError, IntegrityError, InterruptedRun, TerminatedRun
from bench.machine.fingerprint import fingerprint
from bench.machine.gpus import lock_names
from bench.measure.arm import Fetch, RunContext
from bench.measure.clock import utc_now
from bench.measure.events import Noted, Tell, nobody
from bench.measure.group import GroupRun
from bench.measure.interrupt import Interrupt
from bench.measure.pairs import Pairs
from bench.measure.refining import Budget, refine
from bench.pricing.cost import Price, kept_price
from bench.records import Json
from bench.runs.before_measuring import price_of_spec, price_to_keep
from bench.runs.directory import new_directory, write_summary
from bench.runs.fetching import OnProgress, fetcher
from bench.runs.resume import Done, continued, may_continue, own_files, same_models
from bench.store.device_lock import device_locks
from bench.store.files import write_atomic
from bench.store.journal import Journal
from bench.store.replay import JOURNAL, SCHEMA_VERSION, load_record
from bench.store.run_lock import machine_lock, run_lock
from bench.store.schema import must_be_readable
from bench.store.source import source_digest
from bench.texts import EvaluationText, read_text


def run_spec(
    spec: Spec,
    out: Path,
    *,
    resume: Path | None = None,
    budget_s: float | None = None,
    tell: Tell = nobody,
    on_fetch: OnProgress = lambda progress: None,
) -> Path:
    """Measure everything in ``spec``, and return the run's directory, which always holds ``run.json``.

    With a ``budget_s``, every row gets ``measure.processes`` pairs, and what is left of the seconds since the
    first row began is spent on the widest intervals.

    While another run of this user measures on this machine, this one waits, with nothing written yet. Raises
    UsageError or IncomparableError before anything is written, InterruptedRun after Ctrl-C (what was measured
    is kept). A variant that fails does not raise, nor if its model cannot be fetched: its row says why.
    """
    price, text = price_to_keep(spec), evaluation_text(spec)
    before = None if resume is None else load_record(own_files(resume))
    if before is not None:  # before this waits for another run, or fetches anything
        may_continue(before, spec, text.sha256, _inputs(spec), source_digest())
    fetch = fetcher(spec, on_fetch, tell)
    if before is not None:
        same_models(before, spec, fetch)
    with the_machine(spec, tell):
        directory = resume or new_directory(out, spec.name)
        with run_lock(directory) as notice, Interrupt() as interrupt:
            if notice:
                tell(Noted(notice))
            own_files(directory)  # again: this may have waited
            journal, done = (
                continued(directory) if resume else (begin(directory, spec, text, None, price), {})
            )
            with journal:
                once = budget_s is not None
                context = _context(spec, directory, journal, tell, interrupt, text.content, once=once)
                with finishing(directory, journal, interrupt):
                    _measure(spec, context, fetch, done, budget_s)
    return directory


def _context(
    spec: Spec, directory: Path, journal: Journal, tell: Tell, interrupt: Interrupt, text: str, *, once: bool
) -> RunContext:
    """Return the context of every pass; with ``once`` a row gets ``measure.processes`` pairs and no more."""

    @cache
    def hour(threads: int | None) -> Price:
        return kept_price(price_of_spec(spec), spec.name, threads)

    measure = spec.measure.model_copy(update={"max_rounds": 1} if once else {})
    limits = spec.slo.limits if spec.slo else {}
    told = tell, interrupt.check
    return RunContext(directory, journal, *told, measure, spec.drift, text, slo=limits, hour=hour)


def _measure(spec: Spec, context: RunContext, fetch: Fetch, done: Done, budget_s: float | None) -> None:
    """Measure every group except the rows that are ``done``, and then spend what is left of a budget."""
    budget, measured = Budget(budget_s or 0.0), list[Pairs]()
    for group in spec.groups:
        rows = GroupRun(group, context, fetch, done.get(group.label, {}))
        rows.run()
        measured += rows.measured
    if budget_s is not None:
        refine(measured, budget)


@contextmanager
def the_machine(spec: Spec, tell: Tell) -> Iterator[None]:
    """Hold the machine, and each GPU of the config, while something is measured.

    Take these locks before that of a directory, and outside of ``Interrupt``: a Ctrl-C then ends the waiting
    at once, because no stage has to be finished. The lock of a GPU also keeps other users out.
    """

    def say(text: str) -> None:
        tell(Noted(text, urgent=True))

    arms = (arm for group in spec.groups for arm in group.arms if not arm.unsupported)
    devices = {device for arm in arms for device in devices_of(arm.runtime)}
    with machine_lock(say), device_locks(lock_names(devices), say):
        yield


@contextmanager
def finishing(directory: Path, journal: Journal, interrupt: Interrupt) -> Iterator[None]:
    """Wrap all measuring: a complete run gets the record ``run_finished``, and every run gets its summary.

    If the measuring fails, a failure to write the summary is not reported as well: both usually have one
    cause, such as a full disk. A run that somebody stopped has not failed, so there the summary's failure is
    reported.
    """
    failed = True
    try:
        yield
        journal.append("run_finished", {})
        failed = False
    except TerminatedRun:
        failed = False
        raise TerminatedRun(f"terminated; what was measured is in {directory}") from None
    except (KeyboardInterrupt, InterruptedRun):
        failed = False
        raise InterruptedRun(f"interrupted; what was measured is in {directory}") from None
    except BenchError as bad:
        if not interrupt.ended(bad):
            raise
        failed = False
        raise TerminatedRun(f"terminated; what was measured is in {directory}") from None
    finally:
        interrupt.settle()
        with suppress(BenchError) if failed else nullcontext():
            there = journal.is_at_its_path()
            journal.close()
            if not there:
                raise IntegrityError(
                    f"{journal.path} is another file now than this run has written, so it gets no summary"
                )
            write_summary(directory)


def evaluation_text(spec: Spec) -> EvaluationText:
    """Return the evaluation text of a config."""
    return EvaluationText(spec.content["drift"]["text"], read_text(spec.drift.text))


def begin(
    directory: Path,
    spec: Spec,
    text: EvaluationText,
    gate: Mapping[str, Any] | None = None,
    price: Json | None = None,
) -> Journal:
    """Create the journal, and record in it everything that holds for the whole run. Without a ``price`` the
    config's own is looked up."""
    write_atomic(directory / "spec.yaml", spec.expanded)
    journal = Journal.create(directory / JOURNAL, utc_now, must_be_readable)
    journal.append(
        "run_started",
        {
            "run_id": directory.name,
            "name": spec.name,
            "schema_version": SCHEMA_VERSION,
            "harness": {"version": bench.__version__, "source_sha256": source_digest()},
            "spec": spec.content,
            "spec_digest": spec.digest,
            "machine": fingerprint(),
            "price": price or price_of_spec(spec),
            "text": text.about(),
            "inputs": _inputs(spec),
            "gate": gate,
        },
    )
    journal.sync()
    return journal


def _inputs(spec: Spec) -> dict[str, str]:
    """Return the SHA-256 of every file that the config names, and of the packages that are installed in the
    interpreters that it names."""
    named = {arm.runtime.python for group in spec.groups for arm in group.arms}
    packages = {f"the packages of {python}": installed_beside(Path(python)) for python in named if python}
    return digests(spec) | packages
