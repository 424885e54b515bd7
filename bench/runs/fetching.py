"""Bring every model of a config to this disk before anything is measured, and look at each again later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.config.inputs import digests
from bench.config.spec import Arm, Spec
from bench.errors import BenchError, IntegrityError
from bench.formatting import row_title
from bench.measure.arm import Fetch
from bench.measure.events import Noted, Tell
from bench.measure.group import UNRECORDED
from bench.measure.lm_eval_tasks import list_tasks
from bench.measure.models import models_by_key
from bench.models.disk_cache import file_sha256
from bench.models.fetch import ensure
from bench.models.reference import LocalModel, ModelRef, Progress

OnProgress = Callable[[Progress], None]


def fetcher(spec: Spec, on_fetch: OnProgress, tell: Tell | None = None) -> Fetch:
    """Fetch all models to this disk before anything is measured, and check each of them once. List the tasks
    of lm-eval too, so that missing data is noticed now.

    Return a function to call whenever a model is about to be loaded; it returns the fetched model. It raises
    IntegrityError if a file of the model, or another file that the config names, has changed since: the
    processes of one row would measure different things.

    With ``tell``, a model that cannot be fetched or converted is the failure of the rows that need it: what
    is returned raises it again, and the other rows can be measured. If no group has a baseline left, and
    always without ``tell``, the failure is raised now.
    """
    fetched = _Fetched(on_fetch)
    _fetch_all(spec, fetched, tell)
    list_tasks(spec.drift)
    inputs = {Path(file): digest for file, digest in digests(spec).items()}

    def fetch(reference: ModelRef) -> LocalModel:
        model = fetched(reference)
        for file, digest in (inputs | dict(model.paths)).items():
            if not file.is_file() or file_sha256(file) != digest:
                raise IntegrityError(f"{file} changed during the run, so its rows would not be comparable")
        return model

    return fetch


class _Fetched:
    """Fetches each model once, and keeps the failure of one that cannot be fetched: to convert a file takes
    minutes, and a second attempt fails as the first one did."""

    def __init__(self, on_fetch: OnProgress) -> None:
        self._on_fetch = on_fetch
        self._known: dict[ModelRef, LocalModel | BenchError] = {}

    def __call__(self, reference: ModelRef) -> LocalModel:
        if reference not in self._known:
            try:
                self._known[reference] = ensure(reference, self._on_fetch)
            except UNRECORDED:
                raise
            except BenchError as bad:
                self._known[reference] = bad
        found = self._known[reference]
        if isinstance(found, BenchError):
            raise found
        return found


def _fetch_all(spec: Spec, fetched: _Fetched, tell: Tell | None) -> None:
    """Fetch the models of every row. Raises what ``fetcher`` raises before anything is measured."""
    failed = {
        (group.label, arm.name): bad
        for group in spec.groups
        for arm in group.arms
        if (bad := _failure(arm, fetched)) is not None
    }
    baselines = [failed.get((group.label, group.baseline.name)) for group in spec.groups]
    if failed and (tell is None or None not in baselines):
        raise next(iter(failed.values()))
    for (group, name), bad in failed.items():
        if tell is not None:
            tell(Noted(f"{row_title(group, name)} will fail, the other rows are measured: {bad}"))


def _failure(arm: Arm, fetched: _Fetched) -> BenchError | None:
    """Return why a model of the row cannot be fetched, its own or one that a step names; None if all can."""
    try:
        for _key, model in models_by_key(arm):
            fetched(model)
    except UNRECORDED:
        raise
    except BenchError as bad:
        return bad
    return None
