"""The run's proof, from its journals alone: every interval and verdict a second time, with NumPy and SciPy.

    python results/reference/run/analyse.py [DIRECTORY | --table]

Nothing of the harness is imported. The rule: the pair of processes is the sample; the standard deviation of
a pair's log ratio has a log-normal prior; the 95 % interval and the p-value of "no difference" come from the
posterior of the mean; better and worse are said by Holm's rule over the rows of a run, at a family-wise error
of 2 %.
"""

import gzip
import json
import math
import sys
from pathlib import Path

import numpy as np
from scipy import integrate, optimize, special, stats

# Median of a pair's standard deviation over rows, and the standard deviation of its logarithm.
SAME_KERNELS, OTHER_KERNELS = (0.012, 0.6), (0.03, 0.7)
FAMILY, MIN_PAIRS = 0.02, 4
COST = "cost_per_request_usd"

# A kind of run and the rows of it whose truth is known: the title of their column.
COLUMNS = {
    ("aa", "same"): "nothing differs",
    ("aa-neighbour", "same"): "nothing differs, beside a neighbour",
    ("aa-spread", "same"): "nothing differs, pairs spread over the run",
    ("more", "more"): "2.6 % more work",
    ("aa-shared", "same"): "nothing differs, noisy host",
    ("more-shared", "more"): "2.6 % more work, noisy host",
}


def lines(path):
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode().splitlines()]


def runs_of(directory, kind):
    """Every run that was opened, with the processor it ran on; one that never closed is None."""
    for path in (directory / f"{kind}.jsonl", directory / f"{kind}.jsonl.gz"):
        if path.exists():
            opened, closed, processor = [], {}, None
            for one in lines(path):
                if one["kind"] == "session":
                    processor = one["machine"]["cpu_model"]
                elif one["kind"] == "run_opened":
                    opened.append(one["index"])
                else:
                    closed[one["index"]] = {**one, "processor": processor}
            return [closed.get(index) for index in opened]
    return []


