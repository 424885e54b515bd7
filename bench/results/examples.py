"""Choose replies in which a variant differs from its baseline, so that readers can judge the difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from bench import plugins
from bench.drift.behaviour import Suite, on_both
from bench.records import ArmRecord, Json, RunRecord

KEPT = 3  # examples that run.json has of each row
LETTERS = 400  # most characters of a prompt and of a reply


@dataclass(frozen=True)
class Example:
    """A prompt with both replies; ``same`` is the number of equal characters at their start."""

    source: str
    prompt: str
    baseline: str
    variant: str
    same: int

    def to_json(self) -> Json:
        """Return the example in the form of ``run.json``."""
        return asdict(self)


def examples(run: RunRecord, arm: ArmRecord, count: int = KEPT) -> tuple[Example, ...]:
    """Return up to ``count`` replies that differ from the baseline's.

    Replies of the workload come first, ordered by where they begin to differ. Then come items of suites that
    the baseline answered right and the variant answered wrong.
    """
    base = run.baseline_of(arm)
    if base is None or arm.is_baseline:
        return ()
    of_workload = sorted(_of_workload(base, arm), key=lambda example: example.same)
    return tuple([*of_workload, *_of_suites(run, arm)][:count])


def _of_workload(base: ArmRecord, arm: ArmRecord) -> Iterator[Example]:
    if base.prompts_digest != arm.prompts_digest:
        return
    for (prompt, before), (_prompt, after) in zip(base.texts, arm.texts, strict=False):
        if before != after:
            yield _example("reply", prompt, before, after)


def _of_suites(run: RunRecord, arm: ArmRecord) -> Iterator[Example]:
    for name in arm.suites:
        suite = getattr(plugins.load("drift.suites", name), "SUITE", None)
        if not isinstance(suite, Suite) or not suite.output_tokens:
            continue
        for item, before, after in on_both(run, arm, name):
            if suite.right(item, before) and not suite.right(item, after):
                yield _example(name, item["prompt"], str(before), str(after))


def _example(source: str, prompt: str, before: str, after: str) -> Example:
    differ = (place for place, (a, b) in enumerate(zip(before, after, strict=False)) if a != b)
    same = next(differ, min(len(before), len(after)))
    return Example(source, prompt[-LETTERS:], before[:LETTERS], after[:LETTERS], min(same, LETTERS))
