"""Estimate how long the measurement of drift takes: windows of text, noise floors and suites."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.config.settings import DriftBlock
from bench.config.spec import Spec
from bench.config.steps import HOME_ENGINE
from bench.config.suite_reader import NAME, lm_eval_of
from bench.config.support import device_here
from bench.drift.behaviour import Suite, suites_of
from bench.drift.retrieval import set_for
from bench.measure.lm_eval_tasks import REPLY, listed
from bench.measure.token_drift import FLOOR_EXTRA, FLOOR_WINDOWS
from bench.models.reference import Random
from bench.plan.roofline import Ceilings
from bench.records import Json
from bench.worker.lm_eval_requests import USUAL_TOKENS
from bench.worker.shared_beginnings import LEAST

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.cli.expected import Beside, Load

Asked = Sequence[tuple[Suite, Sequence[Json]]]  # suites, each with its items
VALUE_S = 15e-9  # seconds per position and vocabulary entry, for softmax and KL of two models
LETTERS_A_TOKEN, REPLIES_TOGETHER = 4, 4  # assumed for the items of suites
# The requests that bench/worker/noise_floor.py decodes alone and in a batch.
COMPARED_REQUESTS, COMPARED_TOKENS = 4, 16


def drift_s(spec: Spec, base: Load, variant: Load) -> float:
    """Return the seconds for the windows of a variant, which both sides compute; for encoders, its texts."""
    if _random(base) or _random(variant):
        return 0.0
    if task := variant.arm.runtime.task:
        texts = set_for(task, spec.drift.items).texts if spec.drift.tokens else ()
        return math.fsum(side.pass_s(_tokens(text)) for text in texts for side in (base, variant))
    window = spec.drift.window
    each_s = base.pass_s(window) + variant.pass_s(window) + _compared_s(base, window)
    return max(spec.drift.tokens / window, 1) * each_s


def floors_s(spec: Spec, base: Load, rates_of: Callable[[str, int | None, str], Ceilings]) -> float:
    """Return the seconds for comparing a baseline with itself.

    A few windows are computed again: with another length, in a batch of two, and on a CPU with another number
    of threads. Each time the plain window is computed too.
    """
    if _random(base) or base.arm.runtime.task or not spec.drift.tokens:
        return 0.0
    window, runtime = spec.drift.window, base.arm.runtime
    again_s = [base.pass_s(window + FLOOR_EXTRA), base.pass_s(2 * window)]
    if device_here(runtime.device) == "cpu" and runtime.name == HOME_ENGINE:
        threads = 2 if runtime.threads == 1 else 1
        again_s.append(replace(base, rates=rates_of(runtime.device, threads, runtime.dtype)).pass_s(window))
    plain_s = base.pass_s(window) + _compared_s(base, window)
    return FLOOR_WINDOWS * (len(again_s) * plain_s + sum(again_s))


def together_s(base: Load) -> float:
    """Return the seconds for decoding a few requests of a baseline, first alone and then in one batch."""
    load = base.arm.workload
    count, steps = min(COMPARED_REQUESTS, load.requests), min(COMPARED_TOKENS, load.output_tokens) - 1
    if _random(base) or base.arm.runtime.task or count < 2:
        return 0.0
    prompt = base.prompt_tokens
    alone_s = base.pass_s(prompt, 1) + steps * base.pass_s(1)
    return count * alone_s + base.pass_s(count * prompt, count) + steps * base.pass_s(count)


def asked_of(drift: DriftBlock) -> Asked:
    """Return the suites of a config with their items. Each request of lm-eval is a suite of one item."""
    asked: list[tuple[Suite, Sequence[Json]]] = []
    asked += [(suite, suite.items(drift.items)) for suite in suites_of(drift.suites)]
    tasks = lm_eval_of(drift.suites)
    for request in listed(tasks).requests if tasks else ():
        writes = request.kind == REPLY
        tokens = int(request.args[1].get("max_gen_toks", USUAL_TOKENS)) if writes else 0
        text = request.args[0] if writes else "".join(request.args)
        asked.append((Suite(NAME, "", output_tokens=tokens), [{"prompt": text}]))
    return asked


def suites_s(asked: Asked, load: Load) -> float:
    """Return the seconds of the behaviour suites: a pass for each choice, or a short reply for each item.

    In a cascade both models answer each item, one item after the other.
    """
    if _random(load):
        return 0.0
    edges = [second for second in load.beside if not second.drafts]
    together = 1 if edges else REPLIES_TOGETHER
    total_s = 0.0
    for suite, items in asked:
        total_s += _answers_s(load, items, suite.output_tokens, together)
        for edge in edges:
            total_s += _answers_s(edge.load, items, suite.output_tokens, 1)
            total_s += sum(edge.drawn_s(_tokens(item["prompt"]), suite.output_tokens) for item in items)
    return total_s


def learning_s(load: Load, edge: Beside) -> float:
    """Return the seconds that both models of a cascade need to answer the questions that train its rule."""
    return math.fsum(
        _answers_s(load, items, tokens, REPLIES_TOGETHER)
        + _answers_s(edge.load, items, tokens, 1 if tokens else REPLIES_TOGETHER)
        for tokens, items in edge.asked
    )


def _answers_s(load: Load, items: Sequence[Json], tokens: int, together: int) -> float:
    """Return the seconds of one model for some items. ``tokens`` is the length of a reply, 0 for choices."""
    shares = together > 1 and load.arm.runtime.name == HOME_ENGINE
    if not tokens:
        return math.fsum(_choices_s(load, item, shares) for item in items)
    read_s = math.fsum(load.pass_s(_tokens(text)) for text in _read(items, shares))
    return read_s + len(items) / together * tokens * load.pass_s(1)


def _choices_s(load: Load, item: Json, shares: bool) -> float:
    """Return the seconds for the choices of an item, each read whole or behind what they share."""
    prompt, choices = item["prompt"], item.get("choices", ("",))
    if shares and len(choices) > 1:
        return load.pass_s(_tokens(prompt), 0) + load.pass_s(sum(map(_tokens, choices)))
    return math.fsum(load.pass_s(_tokens(prompt + choice)) for choice in choices)


def _read(items: Sequence[Json], shares: bool) -> Iterator[str]:
    """Yield what is read of each item. An engine that ``shares`` long beginnings reads only the end of a text
    that an earlier one begins with too."""
    known: set[str] = set()
    for item in items:
        text = item["prompt"]
        begins = text[: LEAST * LETTERS_A_TOKEN]
        yield text[-1:] if begins in known else text
        if shares and len(text) > len(begins):
            known.add(begins)


def _tokens(text: str) -> int:
    return max(len(text) // LETTERS_A_TOKEN, 1)


def _compared_s(base: Load, window: int) -> float:
    return window * base.facts.vocabulary * VALUE_S


def _random(load: Load) -> bool:
    return isinstance(load.arm.model, Random)
