"""Our drift of two GGUF files over the same windows, by the engine and the figures of the harness.

    python ours.py BASE.gguf VARIANT.gguf MODEL_DIRECTORY WINDOWS CONTEXT THREADS IDS.json

Writes the tokens of the windows to IDS.json. Prints the figures of all positions and of those that
llama-perplexity scores: the second half of each window.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from bench.drift.kl_and_perplexity import window_starts
from bench.engine import Options
from bench.metrics import drift_tails, output_drift
from bench.records import ArmRecord, DriftWindow, RunRecord
from bench.runtimes.llama_cpp import LlamaCppEngine
from bench.texts import read_text
from bench.worker.score import compared

POSITIONS = ("kld", "same_top", "ln_p_base", "ln_p_variant")


def main() -> None:
    """Score, print."""
    base, variant, directory, count, context, threads, out = sys.argv[1:]
    size, options = int(context), Options(device="cpu", threads=int(threads))
    engines = [LlamaCppEngine(Path(file), Path(directory), options) for file in (base, variant)]
    ids = engines[0].encode(read_text("mixed"))
    starts = window_starts(len(ids), size, int(count) * size)
    windows = [ids[start : start + size] for start in starts]
    Path(out).write_text(json.dumps(windows))
    scored = []
    for window in windows:
        one, other = (engine.logits(window)[:-1] for engine in engines)
        scored.append(compared(one, other, window[1:]))
    import llama_cpp

    halves = [second_half(window, size // 2) for window in scored]
    print(json.dumps({
        "tool": f"inference-cost-bench, llama-cpp-python {llama_cpp.__version__}", "windows": len(windows),
        "all_positions": figures(scored), "second_half": figures(halves),
    }))  # fmt: skip


def second_half(window: DriftWindow, first: int) -> DriftWindow:
    """Return the window from the prediction at place ``first`` on."""
    assert {"kld", "same_top"} <= {one.name for one in fields(window)}
    return replace(window, **{key: getattr(window, key)[first:] for key in POSITIONS})


def figures(windows: Sequence[DriftWindow]) -> dict[str, dict[str, Any]]:
    """Return value, interval and llama.cpp's standard error of every figure of the distribution."""
    arms = (
        ArmRecord("baseline", "", True, status="ok"),
        ArmRecord("variant", "", False, status="ok", drift=tuple(windows)),
    )
    run = RunRecord("", "", 1, "", None, {}, {}, "", {}, {}, {}, arms)
    found = output_drift.figures(arms[1], run) | drift_tails.figures(arms[1], run)
    return {
        key: {"value": one.value, "ci": [one.ci_low, one.ci_high], "se": one.notes.get("se")}
        for key, one in found.items()
        if one is not None
    }


if __name__ == "__main__":
    main()