def posterior(x, y, median, log_sd):
    """(log ratio, half width of its 95 % interval, p of no difference) from the sums of each pair."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    n, ratio = len(x), y.sum() / x.sum()
    squares = float((((y - ratio * x) / (ratio * x.mean())) ** 2).sum())

    def weight(z):  # prior times likelihood over z, where sd = median · exp(log_sd · z)
        sd = median * np.exp(log_sd * z)
        return -z * z / 2 - (n - 1) * np.log(sd) - squares / (2 * sd * sd)

    z = np.linspace(-8, 8, 4001)
    logs = weight(z)
    w = np.exp(logs - logs.max())
    w /= integrate.trapezoid(w, z)
    error = median * np.exp(log_sd * z) / math.sqrt(n)

    def outside(distance):
        return float(integrate.trapezoid(w * special.erfc(distance / error / math.sqrt(2)), z))

    half = optimize.brentq(lambda h: outside(h) - 0.05, 0, 2)
    return math.log(ratio), half, outside(abs(math.log(ratio)))


def holm(p_values):
    found, order = [False] * len(p_values), np.argsort(p_values)
    for place, row in enumerate(order):
        if p_values[row] > FAMILY / (len(p_values) - place):
            break
        found[row] = True
    return found


def judged(run, most=None):
    """Each variant that was measured, with its log ratio, half width, p and verdict by the rule above; with
    ``most`` from its first pairs alone. They are computed once and kept in the run."""
    known = run.setdefault("judged", {})
    if most not in known:
        known[most] = judged_now(run, most)
    return known[most]


def judged_now(run, most):
    rows = []
    for row in run["rows"]:
        units = [one for one in row["units"] if not one["void"]][:most]
        if row["place"] and row["status"] == "ok" and units:
            prior = SAME_KERNELS if row["name"].startswith(("same", "more")) else OTHER_KERNELS
            sums = ([sum(one[side]) for one in units] for side in ("x_ns", "y_ns"))
            log, half, p = posterior(*sums, *prior)
            rows.append({**row, "log": log, "half": half, "p": p, "pairs": len(units)})
    for row, apart in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["verdict"] = ("better" if row["log"] < 0 else "worse") if apart else "cannot tell"
    return rows


def peers(run):
    """What others would say of the same rows, measured alone, one process each and one after the other."""
    base = next(row for row in run["rows"] if row["place"] == 0)["alone_ns"]
    for row in run["rows"]:
        if row["place"] and row["status"] == "ok":
            ours = row["alone_ns"]
            ratio = np.mean(ours) / np.mean(base)
            apart = {
                "Welch 5 %": stats.ttest_ind(ours, base, equal_var=False).pvalue < 0.05,
                "Mann-Whitney 5 %": stats.mannwhitneyu(ours, base).pvalue < 0.05,
                "mean off by 3 %": abs(math.log(ratio)) > math.log(1.03),
                "mean ± sd apart": abs(np.mean(ours) - np.mean(base)) > np.std(ours) + np.std(base),
            }
            yield row["name"], {name: bool(found) for name, found in apart.items()}, ratio


def share(part, whole):
    return f"{part} of {whole} ({100 * part / whole:.1f} %)" if whole else "none"


def slope(rows):
    """Trend of the log ratio with the row's place, per row, with a bootstrap over runs: least squares, from
    the sums of each run."""
    points = [np.array([(row["place"], row["log"]) for row in run]).T for run in rows if run]
    sums = np.array([(len(x), x.sum(), y.sum(), x @ x, x @ y) for x, y in points])

    def fit(chosen):
        n, x, y, xx, xy = chosen.sum(0)
        return (n * xy - x * y) / (n * xx - x * x)

    draw = np.random.default_rng(0)
    many = [fit(sums[draw.integers(0, len(sums), len(sums))]) for _ in range(2000)]
    return fit(sums), np.quantile(many, [0.025, 0.975])


def pair_sd(row):
    logs = [math.log(sum(one["y_ns"]) / sum(one["x_ns"])) for one in row["units"] if not one["void"]]
    return float(np.std(logs, ddof=1))


def percent(value):
    return f"{100 * value:+.2f} %"


def report_same(kind, runs):
    rows = [[row for row in judged(run) if row["name"].startswith("same")] for run in runs if run]
    flat = [row for run in rows for row in run]
    if not flat:
        return
    logs = np.array([row["log"] for row in flat])
    halves = np.array([row["half"] for row in flat])
    said = [row for row in flat if row["verdict"] != "cannot tell"]
    print(f"\n{kind}: {len(flat)} rows that change nothing, in {len(rows)} runs")
    print(f"  better or worse      {share(len(said), len(flat))}")
    whole = [any(row["verdict"] != "cannot tell" for row in run) for run in rows if run]
    print(f"  runs with such a row {share(sum(whole), len(whole))}")
    print(f"  intervals that hold 1    {share(int((abs(logs) <= halves).sum()), len(flat))}")
    error = 1.96 * logs.std(ddof=1) / math.sqrt(len(logs))
    print(f"  mean log ratio       {percent(logs.mean())} ± {percent(error)}; sd {percent(logs.std(ddof=1))}")
    print(
        f"  half widths          median {percent(np.median(halves))}, 95 % below "
        f"{percent(np.quantile(halves, 0.95))}"
    )
    sds = np.array([pair_sd(row) for row in flat])
    print(f"  sd of a pair         median {percent(np.median(sds))}, sd of its log {np.log(sds).std():.2f}")
    trend, (low, high) = slope(rows)
    print(f"  trend with place     {percent(trend)} a row [{percent(low)}, {percent(high)}]")
    same = sum(row["said"][COST]["verdict"] == row["verdict"] for row in flat)
    ours = [math.log(row["said"][COST]["ci_high"] / row["said"][COST]["ratio"]) for row in flat]
    print(
        f"  the harness said so  {share(same, len(flat))}; its half widths differ by "
        f"{percent(float(abs(np.array(ours) - halves).max()))} at most"
    )
    others = [found for run in runs if run for name, found, _ in peers(run) if name.startswith("same")]
    for name in others[0]:
        print(f"  {name:20} {share(sum(one[name] for one in others), len(others))}")


def report_more(kind, runs):
    """Rows that do more work: how many are said to, with all their pairs, and with the first four alone."""
    rows, few = (
        [row for run in runs if run for row in judged(run, most) if row["name"].startswith("more")]
        for most in (None, MIN_PAIRS)
    )
    if not rows:
        return
    work = next(run["work_ratio"] for run in runs if run)
    print(f"\n{kind}: {len(rows)} rows with a 31st layer, {percent(work - 1)} more work")
    for verdict in ("worse", "better"):
        found, of_few = (sum(row["verdict"] == verdict for row in some) for some in (rows, few))
        print(f"  {verdict:20} {share(found, len(rows))}; after {MIN_PAIRS} pairs {share(of_few, len(few))}")
    logs, pairs = ([row[key] for row in rows] for key in ("log", "pairs"))
    print(f"  mean log ratio       {percent(np.mean(logs))}; {np.mean(pairs):.1f} pairs a row")
    others = [
        (found, ratio) for run in runs if run for name, found, ratio in peers(run) if name.startswith("more")
    ]
    for name in others[0][0]:
        print(f"  {name:20} {share(sum(one[name] and ratio > 1 for one, ratio in others), len(others))}")


def report_schemes(runs):
    """Rows that differ, over the runs of one processor: how many intervals hold the others' median."""
    found = {}
    for run in filter(None, runs):
        for row in judged(run):
            if not row["name"].startswith(("same", "more")):
                found.setdefault((run["processor"], row["name"]), []).append(row)
    for (processor, name), rows in found.items():
        if len(rows) > 2:
            logs = np.array([row["log"] for row in rows])
            others = [np.median(np.delete(logs, place)) for place in range(len(logs))]
            held = sum(
                abs(row["log"] - other) <= row["half"] for row, other in zip(rows, others, strict=True)
            )
            middle = math.exp(np.median(logs))
            print(
                f"  {name:20} {middle:.3f} (median); {share(held, len(rows))} hold the others' ({processor})"
            )


