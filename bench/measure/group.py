"""A baseline and its variants, one after the other: two models are in memory at most, and no process serves
two rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict

from bench.config.spec import Arm, Group
from bench.errors import BenchError, IntegrityError, InterruptedRun, Outcome, VariantFailed
from bench.measure import arm as one
from bench.measure import pair
from bench.measure.arm import ArmUnderTest, RunContext, open_worker
from bench.measure.events import Ended
from bench.measure.fresh_pair import prompts_of
from bench.measure.row import VariantRun
from bench.measure.together import BaselineDied
from bench.measure.worker_process import PeerGone
from bench.models.reference import LocalModel, ModelRef

Models = Mapping[ModelRef, LocalModel]


class GroupRun:
    """Measures one group; ``done`` names the arms an earlier attempt has finished."""

    def __init__(
        self, group: Group, context: RunContext, fetch: Callable[[ModelRef], LocalModel], done: set[str]
    ) -> None:
        self.group, self.context, self.fetch, self.done = group, context, fetch, done
        self._failed: str | None = None

    def run(self) -> None:
        """Every arm that is not done. A variant that fails leaves its reason and the others go on."""
        self._measure_baseline()
        for variant in self.group.variants:
            if variant.name not in self.done:
                self._measure_variant(variant)

    def _measure_baseline(self) -> None:
        """Alone, in a process of its own: what it has been through never stands beside a variant."""
        arm = self.group.baseline
        if arm.name in self.done:
            return
        with self._recorded(arm) as under:
            _supported(arm)
            with under.worker:
                self._open(under)
                one.alone(under)
                one.ceilings(under)
                pair.floor(under)

    def _measure_variant(self, variant: Arm) -> None:
        with self._recorded(variant) as row:
            _supported(variant)
            if self._failed is not None:  # and is not tried again for every variant
                reason = f"{variant.name} was not measured: the baseline has failed ({self._failed})"
                raise VariantFailed(Outcome.BASELINE_FAILED, reason)
            VariantRun(self.group, row, self.fetch).run()

    def _open(self, under: ArmUnderTest) -> None:
        """Make the model ready to be measured."""
        model = self.fetch(under.arm.model)
        under.record(model={**asdict(model.source), "random": model.random})
        one.load(under, model, prompts_of(under.arm))

    @contextmanager
    def _recorded(self, arm: Arm) -> Iterator[ArmUnderTest]:
        """A row for ``arm``: who it is, and at the end how it ended. Failures of the arm end here."""
        under = open_worker(arm, self.group.label, self.context)
        one.begin(under)
        status, reason = Outcome.INTERRUPTED, "the run was interrupted"
        try:
            yield under
            status, reason = Outcome.OK, ""
        except VariantFailed as failure:
            status, reason = failure.outcome, failure.reason
        except (BaselineDied, PeerGone) as gone:
            status, reason = Outcome.BASELINE_FAILED, f"the baseline's worker died beside it ({gone})"
        except (InterruptedRun, IntegrityError):
            raise
        except BenchError as failure:
            status, reason = Outcome.LOAD_ERROR, str(failure)
        finally:
            under.worker.close()
            if arm.is_baseline and status != Outcome.OK:
                self._failed = f"{status}: {reason}"
            under.record(status=status, reason=reason)
            self.context.tell(Ended(under.title, status, reason))


def _supported(arm: Arm) -> None:
    if arm.unsupported:
        raise VariantFailed(Outcome.UNSUPPORTED, arm.unsupported)
