"""``bench export``: write the optimised model of a row as an ordinary checkpoint, and verify it.

The checkpoint is loaded again and its logits are compared with those of the model that was written.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench.config.reader import read_config
from bench.config.served import is_server
from bench.config.settings import DriftBlock
from bench.config.spec import Arm, Group, Spec
from bench.environments import interpreter
from bench.errors import BenchError, UsageError, VariantFailed
from bench.formatting import MIB, did_you_mean, printable, row_title
from bench.measure import replies
from bench.measure.arm import load_arguments
from bench.measure.worker_process import WorkerProcess
from bench.models.fetch import is_here
from bench.models.files import TEMPLATES, TEXT_MAX_BYTES, copy_files
from bench.models.reference import LocalModel
from bench.optimisations import routes
from bench.records import Exported
from bench.results.verify import SPEC_YAML, same_spec
from bench.runs.fetching import fetcher
from bench.store.directories import delete
from bench.store.files import naming
from bench.store.replay import load_record

TOKENIZER_FILES = (
    "tokenizer*", "*.jinja", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt",
    "*.tiktoken", "*.spm", "spiece.model", "sentencepiece*.model", "tiktoken.model", "tekken.json",
    f"{TEMPLATES}/*.jinja",
)  # fmt: skip
ABOUT = "bench-export.json"


def export(
    run: Path,
    variant: str,
    to: Path,
    say: Callable[[str], None],
    python: Path | None = None,
    *,
    may_fetch: bool = False,
) -> Path:
    """Make the model of ``variant`` in ``run`` again, and write it to the new directory ``to``.

    The config is read from the run's directory and checked against its journal; results of training and
    calibration come from the cache. A run may come from somebody else, so it does not choose what is started:
    an interpreter that its config names is used only if the caller names it too, as ``python``, and a model
    that is not on this disk is fetched only with ``may_fetch``.

    Raises UsageError if the run, the row or the directory cannot be used, IntegrityError if the config is not
    that of the journal. Raises BenchError if the row's weights are packed, or if the written model does not
    compute the same as the original.
    """
    spec = _spec_of(run)
    if to.exists() or to.is_symlink():
        raise UsageError(f"{to} exists already: name a new directory")
    arm, baseline = _rows(spec, variant)
    _must_be_one_model(arm)
    _may_start(arm, python)
    _may_fetch((arm, baseline), asked=may_fetch)
    fetch = fetcher(_alone(spec, arm, baseline), lambda _progress: None)
    model = fetch(arm.model)
    tokenizer = _tokenizer_files(model.directory)
    staged = _new_beside(to)
    try:
        exported = _write(arm, model, fetch(baseline.model), staged, spec.measure.timeout_s, say)
        copy_files(tokenizer, model.directory, staged)
        (staged / ABOUT).write_text(json.dumps(_about(run, arm, model, exported), indent=1) + "\n")
        staged.replace(to)
    finally:
        delete(staged)
    return to


def _new_beside(to: Path) -> Path:
    """Make a directory beside ``to``; it is renamed to ``to`` when everything is written."""
    staged = to.with_name(f".{to.name}-{secrets.token_hex(4)}")
    with naming("make", staged, failed=UsageError):
        staged.mkdir(parents=True)
    return staged


def _spec_of(run: Path) -> Spec:
    """Read the config of a run, and check that it is the one of its journal."""
    spec_file = run / SPEC_YAML
    if not spec_file.is_file():
        raise UsageError(f"{run}: no {SPEC_YAML} there, so this is not the directory of a run")
    same_spec(spec_file, load_record(run))
    return read_config(spec_file)


def _must_be_one_model(arm: Arm) -> None:
    """Raise UsageError for a row that made no model of its own, or needs a second one."""
    if is_server(arm.runtime):
        raise UsageError(f"{arm.name} is a server: it serves its model as it is, and nothing was made of it")
    if drafts := next((step for step in arm.optimise if step.verb == "speculate"), None):
        raise UsageError(f"{arm.name} drafts ({drafts.scheme}), which is no part of a model's files")
    if any(routes(step.verb) for step in arm.optimise):
        raise UsageError(f"{arm.name} is a cascade of two models: export a row that has the edge model alone")


def _alone(spec: Spec, arm: Arm, baseline: Arm) -> Spec:
    """Return a config with this row alone, so that no model of another row is fetched or checked, and without
    what only drift reads: lm-eval is not asked for its tasks here."""
    group = Group("", replace(baseline, optimise=()), (arm,))
    return replace(spec, groups=(group,), drift=DriftBlock(tokens=0, suites=()))


def _may_start(arm: Arm, python: Path | None) -> None:
    """Raise UsageError if the row's worker would start a program that only the run names."""
    if arm.runtime.name != "transformers":
        raise UsageError(f"{arm.name} ran on {arm.runtime.name}: only models of transformers can be exported")
    named = arm.runtime.python
    if named is None and python is not None:
        raise UsageError("--python does nothing here: the config of this run names no interpreter")
    if named is not None and python != Path(named):
        raise UsageError(
            f"the config of this run names an interpreter, {named}; a run does not choose what is started "
            f"here: give it yourself, --python {named}"
        )


