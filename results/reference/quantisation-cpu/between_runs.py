"""How far does a row's cost ratio move between runs, beyond its interval? NumPy, no code of the harness.

    python between_runs.py RUN/run.json RUN/run.json …

The log ratio of a row in run i is μ + bᵢ + eᵢ: eᵢ has the standard error of the interval (half width ÷ 1.96),
and b the standard deviation τ, one for each kind of scheme. μ is integrated out (restricted maximum
likelihood). The bounds are those of the profile likelihood, from a grid up to 0.3. A scheme whose intervals
hold τ already (docs/decisions/0025) should show 0.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np

TAUS = np.linspace(0, 0.3, 3001)
WITHIN = 3.841 / 2  # of the log likelihood: χ² with one degree of freedom, 95 %


def log_ratios(run_files):
    """Return {variant: [(log ratio, standard error) of each run]}."""
    rows = {}
    for file in run_files:
        for row in json.loads(Path(file).read_text())["comparisons"]:
            if row["metric"] == "cost_per_request_usd":
                error = math.log(row["ci_high"] / row["ci_low"]) / 2 / 1.96
                rows.setdefault(row["variant"], []).append((math.log(row["ratio"]), error))
    return {name: found for name, found in rows.items() if len(found) > 1}


def log_likelihood(rows):
    """Return the restricted log likelihood at each τ, summed over rows."""
    total = np.zeros(len(TAUS))
    for found in rows:
        y, error = np.array(found).T
        variance = error[:, None] ** 2 + TAUS**2
        mean = (y[:, None] / variance).sum(0) / (1 / variance).sum(0)
        total -= np.log(variance).sum(0) / 2 + np.log((1 / variance).sum(0)) / 2
        total -= ((y[:, None] - mean) ** 2 / variance).sum(0) / 2
    return total


def main(*run_files):
    rows = log_ratios(run_files)
    kinds = {"all but hqq": [found for name, found in rows.items() if not name.startswith("hqq")]}
    for name, found in rows.items():
        kinds.setdefault(name.split("-")[0], []).append(found)
    print("rows              rows × runs  tau %  95 % bounds  likelihood ratio")
    for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
        likelihood = log_likelihood(found)
        best = likelihood.max()
        inside = 100 * TAUS[likelihood > best - WITHIN]
        tau = 100 * TAUS[likelihood.argmax()]
        bounds = f"{inside[0]:.1f} to {inside[-1]:.1f}"
        print(f"{kind:18}{sum(map(len, found)):11}{tau:7.1f}{bounds:>13}{2 * (best - likelihood[0]):18.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
