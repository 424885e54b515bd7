"""Do two runs agree? The cost ratios of two run.json side by side, with no code of the harness.

    python repeat.py 2026-11-25-second/run.json 2026-11-26/run.json
    python repeat.py 2026-11-25/run.json 2026-11-25-second/run.json bnb-int8 bnb-nf4 bnb-fp4

Names after the files are left out: in the first run a fault kept bitsandbytes' kernels from use.
Two counts: rows whose log ratios are no further apart than their two 95 % intervals together allow,
|difference| <= sqrt(half-width² + half-width²); and the same with the 5 % (sd, of each run) added that the
harness gives ratios not measured side by side. By chance alone one row in twenty is apart.
"""

import json
import math
import sys
from pathlib import Path

APART_IN_TIME_SD = 0.05


def ratios(run_file):
    """{variant: (ratio, low, high)} of cost per request against the baseline."""
    return {
        row["variant"]: (row["ratio"], row["ci_low"], row["ci_high"])
        for row in json.loads(Path(run_file).read_text())["comparisons"]
        if row["metric"] == "cost_per_request_usd"
    }


def main(first_file, second_file, *left_out):
    first, second = ratios(first_file), ratios(second_file)
    both = [name for name in first if name in second and name not in left_out]
    counts = {"within": 0, "within, hours apart": 0, "APART": 0}
    moved = []
    for name in both:
        (a, a_low, a_high), (b, b_low, b_high) = first[name], second[name]
        allowed = math.hypot(math.log(a_high / a_low) / 2, math.log(b_high / b_low) / 2)
        change = math.log(b / a)
        apart_in_time = math.hypot(allowed, 1.96 * APART_IN_TIME_SD * math.sqrt(2))
        word = list(counts)[(abs(change) > allowed) + (abs(change) > apart_in_time)]
        counts[word] += 1
        moved.append(abs(change))
        print(
            f"{name:20} {a:7.3f} [{a_low:.3f}, {a_high:.3f}]  {b:7.3f} [{b_low:.3f}, {b_high:.3f}]  "
            f"{100 * math.expm1(change):+6.1f} %  {word}"
        )
    print(f"{len(both)} rows: {counts}; median change {100 * sorted(moved)[len(moved) // 2]:.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
