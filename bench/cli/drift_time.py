"""Estimate how long drift takes: windows of text on both sides, the noise floors, and the suites."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.config.blocks import DriftBlock
from bench.config.spec import Spec
from bench.config.steps import HOME_ENGINE
from bench.config.suite_block import NAME, lm_eval_of
from bench.config.support import device_here
from bench.drift.behaviour import Suite, suites_of
from bench.drift.retrieval import set_for
from bench.measure.lm_eval_tasks import REPLY, listed
from bench.measure.token_drift import FLOOR_EXTRA, FLOOR_WINDOWS
from bench.models.reference import Random
from bench.plan.roofline import Ceilings
from bench.records import Json
from bench.worker.requests import USUAL_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.cli.expected import Beside, Load

Asked = Sequence[tuple[Suite, Sequence[Json]]]  # suites, each with its items
VALUE_S = 15e-9  # softmax and KL of two models, for each position and vocabulary entry
LETTERS_A_TOKEN, REPLIES_TOGETHER = 4, 4  # of the items of suites: about
# As bench/worker/circumstances.py decodes them, alone and in a batch.
COMPARED_REQUESTS, COMPARED_TOKENS = 4, 16


def drift_s(spec: Spec, base: Load, variant: Load) -> float:
    """Return the seconds of a variant's windows: both sides compute each. Of encoders, those of its
    texts."""
    if _random(base) or _random(variant):
        return 0.0
    if task := variant.arm.runtime.task:
        texts = set_for(task, spec.drift.items).texts if spec.drift.tokens else ()
        return math.fsum(side.pass_s(_tokens(text)) for text in texts for side in (base, variant))
    window = spec.drift.window
    each_s = base.pass_s(window) + variant.pass_s(window) + _compared_s(base, window)
    return spec.drift.tokens / window * each_s


def floors_s(spec: Spec, base: Load, rates_of: Callable[[str, int | None, str], Ceilings]) -> float:
    """Return the seconds in which a baseline is compared with itself: a few windows with other shapes, in a
    batch of two and, on a CPU, with another number of threads; each beside the plain window."""
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
    """Return the seconds in which a baseline decodes a few requests alone and in one batch."""
    load = base.arm.workload
    count, steps = min(COMPARED_REQUESTS, load.requests), min(COMPARED_TOKENS, load.output_tokens) - 1
    if _random(base) or base.arm.runtime.task or count < 2:
        return 0.0
    prompt = base.prompt_tokens
    alone_s = base.pass_s(prompt, 1) + steps * base.pass_s(1)
    return count * alone_s + base.pass_s(count * prompt, count) + steps * base.pass_s(count)


def asked_of(drift: DriftBlock) -> Asked:
    """Return the suites of a config with their items; each request of lm-eval is an item of its own."""
    found: list[tuple[Suite, Sequence[Json]]] = []
    found += [(suite, suite.items(drift.items)) for suite in suites_of(drift.suites)]
    tasks = lm_eval_of(drift.suites)
    for one in listed(tasks).requests if tasks else ():
        writes = one.kind == REPLY
        tokens = int(one.args[1].get("max_gen_toks", USUAL_TOKENS)) if writes else 0
        text = one.args[0] if writes else "".join(one.args)
        found.append((Suite(NAME, "", output_tokens=tokens), [{"prompt": text}]))
    return found


def suites_s(asked: Asked, load: Load) -> float:
    """Return the seconds of the behaviour suites: a pass for each choice, or a short reply for each item.

    Both models of a cascade answer each item, one item after the other.
    """
    if _random(load):
        return 0.0
    edges = [one for one in load.beside if not one.drafts]
    together = 1 if edges else REPLIES_TOGETHER
    found = 0.0
    for suite, items in asked:
        found += _answers_s(load, items, suite.output_tokens, together)
        for edge in edges:
            found += _answers_s(edge.load, items, suite.output_tokens, 1)
            found += sum(edge.drawn_s(_tokens(item["prompt"]), suite.output_tokens) for item in items)
    return found


def learning_s(load: Load, edge: Beside) -> float:
    """Return the seconds in which both models of a cascade answer the questions that train its rule."""
    return math.fsum(
        _answers_s(load, items, tokens, REPLIES_TOGETHER) + _answers_s(edge.load, items, tokens, 1)
        for tokens, items in edge.asked
    )


def _answers_s(load: Load, items: Sequence[Json], tokens: int, together: int) -> float:
    """Return the seconds of one model for some items, with replies of so many tokens, 0 for choices."""
    read_s = math.fsum(
        len(item.get("choices", (1,))) * load.pass_s(_tokens(item["prompt"])) for item in items
    )
    return read_s + len(items) / together * tokens * load.pass_s(1)


def _tokens(text: str) -> int:
    return max(len(text) // LETTERS_A_TOKEN, 1)


def _compared_s(base: Load, window: int) -> float:
    return window * base.facts.vocabulary * VALUE_S


def _random(load: Load) -> bool:
    return isinstance(load.arm.model, Random)
