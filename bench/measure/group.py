"""A baseline and its variants, one after the other: at most two models are in memory at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict

from bench import plugins
from bench.errors import BenchError, IntegrityError, InterruptedRun, Outcome, VariantFailed
from bench.measure import arm as one
from bench.measure import pair
from bench.measure.arm import ArmUnderTest, Bench, open_worker
from bench.measure.together import BaselineDied
from bench.measure.worker_process import PeerGone
from bench.models.reference import LocalModel, ModelRef
from bench.spec import Arm, Group

Models = Mapping[ModelRef, LocalModel]


class GroupRun:
    """Measures one group; ``done`` names the arms an earlier attempt has finished."""

    def __init__(
        self, group: Group, bench: Bench, fetch: Callable[[ModelRef], LocalModel], done: set[str]
    ) -> None:
        self.group, self.bench, self.fetch, self.done = group, bench, fetch, done
        self._baseline: ArmUnderTest | None = None
        self._failed: str | None = None

    def run(self) -> None:
        """Every arm that is not done. A variant that fails leaves its reason and the others go on."""
        try:
            self._measure_baseline()
            for variant in self.group.variants:
                if variant.name not in self.done:
                    self._measure_variant(variant)
        finally:
            self._drop_baseline()

    # ---- the baseline ----------------------------------------------------------------------------

    def _measure_baseline(self) -> None:
        arm = self.group.baseline
        if arm.name in self.done:
            return
        with self._recorded(arm) as under:
            self._open(under)
            one.ceilings(under)
            one.alone(under)
            self._baseline = under

    def _alive(self) -> ArmUnderTest:
        """The baseline's worker, started again where it has gone (its figures are in the journal)."""
        if self._baseline is None:
            under = open_worker(self.group.baseline, self.group.label, self.bench)
            under.reopened = True
            try:
                self._open(under)
            except BaseException:
                under.worker.close()
                raise
            self._baseline = under
        return self._baseline

    def _drop_baseline(self) -> None:
        if self._baseline is not None:
            self._baseline.worker.close()
            self._baseline = None

    # ---- a variant -------------------------------------------------------------------------------

    def _measure_variant(self, variant: Arm) -> None:
        with self._recorded(variant) as under:
            _supported(variant)
            base = self._baseline_for(variant)
            self._open(under)
            one.alone(under)
            pair.duet(base, under)
            pair.drift(base, under)
            under.worker.close()

    def _baseline_for(self, variant: Arm) -> ArmUnderTest:
        """The partner for one variant. A baseline without figures is not tried again for every variant."""
        try:
            if self._failed is not None:
                raise VariantFailed(Outcome.BASELINE_FAILED, self._failed)
            return self._alive()
        except VariantFailed as failure:
            reason = f"{variant.name} was not measured: the baseline has failed ({failure.reason})"
            raise VariantFailed(Outcome.BASELINE_FAILED, reason) from None

    # ---- both ------------------------------------------------------------------------------------

    def _open(self, under: ArmUnderTest) -> None:
        """Start the worker and make the model ready to be measured."""
        _supported(under.arm)
        model = self.fetch(under.arm.model)
        workload = under.arm.workload
        prompts = plugins.load("workloads", workload.name).prompts(workload)
        under.record(model={**asdict(model.source), "random": model.random})
        under.worker.__enter__()
        one.load(under, model, self.fetch(self.group.baseline.model), prompts)

    @contextmanager
    def _recorded(self, arm: Arm) -> Iterator[ArmUnderTest]:
        """A row for ``arm``: who it is, and at the end how it ended. Failures of the arm end here."""
        under = open_worker(arm, self.group.label, self.bench)
        one.begin(under)
        status, reason = Outcome.INTERRUPTED, "the run was interrupted"
        try:
            yield under
            status, reason = Outcome.OK, ""
        except VariantFailed as failure:
            status, reason = failure.outcome, failure.reason
        except (BaselineDied, PeerGone) as gone:
            status, reason = Outcome.BASELINE_FAILED, f"the baseline's worker died beside it ({gone})"
            self._drop_baseline()
        except (InterruptedRun, IntegrityError):
            raise
        except BenchError as failure:
            status, reason = Outcome.LOAD_ERROR, str(failure)
        finally:
            if status != Outcome.OK:
                under.worker.close()
            if arm.is_baseline and status != Outcome.OK:
                self._failed = f"{status}: {reason}"
            under.record(status=status, reason=reason)
            self.bench.say(arm.name, "done" if status == Outcome.OK else f"{status}: {reason}")


def _supported(arm: Arm) -> None:
    if arm.unsupported:
        raise VariantFailed(Outcome.UNSUPPORTED, arm.unsupported)
