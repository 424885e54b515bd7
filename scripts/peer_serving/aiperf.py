"""Run AIPerf 0.13 on prompts of a file, and read the raw records that it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from peer_serving.block import Block, Job, from_first

NAME = "aiperf"
OK = (0,)
DEFINED = {
    "ttft_ms": "first response with content − before the POST, over requests (connecting is part of it)",
    "tpot_ms": "it has none by this name: its ITL",
    "itl_ms": "(last − first response with content) ÷ (n_out − 1), over requests: our TPOT",
    "tok_per_s": "output tokens ÷ duration, from the first request to the last response of the benchmark",
    "endpoint": "/v1/completions; prompts from a file; no telemetry; it is many processes",
}  # fmt: skip
REVISION = "0" * 40


def command(python: str, job: Job) -> list[str]:
    """Return the command of a block. Tokens are those of the server's usage."""
    data = job.place / "prompts.jsonl"
    data.write_text("".join(json.dumps({"text": prompt}) + "\n" for prompt in job.prompts))
    rate = ["--request-rate", str(job.rate), "--arrival-pattern", "constant"]
    return [
        str(Path(python).with_name("aiperf")), "profile", "--model", job.model, "--url", job.url,
        "--endpoint-type", "completions", "--streaming",
        *(rate if job.rate else ["--concurrency", str(job.users)]),
        "--request-count", str(job.requests), "--input-file", str(data),
        "--custom-dataset-type", "single_turn",
        "--dataset-sampling-strategy", "sequential", "--osl", str(job.output_tokens),
        "--extra-inputs", "ignore_eos:true", "--extra-inputs", "temperature:0", "--use-server-token-count",
        "--tokenizer", in_hub(job), "--no-gpu-telemetry", "--no-server-metrics",
        "--export-level", "records" if job.rate else "raw",
        "--output-artifact-dir", str(job.place / "artifacts"), "--ui", "none",
    ]  # fmt: skip


def in_hub(job: Job) -> str:
    """Return the name of the tokenizer: offline, AIPerf wants the cache of the hub, so it is made."""
    place = job.place / "huggingface" / "hub" / "models--local--model"
    files = place / "snapshots" / REVISION
    files.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(REVISION)
    for one in job.tokenizer.iterdir():
        if one.suffix in (".json", ".jinja"):
            (files / one.name).symlink_to(one)
    return "local/model"


def read(job: Job) -> Block:
    """Return what it wrote. An event here is one token: vLLM sends them one at a time."""
    artifacts = job.place / "artifacts"
    found = json.loads((artifacts / "profile_export_aiperf.json").read_text())
    lines = (artifacts / "profile_export_raw.jsonl").read_text().splitlines()
    records = [row for row in map(json.loads, lines) if row["status"] == 200]
    printed = {name: found[key]["avg"] for name, key in KEYS.items()}
    keys = ("request_count", "request_error_rate", "http_req_connecting", "credit_to_start_latency")
    more = {key: found[key]["avg"] for key in keys if key in found}
    return Block({**printed, "tpot_ms": None}, from_first([times(row) for row in records], every=True), more)


def starts(job: Job) -> list[float]:
    """Return when each request was sent, in seconds."""
    lines = (job.place / "artifacts" / "profile_export.jsonl").read_text().splitlines()
    return [
        row["metadata"]["request_start_ns"] / 1e9 for row in map(json.loads, lines) if not row.get("error")
    ]


def times(row: dict[str, Any]) -> tuple[float, list[float], float, int | None, int]:
    """Return the times of a raw record, in seconds."""
    events, usage = [], {"prompt_tokens": None, "completion_tokens": 0}
    for response in row["responses"]:
        for packet in response["packets"]:
            if packet["name"] == "data" and packet["value"].startswith("{"):
                said = json.loads(packet["value"])
                events += [response["perf_ns"] / 1e9] if said.get("choices") else []
                usage = said.get("usage") or usage
    end = row["responses"][-1]["perf_ns"] / 1e9
    return row["start_perf_ns"] / 1e9, events, end, usage["prompt_tokens"], usage["completion_tokens"]


KEYS = {
    "ttft_ms": "time_to_first_token", "itl_ms": "inter_token_latency", "tok_per_s": "output_token_throughput",
}  # fmt: skip
