"""Measure a baseline and its variants, one after the other.

At most two models are in memory at a time, and no variant process is used for two rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.config.served import is_server
from bench.config.spec import Arm, Group
from bench.errors import BenchError, IntegrityError, InterruptedRun, JournalFailed, Outcome, VariantFailed
from bench.measure import passes, suites, token_drift
from bench.measure.arm import ArmUnderTest, RunContext, open_worker
from bench.measure.events import Ended
from bench.measure.fresh_pair import prompts_of
from bench.measure.models import record_models
from bench.measure.pairs import Pairs
from bench.measure.row import VariantRun
from bench.measure.served import ServedRun, measure_alone
from bench.measure.together import BaselineDied
from bench.measure.worker_process import PeerGone
from bench.models.reference import LocalModel, ModelRef


class GroupRun:
    """Measures one group, except the arms in ``done``, which an earlier attempt has finished.

    ``measured`` are the rows that have pairs; ``refining`` can add further pairs to them.
    """

    def __init__(
        self, group: Group, context: RunContext, fetch: Callable[[ModelRef], LocalModel], done: set[str]
    ) -> None:
        self.group, self.context, self.fetch, self.done = group, context, fetch, done
        self.measured: list[Pairs] = []
        self._failed: str | None = None

    def run(self) -> None:
        """Measure every arm that is not done. If a variant fails, its reason is recorded and the others
        continue."""
        self._measure_baseline()
        for variant in self.group.variants:
            if variant.name not in self.done:
                self._measure_variant(variant)

    def _measure_baseline(self) -> None:
        """Measure the baseline alone, in a process that never serves as the partner of a variant."""
        arm = self.group.baseline
        if arm.name in self.done:
            return
        with self._recorded(arm) as row:
            _supported(arm)
            if is_server(arm.runtime):
                measure_alone(row, self.fetch)
            else:
                self._in_worker(row)

    def _in_worker(self, row: ArmUnderTest) -> None:
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
            kind = ServedRun if is_server(variant.runtime) else VariantRun
            pairs = kind(self.group, row, self.fetch)
            pairs.run()
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
        except VariantFailed as failure:
            status, reason = failure.outcome, failure.reason
        except (BaselineDied, PeerGone) as gone:
            status, reason = Outcome.BASELINE_FAILED, f"the baseline's worker died beside it ({gone})"
        except JournalFailed:
            writable = False
            raise
        except (InterruptedRun, IntegrityError):
            raise
        except BenchError as failure:
            status, reason = Outcome.LOAD_ERROR, str(failure)
        finally:
            row.worker.close()
            if arm.is_baseline and status != Outcome.OK:
                self._failed = f"{status}: {reason}"
            if writable:
                row.record(status=status, reason=reason)
            self.context.tell(Ended(row.title, status, reason))


def _supported(arm: Arm) -> None:
    if arm.unsupported:
        raise VariantFailed(Outcome.UNSUPPORTED, arm.unsupported)
