"""A small finished run on the disk, written as a run writes it: what it measured is data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

import bench
from bench.config.settings import RuntimeBlock, WorkloadBlock
from bench.pricing.reprice import price_block
from bench.results.summarise import summarise
from bench.results.summary import RUN_JSON, summary_bytes
from bench.store.files import digest
from bench.store.journal import Journal
from bench.store.replay import JOURNAL, load_record

SPEC: dict[str, Any] = {
    "name": "demo",
    "model": "smollm2-135m",
    "workload": {"requests": 6, "output_tokens": 3},
    "drift": {"text": "english", "tokens": 64, "window": 16},
    "price": {"hardware": "cloud-2vcpu-8gb", "utilisation": 1.0},
}
MODEL = {
    "kind": "package",
    "name": "smollm2-135m",
    "location": "x",
    "revision": "1",
    "weights_sha256": "ab" * 32,
}
MACHINE: dict[str, Any] = {
    "cpu_model": "fake",
    "cpu_flags_sha256": "23" * 8,
    "microcode": None,
    "cpus": 2,
    "memory_bytes": 8 * 2**30,
    "hypervisor": True,
    "kernel": "6.0",
    "architecture": "x86_64",
    "governor": None,
    "cgroup_cpu_max": None,
    "gpus": [],
    "python": "3.11.0",
    "packages": {"torch": "2.10.0", "transformers": "5.3.0"},
}
TEXT = {"name": "english", "sha256": "01" * 32, "characters": 5000}
FACTS = {
    "engine": "fake 1",
    "device": "cpu",
    "device_name": "cpu",
    "dtype": "float32",
    "vocabulary": 49152,
    "random_weights": False,
    "threads": 1,
    "kv_bytes_per_token": 64,
}


HEAD: dict[str, Any] = {
    "run_id": "run-1", "name": "demo", "schema_version": 1, "spec": SPEC, "spec_digest": digest(SPEC),
    "harness": {"version": bench.__version__, "source_sha256": "ef" * 32}, "machine": MACHINE, "text": TEXT,
    "price": price_block("cloud-2vcpu-8gb", None, 1.0, "2026-01-31"),
}  # fmt: skip


def clock() -> str:
    return "2026-01-31T12:00:00Z"


def batch(index: int, step_ms: float) -> dict[str, Any]:
    sent = index * 1_000_000_000
    stamps = [sent + round((5 + step * step_ms) * 1e6) for step in range(3)]
    return {
        "sent_ns": sent, "stamps_ns": stamps, "end_ns": stamps[-1] + 1000, "input_tokens": [4],
        "tokens": [[1, 2, 3 + index]],
    }  # fmt: skip


def window(index: int) -> dict[str, list[float]]:
    return {
        "kld": [0.01 * index, 0.02],
        "same_top": [1, index % 2],
        "ln_p_base": [-1.0, -2.0],
        "ln_p_variant": [-1.1, -2.0],
    }


def arm(journal: Journal, name: str, step_ms: float) -> None:
    """All records of a row."""

    def record(**payload: object) -> None:
        journal.append("arm", {"group": "", "name": name, **payload})

    base = name == "baseline"
    record(
        started=True, is_baseline=base, model=MODEL, runtime=RuntimeBlock(device="cpu").model_dump(),
        workload=WorkloadBlock(**SPEC["workload"]).to_json(),
        optimise=[] if base else ["prune magnitude (sparsity=0.5)"],
    )  # fmt: skip
    record(
        loaded={
            "facts": FACTS, "load_s": 1.5, "optimise_s": 0.25, "load_memory": {"peak_rss_bytes": 9000},
            "weights_bytes": 4000, "bytes_by_dtype": {"float32": 4000}, "parameters": 1000, "evidence": [],
        }
    )  # fmt: skip
    record(
        prompts_digest="cd" * 32,
        end_ids=[9],
        warm_up={"durations_ms": [9.0], "steady": True, "first_request_ms": 9.0},
    )
    record(solo=[batch(index, step_ms + index / 10) for index in range(6)])
    record(memory={phase: {"peak_rss_bytes": 9000.0} for phase in ("prefill", "decode")})
    if not base:
        record(duet=[{"baseline_ns": [5, 2, 2 + i % 2], "variant_ns": [5, 1, 1 + i % 2]} for i in range(6)])
        record(drift=[window(index) for index in range(6)])
    record(status="ok", reason="")


def write_journal(directory: Path, *, finished: bool = True, **head: object) -> None:
    """A baseline and a variant; ``head`` is laid over the first record."""
    with Journal.create(directory / JOURNAL, clock) as journal:
        journal.append("run_started", {**HEAD, **head})
        arm(journal, "baseline", 2.0)
        arm(journal, "pruned", 1.0)
        if finished:
            journal.append("run_finished", {})


def write_run(directory: Path) -> Path:
    """The whole directory: journal, config and summary."""
    directory.mkdir(parents=True, exist_ok=True)
    write_journal(directory)
    (directory / "spec.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False))
    content = summarise(load_record(directory)).to_json()
    (directory / RUN_JSON).write_bytes(summary_bytes(content, directory / JOURNAL))
    return directory
