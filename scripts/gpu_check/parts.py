"""The parts of scripts/gpu-check, the most telling first. Each returns what it asked and what it reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from gpu_check.gates import gate
from gpu_check.rows import drift, mbu, memory_and_energy, schemes, serving
from gpu_check.setting import ROOT, Setting
from gpu_check.sheet import Found
from gpu_check.timing import aa, aa_rows, designs, plain_loop, ratio, untouched

Run = Callable[[Setting, Mapping[str, Any]], Found]
VARIANTS_A_PART = 4


@dataclass(frozen=True)
class Part:
    """One part: what it shows, in a line, and the function that does it; ``kept`` of an earlier, unfinished
    run is its second argument."""

    shows: str
    run: Run


def _named(config: str) -> list[str]:
    """Return the names of a shipped config's variants."""
    return [
        one["name"]
        for one in yaml.safe_load((ROOT / "configs" / config).read_text(encoding="utf-8"))["variants"]
    ]


def _quantisation() -> dict[str, Part]:
    names = _named("quantisation-gpu.yaml")
    groups = [names[i : i + VARIANTS_A_PART] for i in range(0, len(names), VARIANTS_A_PART)]
    return {
        f"quantisation-{number}": Part(
            f"speed, memory and kernels on the 8B shape: {', '.join(group)}",
            schemes(group, "quantisation-gpu.yaml", short=True),
        )
        for number, group in enumerate(groups, 1)
    }


PARTS: dict[str, Part] = {
    "plain-8b-compiled": Part(
        "harness ÷ plain loop, 8B shape, compiled, batch 1 and 16", plain_loop("8B shape", ["compiled"])
    ),
    "plain-8b-eager": Part(
        "harness ÷ plain loop, 8B shape, eager, batch 1 and 16", plain_loop("8B shape", ["eager"])
    ),
    "aa": Part("A/A at 8B: half width of the interval, and its seconds", aa),
    "ratio-compiled": Part("compiled ÷ eager against plain loops", ratio("compiled")),
    "ratio-nf4": Part("bnb-nf4 ÷ bf16 against plain loops", ratio("nf4")),
    "ratio-partner": Part(
        "compiled ÷ eager, both beside bnb-nf4, against plain loops", ratio("compiled", between="nf4")
    ),
    "untouched": Part(
        "a step before and after what the harness does to a process; the profile's effect", untouched
    ),
    "designs": Part("compiled ÷ eager by each design, against plain loops", designs),
    "mbu": Part("share of the memory's bandwidth of a compiled step in bfloat16", mbu),
    "memory-energy": Part("memory and energy of a row against the driver's totals", memory_and_energy),
    "plain-small": Part(
        "harness ÷ plain loop, SmolLM2's shape, eager and compiled, batch 1 and 16",
        plain_loop("SmolLM2 shape", ["eager", "compiled"]),
    ),
    "sparsity": Part(
        "2:4 sparse kernels against the same zeros in dense ones",
        schemes(["2of4-dense", "2of4-kernels"], "pruning-gpu.yaml"),
    ),
    **_quantisation(),
    "drift": Part("drift of schemes on SmolLM2 against the committed run on a CPU", drift),
    "serving": Part("a serving engine under `bench load`, if one is installed", serving),
    "aa-rows": Part("20 A/A rows: their mean, none told apart (run it until it is finished)", aa_rows),
    "gate-layer": Part(
        "40 gates with a 33rd layer: how many find it (run it until it is finished)", gate("layer")
    ),
    "gate-aa": Part("60 A/A gates: none fails (run it until it is finished)", gate("aa")),
}
