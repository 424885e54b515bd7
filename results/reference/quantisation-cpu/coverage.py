"""Do the intervals of one run hold what the other runs found? Standard library alone, no code of the harness.

    python coverage.py RUN/run.json RUN/run.json RUN/run.json …

For every row that at least three of the runs have: the cost ratio of each run, and whether its 95 % interval
holds the median of the other runs. The median errs as the interval does, so that even right intervals hold it
less often than 95 times in 100: the last line says how often, by simulation with normal errors. Rows that
were not measured in a run are named and not counted.
"""

import json
import random
import statistics
import sys
from pathlib import Path

LEAST_RUNS = 3


def ratios(run_file):
    """Return {variant: (ratio, low, high)} of the cost per request against the baseline."""
    return {
        row["variant"]: (row["ratio"], row["ci_low"], row["ci_high"])
        for row in json.loads(Path(run_file).read_text())["comparisons"]
        if row["metric"] == "cost_per_request_usd"
    }


def if_right(runs, trials=50_000):
    """Return how often an interval of ± 1.96 standard errors holds the median of the other runs."""
    draw = random.Random(0).gauss
    held = 0
    for _ in range(trials):
        others = statistics.median(draw(0, 1) for _ in range(runs - 1))
        held += abs(draw(0, 1) - others) <= 1.96
    return held / trials


def main(*run_files):
    runs = [ratios(file) for file in run_files]
    names = list(dict.fromkeys(name for run in runs for name in run))
    held = counted = 0
    for name in names:
        found = [run[name] for run in runs if name in run]
        if len(found) < LEAST_RUNS:
            print(f"{name:20} in {len(found)} of {len(runs)} runs only")
            continue
        cells = []
        for place, (ratio, low, high) in enumerate(found):
            others = statistics.median(other[0] for at, other in enumerate(found) if at != place)
            holds = low <= others <= high
            held, counted = held + holds, counted + 1
            cells.append(f"{ratio:.3f} [{low:.3f}, {high:.3f}]{' ' if holds else '!'}")
        print(f"{name:20} " + "  ".join(cells))
    if not counted:
        print(f"no row is in {LEAST_RUNS} runs")
        return 2
    print(f"{held} of {counted} intervals ({100 * held / counted:.1f} %) hold the median of the other runs")
    print(f"right intervals of {len(runs)} runs would hold it in {100 * if_right(len(runs)):.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