def _may_fetch(arms: Sequence[Arm], *, asked: bool) -> None:
    """Raise UsageError if a model is not on this disk, unless the caller asked for it to be fetched."""
    for arm in arms:
        if not asked and not is_here(arm.model):
            raise UsageError(
                f"the model of {arm.name}, {printable(str(arm.model))[:200]}, is not on this disk; a run "
                "does not choose what is fetched: give --fetch if you want it"
            )


def _tokenizer_files(directory: Path) -> list[Path]:
    """Return the files to copy. A link is followed within the model's directory, and to the blobs of the
    hub's cache that it belongs to. Raises BenchError for a link elsewhere, and for too large a file."""
    root = directory.resolve()
    homes = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    candidates = sorted(file for pattern in TOKENIZER_FILES for file in directory.glob(pattern))
    for file in candidates:
        real = Path(os.path.realpath(file))  # of links in a ring it returns one, and raises nothing
        if not any(real.is_relative_to(home) for home in homes):
            raise BenchError(f"{file} is a link out of the model's directory, so it is not copied")
    files = [file for file in candidates if file.is_file()]
    for file in files:
        if file.stat().st_size > TEXT_MAX_BYTES:
            raise BenchError(f"{file} is larger than {TEXT_MAX_BYTES // MIB} MiB, so it is not copied")
    return files


def _rows(spec: Spec, variant: str) -> tuple[Arm, Arm]:
    """Return (the row, its baseline) by the name of the row, or by its title in a sweep.

    Raises UsageError if there is no such row, or if the cells of a sweep make different models of it.
    """
    rows = {
        row_title(group.label, arm.name): (arm, group.baseline) for group in spec.groups for arm in group.arms
    }
    found = {title: row for title, row in rows.items() if variant in (title, row[0].name)}
    if not found:
        names = dict.fromkeys([*(arm.name for arm, _baseline in rows.values()), *rows])
        hint = did_you_mean(variant, names, f"rows: {', '.join(rows)}")
        raise UsageError(f"no row called {variant[:60]!r} in this run ({hint})")
    first, *others = found.values()
    if any(_made_of(other) != _made_of(first) for other in others):
        raise UsageError(
            f"{variant} is another model in each cell of the sweep: name one of them, {', '.join(found)}"
        )
    return first


def _made_of(row: tuple[Arm, Arm]) -> tuple[object, ...]:
    """Return what decides which model a row has; how fast it is used does not."""
    arm, baseline = row
    return arm.model, arm.runtime.model_copy(update={"threads": None}), arm.optimise, baseline.model


def _write(
    arm: Arm, model: LocalModel, baseline: LocalModel, to: Path, timeout_s: float, say: Callable[[str], None]
) -> Exported:
    """Let a worker load and optimise the model, write it to ``to``, and compare what it has written."""
    if arm.unsupported:
        raise BenchError(f"{arm.name} cannot be made here: {arm.unsupported}")
    runtime = arm.runtime
    python = interpreter(runtime.name, runtime.python)
    log = to.with_name(f"{to.name}.log")
    try:
        with WorkerProcess(arm.name, log, python, runtime.threads) as worker:
            worker.on_progress = say
            say("load and optimise")
            worker.ask(replies.LOAD.do, timeout_s, **load_arguments(arm, model, baseline))
            say("write, load again and compare")
            return replies.read(
                replies.EXPORT, worker.ask(replies.EXPORT.do, timeout_s, to=str(to)), replies.Asked(0, 0)
            )
    except VariantFailed as failure:
        raise BenchError(f"{arm.name} was not exported: {failure.reason}") from None
    finally:
        log.unlink(missing_ok=True)


def _about(run: Path, arm: Arm, model: LocalModel, exported: Exported) -> dict[str, object]:
    return {
        "run": run.name,
        "variant": arm.name,
        "optimise": [step.label for step in arm.optimise],
        "source": asdict(model.source),
        **asdict(exported),
    }
