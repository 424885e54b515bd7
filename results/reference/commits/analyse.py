"""Count the verdicts of the proof with two commits as sides; SciPy alone, none of the tool's code.

python analyse.py [heavy.jsonl.gz]
"""

from __future__ import annotations

import gzip
import json
import statistics
import sys
from collections import Counter
from pathlib import Path

from scipy.stats import beta


def exact(hits: int, of: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share (Clopper and Pearson, Biometrika 1934)."""
    low = beta.ppf(0.025, hits, of - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, of - hits) if hits < of else 1.0
    return float(low), float(high)


def main(path: Path) -> None:
    """Print one line per kind of change, and the times."""
    opening = gzip.open if path.suffix == ".gz" else open
    with opening(path, "rt") as file:
        lines = [json.loads(line) for line in file]
    opened = Counter(line["opened"]["change"] for line in lines if "opened" in line)
    opened.subtract(line["stopped"]["change"] for line in lines if "stopped" in line)
    gates = [line for line in lines if "verdict" in line]
    for change, started in sorted(opened.items()):
        verdicts = Counter(str(line["verdict"]) for line in gates if line["change"] == change)
        fails = verdicts["FAIL"]
        low, high = exact(fails, started)
        units = statistics.median(
            line["units"] for line in gates if line["change"] == change and "units" in line
        )
        share = f"FAIL {fails / started:.1%} [{low:.1%}, {high:.1%}]"
        print(f"{change}: {started} gates, {dict(verdicts)}; {share}; {units:g} units (median)")
    beyond = sorted(line["beyond_units_s"] for line in gates if "beyond_units_s" in line)
    took = statistics.median(line["took_s"] for line in gates)
    middle = statistics.median(beyond)
    print(f"beyond the units: {middle:.1f} s (median), {beyond[-1]:.1f} s at most; a gate took {took:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "heavy.jsonl.gz")
