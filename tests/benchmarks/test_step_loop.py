"""Our decode loop beside ``model.generate``, and what it adds to the bare model calls."""

from __future__ import annotations

import random
import statistics
from pathlib import Path
from time import perf_counter

import pytest
import torch

from bench.engine import Changed, Options
from bench.runtimes.transformers import load
from bench.worker.passes import timed_request
from bench.workloads.chat import QUESTIONS

NEW_TOKENS = 32
ROUNDS = {1: 12, 8: 6}


def generate(engine, prompts):
    """Greedy ``generate`` of exactly NEW_TOKENS tokens, left-padded as it asks for."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    with torch.inference_mode():
        out = engine.model.generate(
            ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS
        )
    return out[:, width:].tolist()


def until_end(engine, tokens):
    """Up to the first end token: ``min_new_tokens`` forbids it to ``generate``, the loop goes past it."""
    ends = [index for index, token in enumerate(tokens) if token in engine.end_ids()]
    return len(tokens) if not ends else ends[0]


def alike(engine, ours, theirs):
    """How many replies are the same up to the step loop's first end token."""
    return sum(
        a[: until_end(engine, a)] == b[: until_end(engine, a)] for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("batch", [1, 8])
def test_step_loop_beside_generate(benchmark, model_directory: Path, batch: int) -> None:
    engine = load(model_directory, Options(device="cpu", threads=2))
    prompts = [engine.encode_chat(question) for question in QUESTIONS]
    took: dict[str, list[float]] = {"ours": [], "generate": []}
    calls = {
        "ours": lambda chosen: timed_request(engine, chosen, NEW_TOKENS).tokens,
        "generate": lambda chosen: generate(engine, chosen),
    }
    rng = random.Random(0)
    number = iter(range(10_000))

    def one_round() -> None:
        start = next(number) * batch
        chosen = [prompts[(start + i) % len(prompts)] for i in range(batch)]
        for name in rng.sample(sorted(calls), 2):
            begin = perf_counter()
            calls[name](chosen)
            took[name].append(perf_counter() - begin)

    benchmark.pedantic(one_round, rounds=ROUNDS[batch], warmup_rounds=1)
    ratios = [g / o for o, g in zip(took["ours"][1:], took["generate"][1:], strict=True)]
    benchmark.extra_info["batch"] = batch
    benchmark.extra_info["generate_time_over_ours"] = statistics.median(ratios)
    same = 0
    for i in range(0, len(prompts), batch):
        chosen = prompts[i : i + batch]
        same += alike(engine, calls["ours"](chosen), calls["generate"](chosen))
    benchmark.extra_info["identical_of_32_prompts"] = same


@pytest.mark.parametrize("batch", [1, 8])
def test_harness_time_inside_a_request(benchmark, model_directory: Path, batch: int) -> None:
    """1 − Σ(model calls)/(end − sent): everything in a timed request that is not the bare forward pass."""
    engine = load(model_directory, Options(device="cpu", threads=2))
    prompts = [engine.encode_chat(question) for question in QUESTIONS[:batch]]
    model, inside = engine.model, [0.0]

    def timed_model(**arguments):
        begin = perf_counter()
        out = model(**arguments)
        inside[0] += perf_counter() - begin
        return out

    class Proxy:
        config, parameters = model.config, model.parameters

        def __call__(self, **arguments):
            return timed_model(**arguments)

    engine.change(Changed(Proxy()))
    shares: list[float] = []

    def one_request() -> None:
        inside[0] = 0.0
        timed = timed_request(engine, prompts, NEW_TOKENS)
        shares.append(1 - inside[0] * 1e9 / (timed.end_ns - timed.sent_ns))

    benchmark.pedantic(one_request, rounds=10, warmup_rounds=1)
    benchmark.extra_info["batch"] = batch
    benchmark.extra_info["harness_share"] = statistics.median(shares[1:])
