"""A plain loop, nothing of the harness: run in its own process with a worker's environment.

``bare.py forward DIR DTYPE`` prints seconds of bare forward passes over windows of random ids;
``bare.py decode DIR DTYPE IN OUT TIMES`` prints decode tokens per second of a plain transformers loop.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

import torch
from transformers import AutoModelForCausalLM, DynamicCache


def forward(model, starts: int, window: int) -> float:
    ids = torch.randint(
        0, model.config.vocab_size, (starts, window), generator=torch.Generator().manual_seed(0)
    )
    model(input_ids=ids[:1], use_cache=False)
    begin = perf_counter()
    for row in ids:
        model(input_ids=row[None], use_cache=False)
    return perf_counter() - begin


def decode(model, n_in: int, n_out: int, times: int) -> list[float]:
    rates = []
    for number in range(times + 1):
        ids = torch.randint(
            0, model.config.vocab_size, (1, n_in), generator=torch.Generator().manual_seed(number)
        )
        cache = DynamicCache(config=model.config)
        token = (
            model(input_ids=ids, past_key_values=cache, logits_to_keep=1)
            .logits[:, -1]
            .argmax(-1, keepdim=True)
        )
        begin = perf_counter()
        for _ in range(n_out - 1):
            out = model(input_ids=token, past_key_values=cache, logits_to_keep=1)
            token = out.logits[:, -1].argmax(-1, keepdim=True)
        rates.append((n_out - 1) / (perf_counter() - begin))
    return rates[1:]


def main() -> None:
    what, directory, dtype, *numbers = sys.argv[1:]
    torch.set_num_threads(2)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=getattr(torch, dtype)).eval()
    with torch.inference_mode():
        print(json.dumps({"forward": forward, "decode": decode}[what](model, *map(int, numbers))))


if __name__ == "__main__":
    main()
