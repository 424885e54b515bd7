"""Load the edge model of a cascade beside the large one, and check that the rule decides between them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from bench.engine import Engine, one_off
from bench.engine.api_cascade import ApiCascade
from bench.engine.cascading import Cascade
from bench.engine.confidence import LearningRule, Rule
from bench.engine.decoding import in_full
from bench.engine.evidence import Check, check
from bench.engine.stepping import probe
from bench.link import Link, LinkSettings
from bench.records import Cascaded, Json, Loaded
from bench.records.thinking import before_end
from bench.runtimes._text import same_tokenizer
from bench.worker import learning
from bench.worker.steps import enforce

PROMPT_TOKENS = 48
PROBE_TOKENS = 6
# How far the score of one pass may lie from that of steps, as a share: in float32, and in dtypes that round.
APART, APART_ROUNDED = 1e-3, 0.1
NO_LINK = LinkSettings()


def on_top(
    engine: Engine, message: Json, load: Callable[[Json], tuple[Engine, Loaded]]
) -> tuple[Engine, list[Json], float]:
    """Make the cascade that a load asks for, and enforce its checks.

    Return the engine, further steps of the evidence, and the seconds in which the edge model was loaded.
    """
    step = next(step for step in message["optimise"] if "edge" in step)
    cascade, edge, steps, checks = made(engine, Path(message["directory"]), step, load)
    enforce(str(step["label"]), checks)
    return cascade, steps, edge.load_s


def made(
    cloud: Engine, directory: Path, step: Json, load: Callable[[Json], tuple[Engine, Loaded]]
) -> tuple[Cascade, Loaded, list[Json], list[Check]]:
    """Load the edge model as ``step`` says. Return the cascade, what was found in the edge model, the steps
    as evidence, and the checks of the cascade.

    The edge model's own evidence is in the steps. Raises Unsupported for an engine that does not show logits.
    """
    edge, found = load(step["edge"])
    started = perf_counter_ns()
    asked = step["told"]
    rule: Rule = importlib.import_module(step["module"]).RULE.with_settings(asked.get("settings", {}))
    same = same_tokenizer(directory, Path(step["edge"]["directory"]))
    both = edge, cloud, rule, asked["threshold"], Link(LinkSettings.of(asked["link"]))
    cascade = _beside(asked.get("cloud"), step.get("key"), *both, same_tokens=same)
    learnt: list[Json] = []
    if isinstance(rule, LearningRule):
        learnt = learning.learn(cascade, rule, step["learn"], _probe(cascade))
    bills = one_off.take_bill()
    checks = [
        check("bytes of the edge model's weights", found.weights_bytes, found.weights_bytes > 0, "above 0"),
        *_decides(cascade),
    ]
    steps = [{**one, "step": f"edge: {one['step']}"} for one in found.evidence]
    own = _step(step, (perf_counter_ns() - started) / 1e9, checks, cascade, found)
    own["cascade"]["learnt"] = learnt
    return cascade, found, [*steps, {**own, "one_off": bills}], checks


def _beside(api: Json | None, key: Json | None, *both: Any, same_tokens: bool) -> Cascade:
    """Return the cascade of both models, or of the edge model and a server elsewhere with its ``key``."""
    if api is None:
        return Cascade(*both, same_tokens=same_tokens)
    from bench.worker.endpoint import Endpoint

    return ApiCascade(*both, same_tokens=same_tokens, api=Endpoint(api, key))


def _step(
    step: Json, took_s: float, checks: Sequence[Check], cascade: Cascade, edge: Loaded
) -> dict[str, Any]:
    return {
        "step": step["label"],
        "took_s": took_s,
        "checks": [asdict(one) for one in checks],
        "weights_bytes_before": cascade.cloud.census(count_zeros=False).weights_bytes,
        "weights_bytes_after": cascade.census(count_zeros=False).weights_bytes,
        "kernel_pattern": None,
        "note": None,
        "decoding": None,
        "cascade": {
            **step["told"],
            "rule": step["module"].rpartition(".")[2].replace("_", "-"),
            "sure": cascade.rule.sure,
            "same_tokens": cascade.same_tokens and not isinstance(cascade, ApiCascade),
            "edge_parameters": edge.parameters,
        },
    }


def _probe(cascade: Cascade) -> list[int]:
    """Return a short prompt in tokens that both models have."""
    vocabulary = min(cascade.edge.facts().vocabulary, cascade.cloud.facts().vocabulary)
    return probe(PROMPT_TOKENS, vocabulary)


def _decides(cascade: Cascade) -> list[Check]:
    """Check the score of a short reply against one pass of the edge model, and that each side of the
    threshold gives the reply of its own model. The link stays out of it. A server elsewhere is not asked:
    its requests are paid, and none would be said in the row."""
    threshold, link = cascade.threshold, cascade.link
    cascade.link = Link(NO_LINK)
    prompt = _probe(cascade)
    ids, _text = cascade.edge_reads(prompt)
    reply, elsewhere = _alone(cascade.edge, ids), isinstance(cascade, ApiCascade)
    goes: bool | None = None
    try:
        kept, stayed = _forced(cascade, prompt, escalate=False)
        if not elsewhere:
            sent, went = _forced(cascade, prompt, escalate=True)
            goes = went.from_cloud and sent == _alone(cascade.cloud, prompt)
    finally:
        cascade.threshold, cascade.link = threshold, link
    score = _of_one_pass(cascade.edge, cascade.rule, ids, reply)
    rounded = cascade.edge.facts().dtype != "float32"
    near = math.isclose(stayed.score, score, rel_tol=APART_ROUNDED if rounded else APART, abs_tol=1e-4)
    stays = not stayed.escalated and kept == cascade.in_our_tokens(reply)
    again = cascade.rule.scored_twice
    found = [
        check(again, f"{stayed.score:.5g}", near, f"{score:.5g}"),
        check("a request that the rule keeps has the edge's reply", stays, stays, True),
    ]
    if goes is not None:
        found.append(check("a request that the rule sends on has the large model's reply", goes, goes, True))
    return found


def _alone(engine: Engine, prompt: Sequence[int]) -> list[int]:
    return engine.tokens(in_full(engine, [prompt], PROBE_TOKENS))[0]


def _forced(cascade: Cascade, prompt: Sequence[int], *, escalate: bool) -> tuple[list[int], Cascaded]:
    """Return the reply to a request, and what was done with it, with a threshold beyond every score."""
    beyond = math.inf if (cascade.rule.sure == "above") == escalate else -math.inf
    cascade.threshold = beyond
    generation = cascade.prefill([prompt], PROBE_TOKENS)
    return cascade.tokens(generation)[0], cascade.cascaded()[-1]


def _of_one_pass(edge: Engine, rule: Rule, prompt: Sequence[int], reply: Sequence[int]) -> float:
    """Return the score of a reply up to the token that ended it, with what a rule sees of each token from the
    logits of one pass."""
    answer = before_end(reply, set(edge.end_ids()))
    last = min(len(answer), len(reply) - 1)
    rows = edge.logits([*prompt, *reply[:last]])[len(prompt) - 1 :]
    steps: list[Any] = rule.of_step(rows).tolist()
    return rule.of_answers(edge, [prompt], [answer], [steps], PROBE_TOKENS)[0]
