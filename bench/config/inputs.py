"""List the files that a config names besides its models: prompts, texts, items, and what schemes load.

They must not change until a run has ended, and each of the two commits of a gate has its own versions of
them. All other code takes the list from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import plugins
from bench.config.settings import DriftBlock
from bench.config.spec import Arm, Spec
from bench.config.suite_reader import LmEvalBlock, is_task_file, lm_eval_of
from bench.config.task_file import read_task
from bench.formatting import row_title
from bench.models.disk_cache import file_sha256
from bench.models.gguf_parts import parts_of


@dataclass(frozen=True)
class Input:
    """A file, by the key that names it. ``row`` is the title of the row that reads it; empty for all rows."""

    row: str
    key: str
    path: Path


def inputs_of(spec: Spec) -> Iterator[Input]:
    """Yield every file that the config names beside its models, with all parts of a GGUF."""
    drift = spec.drift
    if is_file_of_text(drift.text):
        yield Input("", "drift.text", Path(drift.text))
    if drift.items is not None:
        yield Input("", "drift.items", Path(drift.items))
    asked = lm_eval_of(drift.suites)
    for file in asked.files if asked else ():
        for path in (Path(file), *read_task(file).data):
            yield Input("", "drift.suites", path)
    for group in spec.groups:
        for arm in group.arms:
            for key, path in _of_arm(arm):
                yield Input(row_title(group.label, arm.name), key, path)


def digests(spec: Spec) -> dict[str, str]:
    """Return the SHA-256 of every such file by its path."""
    return {str(path): file_sha256(path) for path in sorted({one.path for one in inputs_of(spec)})}


def is_file_of_text(name: str) -> bool:
    """Return whether a text is named by its file, and not by the name of a text in bench/texts."""
    return name not in plugins.names("texts")


def below(drift: DriftBlock, directory: Path) -> DriftBlock:
    """Return the block with its paths below a directory."""
    found = {"text": drift.text if is_file_of_text(drift.text) else None, "items": drift.items}
    there: dict[str, object] = {key: str(directory / path) for key, path in found.items() if path}
    there["suites"] = tuple(
        _tasks_below(one, directory) if isinstance(one, LmEvalBlock) else one for one in drift.suites
    )
    return drift.model_copy(update=there)


def _tasks_below(asked: LmEvalBlock, directory: Path) -> LmEvalBlock:
    tasks = tuple(str(directory / task) if is_task_file(task) else task for task in asked.lm_eval)
    return asked.model_copy(update={"lm_eval": tasks})


def _of_arm(arm: Arm) -> Iterator[tuple[str, Path]]:
    """Yield (key, path) of the files that a row reads; those of its steps are below the row's own directory,
    in which its worker stands."""
    if arm.workload.file is not None:
        yield "workload.file", Path(arm.workload.file)
    home = Path(arm.place.directory or "")
    for step in arm.optimise:
        named = dict(step.params)
        file, text = named.get("file"), named.get("text")
        if isinstance(file, str):
            yield from ((f"optimise.{step.verb}.file", part) for part in parts_of(home / file))
        if isinstance(text, str) and is_file_of_text(text):
            yield f"optimise.{step.verb}.text", home / text
