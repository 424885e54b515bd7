"""Describe the drift of a config for `bench check`: the text, its windows, and the items of the suites."""

from __future__ import annotations

from bench.config.encoders import CLASSIFICATION, encodes, labels_of
from bench.config.served import serves
from bench.config.spec import Spec
from bench.config.suite_reader import lm_eval_of
from bench.drift.behaviour import suites_of
from bench.drift.encoded import ONE_SCORE
from bench.drift.retrieval import MOST_RANKED, set_for
from bench.measure.lm_eval_tasks import counts, listed
from bench.models.reference import Random
from bench.models.registry import find_model

GREEDY = "generation"  # the suite of the replies
NOT_MEASURED = "not measured: drift.tokens is 0"


def drift_words(spec: Spec) -> str:
    """Say how the difference between a row's output and the baseline's will be measured."""
    if serves(spec.groups):
        return _drift_of_servers(spec)
    if not spec.drift.tokens:
        return NOT_MEASURED + _suites(spec)
    if all(isinstance(arm.model, Random) for group in spec.groups for arm in group.arms):
        return "not measured: random weights have no quality to lose"
    if (task := encodes(spec.groups)) is not None:
        return _of_encoders(spec, task)
    replies = ", and the replies" if GREEDY in spec.drift.suites else ""
    return f"{_windows(spec)}{replies}, against the baseline's{_suites(spec)}"


def _of_encoders(spec: Spec, task: str) -> str:
    texts = set_for(task, spec.drift.items)
    on = f"{len(texts.texts)} texts ({texts.source})"
    if task == CLASSIFICATION and len(labels_of(spec.groups[0].baseline.model, find_model)) == 1:
        return f"not measured: {ONE_SCORE}"
    if task == CLASSIFICATION:
        return f"the labels of {on}, against the baseline's"
    queries, documents = min(len(texts.queries), MOST_RANKED), len(texts.documents)
    ranked = f"how {queries} queries rank {documents} documents"
    return f"the vectors of {on}, and {ranked}, against the baseline's"


def _drift_of_servers(spec: Spec) -> str:
    said = NOT_MEASURED
    if spec.drift.tokens:
        said = f"{_windows(spec)}: a request for each token to both servers, after the first pair"
    return f"{said}{_suites(spec)}"


def _windows(spec: Spec) -> str:
    scored = max(spec.drift.tokens, spec.drift.window)  # one window at least, and a window is never cut
    return f"{scored} tokens of {spec.drift.text!r} in windows of {spec.drift.window}"


def _suites(spec: Spec) -> str:
    asked = [f"{suite.name} ({len(suite.items(spec.drift.items))})" for suite in suites_of(spec.drift.suites)]
    tasks = lm_eval_of(spec.drift.suites)
    asked += [f"lm-eval {name} ({n})" for name, n in counts(listed(tasks))] if tasks else []
    return f"; suites (items): {', '.join(asked)}" if asked else ""
