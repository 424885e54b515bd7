"""Decoding in turns with the baseline, whose weights pass the caches between two steps: does a scheme mind?
Steps alone and in turns, in one process on one processor, so that the machine is the same for both."""

from __future__ import annotations

import math
import os
import random
import statistics
import time
from pathlib import Path

import pytest

from bench import plugins

STEPS = 16


@pytest.mark.parametrize("scheme", [None, "torch-int8-dynamic", "bnb-nf4", "bnb-int8"])
def test_steps_in_turns_beside_steps_alone(benchmark, model_directory: Path, scheme: str | None) -> None:
    """``cost_of_turns``: (ratio to the baseline in turns) / (ratio alone), median of rounds, and its standard
    error in log units."""
    import torch
    import transformers

    everywhere, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {max(everywhere)})
    torch.set_num_threads(1)
    models = [transformers.AutoModelForCausalLM.from_pretrained(model_directory).eval() for _ in range(2)]
    if scheme is not None:
        module = plugins.load("optimisations.quantise", scheme)
        models[1] = module.apply(models[1], module.Params()).eval()
    prompt, token, rng = torch.arange(100, 164)[None], torch.tensor([[5]]), random.Random(0)
    with torch.inference_mode():
        caches = [model(prompt).past_key_values for model in models]
    rounds: list[float] = []

    def step(which: int) -> float:
        began = time.perf_counter()
        models[which](token, past_key_values=caches[which])
        return time.perf_counter() - began

    def block(turns: list[tuple[int, ...]]) -> list[float]:
        """Mean seconds a step of each model (nan for one without a turn)."""
        took: tuple[list[float], ...] = ([], [])
        for cache in caches:
            cache.crop(prompt.shape[1])
        for turn in turns:
            for which in turn:
                took[which].append(step(which))
        return [statistics.fmean(one) if one else math.nan for one in took]

    def one_round() -> None:
        found: dict[str, list[float]] = {}
        for name in rng.sample(["baseline", "scheme", "turns"], 3):
            turns: dict[str, list[tuple[int, ...]]] = {
                "baseline": [(0,)] * STEPS,
                "scheme": [(1,)] * STEPS,
                "turns": [rng.choice([(0, 1), (1, 0)]) for _ in range(STEPS)],
            }
            found[name] = block(turns[name])
        alone = found["scheme"][1] / found["baseline"][0]
        rounds.append(math.log(found["turns"][1] / found["turns"][0] / alone))

    try:
        with torch.inference_mode():
            benchmark.pedantic(one_round, rounds=23, warmup_rounds=2)
    finally:
        os.sched_setaffinity(0, everywhere)
        torch.set_num_threads(threads)
    measured = rounds[2:]
    benchmark.extra_info["cost_of_turns"] = math.exp(statistics.median(measured))
    benchmark.extra_info["standard_error"] = statistics.stdev(measured) / len(measured) ** 0.5
