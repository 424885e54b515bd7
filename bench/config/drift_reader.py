"""Read the ``drift`` block: the text, the suites and statistics that it names, lm-eval's tasks, own items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench import plugins
from bench.config.settings import DriftBlock
from bench.config.spec import Group
from bench.config.suite_reader import NAME, LmEvalBlock
from bench.config.task_file import read_task
from bench.drift.items import MOST_ITEMS, read_closed
from bench.texts import check_text, share_text
from bench.yaml_source import KeyPath, YamlSource, blaming

if TYPE_CHECKING:
    from bench.config.block_reader import BlockReader

SUITES = ("drift", "suites")


def read_drift(reader: BlockReader, raw: object) -> DriftBlock:
    """Read the block; among its suites, a block of keys says which tasks lm-eval is asked for."""
    given = raw.get("suites") if isinstance(raw, dict) else None
    if isinstance(raw, dict) and isinstance(given, list):
        suites = [
            reader.block(LmEvalBlock, place, one, SUITES) if isinstance(one, dict) else one
            for place, one in enumerate(given)
        ]
        raw = {**raw, "suites": suites}
    return reader.block(DriftBlock, "drift", raw)


def check_drift(source: YamlSource, drift: DriftBlock) -> None:
    """Raise ConfigError if the text cannot be read, a name is unknown, or the user's items are wrong."""
    with blaming(source, ("drift", "text"), drift.text):
        check_text(drift.text)
    _check_names(source, drift)
    if drift.items is None and "own" in drift.suites:
        raise source.error(SUITES, "the suite 'own' needs drift.items, a JSONL file")
    if drift.items is not None and "own" not in drift.suites:
        raise source.error(("drift", "items"), "is for the suite 'own'", "add own to drift.suites")
    if drift.items is not None:
        with blaming(source, ("drift", "items"), drift.items):
            read_closed(drift.items)


def must_differ(source: YamlSource, path: KeyPath, names: Sequence[str]) -> None:
    """Raise ConfigError for a name that stands twice in a list of what is to be measured."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise source.error(path, f"{twice!r} is given twice", "keep one of them")


def _check_names(source: YamlSource, drift: DriftBlock) -> None:
    for place, one in enumerate(drift.suites):
        if isinstance(one, LmEvalBlock):
            _check_lm_eval(source, one, place)
            if any(isinstance(other, LmEvalBlock) for other in drift.suites[:place]):
                raise source.error((*SUITES, place), "lm_eval is given twice", "name all tasks in one list")
        elif one == NAME:
            raise source.error(SUITES, f"{NAME} needs its tasks", "write {lm_eval: [arc_easy, hellaswag]}")
        else:
            with blaming(source, SUITES):
                plugins.load("drift.suites", one)
    for name in drift.statistics:
        with blaming(source, ("drift", "statistics")):
            plugins.load("drift.statistics", name)
    must_differ(source, SUITES, [one for one in drift.suites if isinstance(one, str)])
    must_differ(source, ("drift", "statistics"), drift.statistics)


def _check_lm_eval(source: YamlSource, block: LmEvalBlock, place: int) -> None:
    """Refuse tasks that have more items than a run keeps, a task file with code, and a machine without
    lm-eval."""
    if block.most_items > MOST_ITEMS:
        tasks = len(block.lm_eval)
        problem = f"{tasks} tasks of {block.limit} documents are more than a run keeps, {MOST_ITEMS}"
        raise source.error((*SUITES, place), problem, f"give limit: {MOST_ITEMS // tasks}")
    for file in block.files:
        read_task(file)
    if plugins.missing_packages(plugins.load("drift.suites", NAME)):
        problem = "lm-eval is not installed"
        raise source.error((*SUITES, place), problem, "pip install 'inference-cost-bench[lm-eval]'")


def judged_on_other_text(source: YamlSource, drift: DriftBlock, groups: Sequence[Group]) -> None:
    """Refuse a scheme that is calibrated or trained on the text on which drift is scored, on a part of it, or
    on the user's own questions."""
    judged = [
        *([("text", drift.text)] if drift.tokens else []),
        *([("items", drift.items)] if drift.items else []),
    ]
    for arm in (arm for group in groups for arm in group.arms):
        for step in arm.optimise:
            text = dict(step.params).get("text")
            for key, by in judged if isinstance(text, str) else ():
                if share_text(str(text), by):
                    raise source.error(
                        ("drift", key),
                        f"{arm.name} is calibrated on this text, or on a part of it ({step.verb} "
                        f"{step.scheme}, text: {text}), so it would be judged on what it has seen",
                        "give one of them another text",
                    )
