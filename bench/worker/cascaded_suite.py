"""Let both models of a cascade answer the items of a behaviour suite, one by one and timed.

So one pass tells the cost and the answers at every threshold. The cascade's own answers are those that its
threshold chooses. A closed question is scored by the distribution over its choices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter_ns
from typing import Any

from bench.engine import Engine
from bench.engine.api_cascade import ApiCascade
from bench.engine.cascading import Cascade
from bench.errors import NonFiniteOutput
from bench.link import LinkDown
from bench.records import Answered, BothAnswered, Cascaded, Json, SuiteAnswers
from bench.worker import choices, suite

Answer = Any  # the log-likelihoods of an item's choices, or the text of a reply; None where it does not fit


def answered(engine: Cascade, items: Sequence[Json], tokens: int) -> SuiteAnswers:
    """Return the cascade's answers, and what both models answered; ``tokens`` is 0 for closed questions."""
    found = [_of_item(engine, item, tokens) for item in items]
    both = BothAnswered(
        tuple(request for request, _edge, _cloud in found),
        _in_form([edge for _request, edge, _cloud in found], tokens),
        _in_form([cloud for _request, _edge, cloud in found], tokens),
    )
    own = [cloud if request and request.from_cloud else edge for request, edge, cloud in found]
    form = _in_form(own, tokens)
    return SuiteAnswers("", scores=form.scores, replies=form.replies, both=both)


def _in_form(answers: Sequence[Answer], tokens: int) -> Answered:
    return Answered(replies=tuple(answers)) if tokens else Answered(scores=tuple(answers))


def _of_item(engine: Cascade, item: Json, tokens: int) -> tuple[Cascaded | None, Answer, Answer]:
    """Return what was done with an item, and both models' answers.

    Seconds and bytes of the large model are there whether the rule sends the item on or not. A link that is
    down at that moment is counted as it is in a request.
    """
    started = perf_counter_ns()
    edge, score = _by_edge(engine, item, tokens)
    edge_s = _since(started)
    if edge is None or score is None:
        return None, None, None
    if not math.isfinite(score):
        raise NonFiniteOutput("the edge model put out NaN or infinite logits, so its answer has no score")
    request = Cascaded(score, engine.rule.escalates(score, engine.threshold), edge_s)
    if isinstance(engine, ApiCascade):
        return _by_server(engine, item, request, edge, tokens)
    cloud = None
    try:
        sent = len("".join((item["prompt"], *item.get("choices", ()))).encode())
        request = replace(request, link_s=engine.link.carry(sent, "up"), sent_bytes=sent)
        started = perf_counter_ns()
        cloud = _answer(engine.cloud, item, tokens)
        cloud_s = _since(started)
        request = replace(request, cloud_s=cloud_s)
        received = 0 if cloud is None else _bytes_of(cloud, item)
        link_s = request.link_s + engine.link.carry(received, "down")
        request = replace(request, link_s=link_s, received_bytes=received)
    except LinkDown as down:
        request = replace(request, link_s=request.link_s + down.waited_s, offline=True)
    return (None, None, None) if cloud is None and not request.offline else (request, edge, cloud)


def _by_server(
    engine: ApiCascade, item: Json, request: Cascaded, edge: Answer, tokens: int
) -> tuple[Cascaded, Answer, Answer]:
    """Return the same where the large model is a server elsewhere."""
    prompt = suite.prompt_of(engine.cloud, item)
    found = engine.api.ask(item["prompt"], len(prompt), tokens)
    return found.told(request, len(item["prompt"].encode())), edge, found.text


def _by_edge(engine: Cascade, item: Json, tokens: int) -> tuple[Answer, float | None]:
    """Return the edge model's answer and its score; (None, None) if the item does not fit its context."""
    if not tokens:
        scores = _answer(engine.edge, item, tokens)
        return scores, None if scores is None else engine.rule.of_choices(scores)
    reply = suite.watched_reply(engine.edge, item, tokens)
    if reply is None:
        return None, None
    prompt, ids, steps = reply
    return engine.edge.text(ids), engine.rule.of_answers(engine.edge, [prompt], [ids], [steps], tokens)[0]


def _answer(engine: Engine, item: Json, tokens: int) -> Answer:
    return suite.replies(engine, [item], tokens)[0] if tokens else choices.scores(engine, [item])[0]


def _bytes_of(answer: Answer, item: Json) -> int:
    """Return the bytes of a reply, or of the choice that is likeliest."""
    text = answer if isinstance(answer, str) else item["choices"][answer.index(max(answer))]
    return len(text.encode())


def _since(started_ns: int) -> float:
    return (perf_counter_ns() - started_ns) / 1e9
