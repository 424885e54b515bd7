"""Run `vllm bench serve` of the server's own environment, and read the file that it writes."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path

from peer_serving.block import Block, Job, from_first

NAME = "vllm bench serve"
OK = (0,)  # exit codes of a block that counts
FILE = "vllm.json"
DEFINED = {
    "ttft_ms": "first event with a choice − before the POST, over requests (connecting is part of it)",
    "tpot_ms": "(last event − first event) ÷ (usage.completion_tokens − 1), over requests",
    "itl_ms": "gap between events, pooled over events and not over tokens; the first token is not in it",
    "tok_per_s": "output tokens ÷ duration of the whole benchmark, until all tasks have been gathered",
    "endpoint": "/v1/completions; random token ids, decoded with the tokenizer before the load",
}  # fmt: skip


def command(python: str, job: Job) -> list[str]:
    """Return the command of a block: no request before the first, no end of sequence, temperature 0."""
    return [
        str(Path(python).with_name("vllm")), "bench", "serve", "--backend", "openai", "--base-url", job.url,
        "--endpoint", "/v1/completions", "--model", str(job.tokenizer), "--served-model-name", job.model,
        "--tokenizer", str(job.tokenizer), "--dataset-name", "random",
        "--random-input-len", str(job.input_tokens), "--random-range-ratio", "0",
        "--random-output-len", str(job.output_tokens), "--random-prefix-len", "0",
        "--num-prompts", str(job.requests), "--max-concurrency", str(job.users), "--ignore-eos",
        "--temperature", "0", "--seed", str(job.seed), "--ready-check-timeout-sec", "0", "--disable-tqdm",
        "--save-result", "--save-detailed", "--result-dir", str(job.place), "--result-filename", FILE,
    ]  # fmt: skip


def read(job: Job) -> Block:
    """Return what it wrote. An event here is one token: vLLM sends them one at a time."""
    found = json.loads((job.place / FILE).read_text())
    rows = zip(
        *(found[key] for key in ("start_times", "ttfts", "itls", "input_lens", "output_lens")), strict=True
    )
    times = []
    for start, ttft, itl, n_in, n_out in rows:
        events = list(accumulate(itl, initial=start + ttft))
        times.append((start, events, events[-1], n_in, n_out))
    printed = {key: found[f"mean_{key}"] for key in ("ttft_ms", "tpot_ms", "itl_ms")}
    return Block({**printed, "tok_per_s": found["output_throughput"]}, from_first(times, every=True),
                 {"duration_s": found["duration"], "failed": found["failed"]})  # fmt: skip
