"""Run `bench load` as a user does, and read its journal."""

from __future__ import annotations

import json
import sys

from bench.serving import record
from peer_serving.block import Block, Job, from_first

NAME = "ours"
OK = (0, 5)  # exit codes of a block that counts; 5: the client was late, which the row says
DEFINED = {
    "ttft_ms": "first event with text − sent, over requests (connecting is part of it)",
    "tpot_ms": "(last − first event) ÷ (n_out − tokens of the first event), over requests",
    "itl_ms": "gap between events ÷ tokens of the event, pooled over tokens; the first token is not in it",
    "tok_per_s": "output tokens ÷ (last end of a stream − first sent)",
    "endpoint": "/v1/completions; prompts are fitted by the server's /tokenize before the load",
}  # fmt: skip


def command(_python: str, job: Job) -> list[str]:
    """Return the command of a block. Its warm-up is off, so that each client sends equally many requests."""
    return [
        sys.executable, "-m", "bench", "load", job.url, "--model", job.model, "--users", str(job.users),
        "--requests", str(job.requests), "--input-tokens", str(job.input_tokens),
        "--output-tokens", str(job.output_tokens), "--ignore-eos", "--warm-up", "0", "--seed", str(job.seed),
        "--out", str(job.place), "--json", "--quiet",
    ]  # fmt: skip


def read(job: Job) -> Block:
    """Return what it wrote."""
    (directory,) = (one.parent for one in job.place.rglob(record.JOURNAL))
    done = record.again(directory, {})
    figures = json.loads((directory / record.SUMMARY).read_text())["figures"]
    mean = {key: figures[key].get("mean", figures[key].get("value")) for key in KEYS.values()}
    times = [
        (one.sent_ns / 1e9, [at / 1e9 for at in one.events_ns], one.end_ns / 1e9, one.n_in, one.n_out)
        for one in done.load.samples
        if one.ok
    ]
    return Block({name: mean[key] for name, key in KEYS.items()}, from_first(times, every=True),
                 {"client": done.load.client.to_json(), "invalid": list(done.load.invalid)})  # fmt: skip


KEYS = {"ttft_ms": "ttft_ms", "tpot_ms": "tpot_ms", "itl_ms": "itl_ms", "tok_per_s": "output_throughput"}
