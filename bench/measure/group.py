"""Measure a baseline and its variants, one after the other.

At most two models are in memory at a time, and no variant process is used for two rows. Every row gets its
first pair of processes before any row gets a second one, and so on. What the machine gives to a row changes
from minute to minute, and pairs measured right after each other would all see the same of it
(docs/decisions/0024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from bench.config.served import is_server
from bench.config.spec import Arm, Group
from bench.errors import BenchError, IntegrityError, JournalFailed, Outcome, VariantFailed
from bench.formatting import row_title
from bench.measure import passes, suites, token_drift
from bench.measure.arm import ArmUnderTest, RunContext, open_worker, tidy
from bench.measure.asked import prompts_of
from bench.measure.events import Ended
from bench.measure.models import models_by_key, record_models
from bench.measure.pairs import Finished, Pairs
from bench.measure.row import VariantRun
from bench.measure.served import ServedRun, measure_alone
from bench.measure.together import BaselineDied
from bench.measure.worker_process import PeerGone
from bench.models.reference import LocalModel, ModelRef

# Failures that end the run and not only a row.
UNRECORDED = (IntegrityError, JournalFailed)


class GroupRun:
    """Measures one group; ``done`` holds the rows that an earlier attempt has finished, by their names.

    ``measured`` are the rows that have pairs; ``refining`` can add further pairs to them.
    """

    def __init__(
        self,
        group: Group,
        context: RunContext,
        fetch: Callable[[ModelRef], LocalModel],
        done: Mapping[str, Finished],
    ) -> None:
        self.group, self.context, self.fetch, self.done = group, context, fetch, done
        self.measured: list[Pairs] = []
        self._failed: str | None = None

    def run(self) -> None:
        """Measure every row that is not done, then give them further pairs. If a variant fails, its reason is
        recorded and the others continue."""
        self._measure_baseline()
        for variant in self.group.variants:
            if variant.name in self.done:
                self._take_up(variant)
            else:
                self._measure_variant(variant)
        waiting = list(self.measured)
        while waiting:
            waiting = [pairs for pairs in waiting if self._goes_on(pairs)]

    def _take_up(self, variant: Arm) -> None:
        """Go on with the pairs of a row that an earlier attempt has finished, if it has pairs."""
        row = self.done[variant.name]
        if row.units:
            pairs = self._pairs_of(open_worker(variant, self.group.label, self.context))
            pairs.take_up(row, self.done.get(self.group.baseline.name, Finished()))
            self.measured.append(pairs)
        else:
            self._tell_finished(variant)

    def _tell_finished(self, arm: Arm) -> None:
        row = self.done[arm.name]
        self.context.tell(Ended(row_title(self.group.label, arm.name), row.outcome, row.reason))

    def _pairs_of(self, row: ArmUnderTest) -> Pairs:
        kind = ServedRun if is_server(row.arm.runtime) else VariantRun
        return kind(self.group, row, self.fetch)

    def _goes_on(self, pairs: Pairs) -> bool:
        """Measure one more pair of a row unless it has enough. Return whether it may need another one."""
        status, reason = Outcome.OK, ""
        try:
            if not pairs.enough():
                pairs.further()
                return True
        except UNRECORDED:
            raise
        except (BenchError, BaselineDied, PeerGone) as failure:
            status, reason = _outcome_of(failure)
            pairs.row.record(status=status, reason=reason)
            self.measured.remove(pairs)
        self.context.tell(Ended(pairs.row.title, status, reason))
        return False

    def _measure_baseline(self) -> None:
        """Measure the baseline alone, in a process that never serves as the partner of a variant."""
        arm = self.group.baseline
        if (before := self.done.get(arm.name)) is not None:
            if before.outcome != Outcome.OK:
                self._failed = f"{before.outcome}: {before.reason}"
            self._tell_finished(arm)
            return
        with self._recorded(arm) as row:
            _supported(arm)
            if is_server(arm.runtime):
                measure_alone(row, self.fetch)
            else:
                self._in_worker(row)

    def _in_worker(self, row: ArmUnderTest) -> None:
        tidy(row)
        with row.worker:
            self._open(row)
            passes.alone(row)
            passes.ceilings(row)
            passes.profile(row)
            token_drift.together(row)
            token_drift.floor(row)
            suites.answer(row)

    def _measure_variant(self, variant: Arm) -> None:
        with self._recorded(variant) as row:
            _supported(variant)
            if self._failed is not None:  # do not start a broken baseline again for every variant
                reason = f"{variant.name} was not measured: the baseline has failed ({self._failed})"
                raise VariantFailed(Outcome.BASELINE_FAILED, reason)
            for _key, model in models_by_key(variant):  # one that cannot be fetched starts no process
                self.fetch(model)
            pairs = self._pairs_of(row)
            pairs.first()
            if pairs.units:
                self.measured.append(pairs)

    def _open(self, row: ArmUnderTest) -> None:
        """Fetch the model, record its source, and load it into the worker."""
        model = self.fetch(row.arm.model)
        record_models(row, model, self.fetch)
        passes.load(row, model, model, self.fetch)
        passes.warm_up(row, prompts_of(row.arm))

    @contextmanager
    def _recorded(self, arm: Arm) -> Iterator[ArmUnderTest]:
        """Write the first and the last record of the arm's row. Failures of the arm are recorded here."""
        row = open_worker(arm, self.group.label, self.context)
        passes.begin(row)
        status, reason, writable = Outcome.INTERRUPTED, "the run was interrupted", True
        try:
            yield row
            status, reason = Outcome.OK, ""
        except UNRECORDED as stopped:
            writable = not isinstance(stopped, JournalFailed)
            raise
        except (BenchError, BaselineDied, PeerGone) as failure:
            status, reason = _outcome_of(failure)
        finally:
            row.worker.close()
            if arm.is_baseline and status != Outcome.OK:
                self._failed = f"{status}: {reason}"
            if writable:
                row.record(status=status, reason=reason)
            if all(pairs.row is not row for pairs in self.measured):  # else it may get further pairs
                self.context.tell(Ended(row.title, status, reason))


def _outcome_of(failure: Exception) -> tuple[Outcome, str]:
    """Return what is recorded of a row that failed."""
    if isinstance(failure, VariantFailed):
        return failure.outcome, failure.reason
    if isinstance(failure, BaselineDied | PeerGone):
        return Outcome.BASELINE_FAILED, f"the baseline's worker died beside it ({failure})"
    return Outcome.LOAD_ERROR, str(failure)


def _supported(arm: Arm) -> None:
    if arm.unsupported:
        raise VariantFailed(Outcome.UNSUPPORTED, arm.unsupported)
