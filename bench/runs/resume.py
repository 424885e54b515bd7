"""Continue a run, if nothing that it was begun with has changed since, in the files that it wrote itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.config.spec import Spec
from bench.errors import IncomparableError, OnFailure, Outcome, UsageError
from bench.formatting import one_line
from bench.machine.fingerprint import fingerprint
from bench.measure.clock import utc_now
from bench.measure.models import OWN, changed_digest, model_record, models_by_key
from bench.measure.pairs import Finished
from bench.models.reference import LocalModel, ModelRef
from bench.records import RunRecord
from bench.results.summarise import NOT_A_FAILURE, summarise
from bench.runs.directory import LOGS
from bench.store.journal import Journal
from bench.store.replay import JOURNAL, judging, replay
from bench.store.run_files import RUN_JSON
from bench.store.run_lock import HOLDER_NAME, LOCK_NAME
from bench.store.schema import must_be_readable

Done = Mapping[str, Mapping[str, Finished]]  # finished rows, by cell and name


def own_files(directory: Path) -> Path:
    """Return the directory of a run that will be continued. Raises UsageError if a file that is written to is
    a link: a run from elsewhere must not choose what else on this disk is overwritten."""
    for name in (JOURNAL, RUN_JSON, LOGS, LOCK_NAME, HOLDER_NAME):
        if (directory / name).is_symlink():
            raise UsageError(f"{directory / name} is a link, so this run is not continued")
    return directory


def may_continue(
    before: RunRecord, spec: Spec, text_sha256: str, inputs: Mapping[str, str], harness_sha256: str
) -> None:
    """Raise IncomparableError if something has changed since the run was begun: the config, the machine, the
    harness, the text, a file that the config names, or the packages of an interpreter that it names.

    The digests that are passed are those of now.
    """
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
    """Raise IncomparableError if a row was measured with another model than the config names now. Models that
    draft, teach or answer first count too."""
    rows = {(arm.group, arm.name): arm for arm in before.arms}
    for group in spec.groups:
        for arm in group.arms:
            row = rows.get((group.label, arm.name))
            if row is None:
                continue
            for key, model in models_by_key(arm):
                known = row.model if key == OWN else row.models.get(key, {})
                if known and (what := changed_digest(known, model_record(fetch(model)))):
                    of = arm.name if key == OWN else f"{key} of {arm.name}"
                    raise _refused(before, f"{what} of {of}")


def continued(directory: Path) -> tuple[Journal, Done]:
    """Open the journal of a run again, and return it with the finished rows of each cell, by their names.

    Raises IntegrityError if its records do not fit together: once more is measured, that would be our bug.
    """
    journal = Journal.reopen(directory / JOURNAL, utc_now, must_be_readable)
    with OnFailure(journal.close):
        run = replay(journal.take_earlier(), journal.notices, str(journal.path))
        with judging(journal.path):
            summarise(run)
    return journal, _done(run)


def _done(run: RunRecord) -> Done:
    """Return the finished rows of each cell. Interrupted and failed rows are not among them: they are
    measured again."""
    found: dict[str, dict[str, Finished]] = {}
    for arm in run.arms:
        if arm.status in NOT_A_FAILURE and arm.status != Outcome.INTERRUPTED:
            units = [unit for unit in run.units if (unit.group, unit.variant) == (arm.group, arm.name)]
            facts = arm.loaded.facts if arm.loaded else None
            found.setdefault(arm.group, {})[arm.name] = Finished(
                facts, units, arm.cascade, Outcome(arm.status), arm.reason
            )
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
