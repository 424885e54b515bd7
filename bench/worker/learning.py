"""Train the rule of a cascade: both models answer questions that are not reported, and a classifier learns
which answers of the edge model the large model would give too.

The work is done once for a pair of models and billed as a one-off; later processes read what was kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.engine import one_off, progress
from bench.engine.cascading import Cascade
from bench.engine.confidence import LearningRule
from bench.errors import NotApplied
from bench.optimisations.shared.logistic import Logistic, fitted
from bench.records import Json
from bench.worker import choices, suite

FILE = "classifiers.json"
PARTS = ("means", "scales", "weights")
Seen = tuple[tuple[float, ...], bool]  # the features of an answer, and whether the large model's is the same


def learn(
    cascade: Cascade, rule: LearningRule, asked: Mapping[str, Json], probe: Sequence[int]
) -> list[Json]:
    """Train the rule of a cascade on the questions of each form; return what a result keeps of it.

    ``asked`` has ``suite``, ``tokens`` and ``items`` by form, ``choices`` or ``replies``. What was learnt is
    kept by the rule, the questions and the logits of both models on ``probe``, tokens of the large model;
    no other pair of models has these. Raises NotApplied if no question of a form fits both models.
    """
    progress.say("the rule learns", now=True)
    key = _key(cascade, rule, asked, probe)
    place = one_off.kept_file(key, FILE, lambda path: _train(cascade, rule, asked, path))
    found: list[Json] = json.loads(place.read_text())
    by_form = {one["form"]: Logistic(*(tuple(one[part]) for part in PARTS)) for one in found}
    cascade.rule = rule.trained(by_form)
    return found


def _key(cascade: Cascade, rule: LearningRule, asked: Mapping[str, Json], probe: Sequence[int]) -> str:
    """Return the key of what a rule learns: another rule sees other features of the same answers."""
    kind = f"{type(rule).__module__}.{type(rule).__qualname__}"
    seen = hashlib.sha256(json.dumps([kind, asked], sort_keys=True).encode())
    theirs, _text = cascade.edge_reads(probe)
    for engine, ids in ((cascade.edge, theirs), (cascade.cloud, probe)):
        seen.update(engine.logits(list(ids)).cpu().contiguous().numpy().tobytes())
    return f"cascade-learnt {seen.hexdigest()}"


def _train(cascade: Cascade, rule: LearningRule, asked: Mapping[str, Json], path: Path) -> None:
    path.write_text(json.dumps([_of_form(cascade, rule, form, one) for form, one in sorted(asked.items())]))


def _of_form(cascade: Cascade, rule: LearningRule, form: str, asked: Json) -> Json:
    items, tokens = asked["items"], asked["tokens"]
    seen = _replies(cascade, rule, items, tokens) if tokens else _choices(cascade, rule, items)
    if not seen:
        raise NotApplied(f"no question of {asked['suite']} fits both models, so the rule learnt nothing")
    fit = fitted([features for features, _same in seen], [same for _features, same in seen])
    return {
        "form": form,
        "suite": asked["suite"],
        "ids": [item["id"] for item in items],
        "n": len(seen),
        "same": sum(same for _features, same in seen),
        **asdict(fit),
    }


def _choices(cascade: Cascade, rule: LearningRule, items: Sequence[Json]) -> list[Seen]:
    """Return the features of each closed question, and whether both models find the same choice likeliest."""
    sides = (choices.scores(engine, items) for engine in (cascade.edge, cascade.cloud))
    return [
        (rule.features_of_choices(edge), edge.index(max(edge)) == cloud.index(max(cloud)))
        for edge, cloud in zip(*sides, strict=True)
        if edge is not None and cloud is not None
    ]


def _replies(cascade: Cascade, rule: LearningRule, items: Sequence[Json], tokens: int) -> list[Seen]:
    """Return the features of each reply, and whether both models reply with the same words."""
    found = []
    for item, theirs in zip(items, suite.replies(cascade.cloud, items, tokens), strict=True):
        ours = suite.watched_reply(cascade.edge, item, tokens)
        if ours is not None and theirs is not None:
            same = cascade.edge.text(ours.ids).split() == theirs.split()
            found.append((rule.features(ours.steps, tokens), same))
    return found
