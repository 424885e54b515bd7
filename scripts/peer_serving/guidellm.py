"""Run guidellm 0.8 on prompts of a file, and read the file that it writes."""

from __future__ import annotations

import json
from pathlib import Path

from peer_serving.block import Block, Job, from_first

NAME = "guidellm"
OK = (0,)
FILE = "guidellm.json"
DEFINED = {
    "ttft_ms": "first line with text − start of writing the headers (connecting is not in it)",
    "tpot_ms": "(last token − start) ÷ n_out, tokens weigh alike: the time to the first token is in it",
    "itl_ms": "(last − first token) ÷ (n_out − 1) of a request, further tokens weigh alike; no single gaps",
    "tok_per_s": "mean of its rate of tokens over the time of the benchmark",
    "endpoint": "/v1/completions with continuous_usage_stats (more bytes in each event); prompts from a file",
}  # fmt: skip


def command(python: str, job: Job) -> list[str]:
    """Return the command of a block. It asks for ``ignore_eos`` itself where a row says how many tokens."""
    data = job.place / "prompts.jsonl"
    rows = ({"prompt": prompt, "output_tokens_count": job.output_tokens} for prompt in job.prompts)
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    backend = {"kind": "openai_http", "target": job.url, "model": job.model,
               "request_format": "/v1/completions", "extras": {"body": {"temperature": 0}}}  # fmt: skip
    return [
        str(Path(python).with_name("guidellm")), "run", "--backend", json.dumps(backend),
        "--profile", f"kind=constant,rate={job.rate}" if job.rate else f"kind=concurrent,streams={job.users}",
        "--constraint", f"kind=max_requests,count={job.requests}",
        "--tokenizer", f"kind=huggingface_auto,model={job.tokenizer}",
        "--data", f"kind=json_file,path={data}",
        "--output", f"kind=json,path={job.place / FILE}", "--disable-console-interactive",
    ]  # fmt: skip


def read(job: Job) -> Block:
    """Return what it wrote. It keeps the times of the first and the last token only."""
    (found,) = json.loads((job.place / FILE).read_text())["benchmarks"]
    requests = found["requests"]
    times, waits = [], []
    for one in requests["successful"]:
        at, n_in, n_out = one["info"]["timings"], one["prompt_tokens"], one["output_tokens"]
        events = (at["first_token_iteration"], at["last_token_iteration"])
        times.append((at["request_start"], events, at["request_end"], n_in, n_out))
        waits.append(1e3 * (at["request_start"] - at["targeted_start"]))
    printed = {name: found["metrics"][key]["successful"]["mean"] for name, key in KEYS.items()}
    lost = {key: len(requests[key]) for key in ("errored", "incomplete")}
    more = {"lost": lost, "late_ms": waits, "warnings": found["warnings"]}
    return Block(printed, from_first(times, every=False), more)


def starts(job: Job) -> list[float]:
    """Return when each request was sent, in seconds."""
    (found,) = json.loads((job.place / FILE).read_text())["benchmarks"]
    return [one["request_start_time"] for one in found["requests"]["successful"]]


KEYS = {
    "ttft_ms": "time_to_first_token_ms", "tpot_ms": "time_per_output_token_ms",
    "itl_ms": "inter_token_latency_ms", "tok_per_s": "output_tokens_per_second",
}  # fmt: skip
