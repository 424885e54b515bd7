"""Continue a run: only with what it was begun with, in the files that it has written itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.config.spec import Spec
from bench.errors import IncomparableError, Outcome, UsageError
from bench.formatting import one_line
from bench.machine.fingerprint import fingerprint
from bench.measure.clock import utc_now
from bench.measure.models import OWN, changed_digest, model_record, models_by_key
from bench.models.reference import LocalModel, ModelRef
from bench.records import RunRecord
from bench.results.from_records import NOT_A_FAILURE, summarise
from bench.runs.directory import LOGS
from bench.store.journal import Journal
from bench.store.lock import HOLDER_NAME, LOCK_NAME
from bench.store.replay import JOURNAL, judging, replay
from bench.store.run_files import RUN_JSON


def own_files(directory: Path) -> Path:
    """Return a directory that is continued. Raises UsageError if one of the files that are written to is a
    link: a run from elsewhere must not choose what else on this disk is written."""
    for name in (JOURNAL, RUN_JSON, LOGS, LOCK_NAME, HOLDER_NAME):
        if (directory / name).is_symlink():
            raise UsageError(f"{directory / name} is a link, so this run is not continued")
    return directory


def may_continue(
    before: RunRecord, spec: Spec, text_sha256: str, inputs: Mapping[str, str], harness_sha256: str
) -> None:
    """Raise IncomparableError if config, machine, harness, text, a file that the config names or an
    interpreter of its own has changed since a run was begun. All digests are those of now."""
    changed = [
        what
        for what, same in (
            (_changed_keys(before, spec), before.spec_digest == spec.digest),
            ("the machine or its packages", _as_json(before.machine) == _as_json(fingerprint())),
            ("the harness", before.harness.get("source_sha256") == harness_sha256),
            (_changed_files(before.inputs, inputs), before.inputs == inputs),
            ("the evaluation text", before.text.get("sha256") == text_sha256),
        )
        if not same
    ]
    if changed:
        raise _refused(before, ", ".join(changed))


def same_models(before: RunRecord, spec: Spec, fetch: Callable[[ModelRef], LocalModel]) -> None:
    """Raise IncomparableError if a row of a run that is continued was measured with another model than it has
    now, or its steps with another one that drafts, teaches or answers first."""
    rows = {(arm.group, arm.name): arm for arm in before.arms}
    for group in spec.groups:
        for arm in group.arms:
            row = rows.get((group.label, arm.name))
            if row is None:
                continue
            for key, model in models_by_key(arm):
                known = row.model if key == OWN else row.models.get(key, {})
                if what := changed_digest(known, model_record(fetch(model))):
                    of = arm.name if key == OWN else f"{key} of {arm.name}"
                    raise _refused(before, f"{what} of {of}")


def continued(directory: Path) -> tuple[Journal, dict[str, set[str]]]:
    """Open the journal of a run again, and return it with the finished arms of each cell.

    Raises IntegrityError if its records do not fit together: once more is measured, that would be our bug.
    """
    journal = Journal.reopen(directory / JOURNAL, utc_now)
    try:
        run = replay(journal.take_earlier(), journal.notices, str(journal.path))
        with judging(journal.path):
            summarise(run)
    except BaseException:
        journal.close()
        raise
    return journal, _done(run)


def _done(run: RunRecord) -> dict[str, set[str]]:
    """Return the finished arms of each cell. Interrupted and failed arms are not among them: they are
    measured again."""
    found: dict[str, set[str]] = {}
    for arm in run.arms:
        if arm.status in NOT_A_FAILURE and arm.status != Outcome.INTERRUPTED:
            found.setdefault(arm.group, set()).add(arm.name)
    return found


def _refused(before: RunRecord, changed: str) -> IncomparableError:
    return IncomparableError(
        f"{before.run_id} cannot be continued, because this has changed: {changed}; without --resume it is "
        "measured anew"
    )


def _changed_keys(before: RunRecord, spec: Spec) -> str:
    """Name the top-level keys of the config that differ."""
    now = spec.content
    keys = sorted(key for key in {**before.spec, **now} if before.spec.get(key) != now.get(key))
    return f"the config ({one_line(', '.join(keys))})"


def _changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Name the files that differ."""
    return ", ".join(sorted(file for file in {**before, **now} if before.get(file) != now.get(file)))


def _as_json(value: object) -> object:
    return json.loads(json.dumps(value))