def table(directory):
    """Print the shares of verdicts side by side, as the README has them. More work has to be called worse."""
    said = {}
    columns = {column: title for column, title in COLUMNS.items() if runs_of(directory, column[0])}
    for kind, prefix in columns:
        runs = [run for run in runs_of(directory, kind) if run]
        rows = [row for run in runs for row in judged(run) if row["name"].startswith(prefix)]
        others = [one for run in runs for one in peers(run) if one[0].startswith(prefix)]
        right = ("worse",) if prefix == "more" else ("better", "worse")
        found = {"**bench run**": [row["verdict"] in right for row in rows]}
        for rule in others[0][1]:
            found[rule] = [one[rule] and (prefix == "same" or ratio > 1) for _, one, ratio in others]
        said[kind] = found
    print(f"| share of rows called better or worse | {' | '.join(columns.values())} |")
    print("|:---|" + "---:|" * len(columns))
    print("| rows | " + " | ".join(str(len(found["**bench run**"])) for found in said.values()) + " |")
    print(
        "| should be | " + " | ".join("100 %" if prefix == "more" else "0 %" for _, prefix in columns) + " |"
    )
    for rule in said["aa"]:
        print(f"| {rule} | " + " | ".join(f"{np.mean(found[rule]):.1%}" for found in said.values()) + " |")


def main():
    if sys.argv[1:] == ["--table"]:
        table(Path(__file__).resolve().parent)
        return
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    for kind, _prefix in COLUMNS:
        runs = runs_of(directory, kind)
        if runs:
            took = [run["took_s"] for run in runs if run]
            unfinished = sum(run is None for run in runs)
            lost = sum(row["status"] != "ok" for run in runs if run for row in run["rows"])
            print(
                f"\n{kind}: {len(runs)} runs opened, {unfinished} never closed, {lost} rows not measured, "
                f"{sum(took) / 60:.0f} min"
            )
            report_same(kind, runs)
            report_schemes(runs)
            if kind.startswith("more"):
                report_more(kind, runs)


if __name__ == "__main__":
    main()
