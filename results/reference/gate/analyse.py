#!/usr/bin/env python
"""Every verdict of the proof again, from the raw journals beside this file: NumPy and SciPy, nothing of ours.

    python results/reference/gate/analyse.py      # tables; exit 1 when a verdict differs

Written against docs/gate.md, not against the code: the test is implemented here a second time. Then the same
traces are given to the rules of other tools, and to crippled versions of our own rule ("mutants").
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

HERE = Path(__file__).parent
MARGIN, ALPHA_FAIL, ALPHA_PASS, LEAST, CAP = np.log(1.03), 0.005, 0.02, 6, 40
BETS, PRIOR, FLOOR = (0.25, 0.5, 1, 2, 4), 0.02, 0.001


# ---- the journals ----------------------------------------------------------------------------------------


def journals() -> Iterator[tuple[str, list[dict]]]:
    """(kind, closed gates) of every journal, its chain checked; a gate that was opened and never closed
    counts as an ERROR."""
    for path in sorted([*HERE.glob("*.jsonl"), *HERE.glob("*.jsonl.gz")]):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        before, opened, closed = "0" * 64, {}, {}
        for line in data.splitlines():
            record = json.loads(line)
            if record["prev"] != before:
                raise SystemExit(f"{path.name}: the chain is broken at record {record['seq']}")
            before = hashlib.sha256(line).hexdigest()
            if record["kind"] == "gate_opened":
                opened[record["index"]] = record
            if record["kind"] == "gate_closed":
                closed[record["index"]] = record
        missing = {index: {"verdict": "ERROR", "units": []} for index in opened if index not in closed}
        yield path.name.removesuffix(".gz").removesuffix(".jsonl"), list({**closed, **missing}.values())


def differences(gate: dict) -> np.ndarray:
    """ln(Σ y / Σ x) of every unit that is not void."""
    return np.array([np.log(sum(u["y_ns"]) / sum(u["x_ns"])) for u in gate["units"] if not u["void"]])


# ---- the test, a second time -----------------------------------------------------------------------------


def scale(d: np.ndarray) -> np.ndarray:
    found = np.full(len(d), PRIOR)
    for n in range(3, len(d)):
        found[n] = max(1.4826 * np.median(np.abs(d[:n] - np.median(d[:n]))), FLOOR)
    return found


def wealth(x: np.ndarray, s: np.ndarray) -> np.ndarray:
    """After each unit: the mean over the bets of Π (1 + tanh(c·x/s)), in logarithms until the end."""
    z = np.clip(np.outer(BETS, x / s), -300, 300)
    log_stakes = np.where(z > -15, np.log1p(np.tanh(np.maximum(z, -15))), 2 * z + np.log(2))
    return np.exp(np.minimum(np.cumsum(log_stakes, axis=1), 600)).mean(axis=0)


def verdict(d: np.ndarray, least: int = LEAST) -> tuple[str, int]:
    """(verdict, units it took)."""
    if len(d) == 0:
        return "INCONCLUSIVE", 0
    s = scale(d)
    against, in_favour = wealth(d, s), wealth(MARGIN - d, s)
    for n in range(least, min(len(d), CAP) + 1):
        if in_favour[n - 1] >= 1 / ALPHA_PASS:
            return "PASS", n
        if against[n - 1] >= 1 / ALPHA_FAIL:
            return "FAIL", n
    return "INCONCLUSIVE", min(len(d), CAP)


def covers(d: np.ndarray, truth: float) -> bool:
    """Whether the 99 % confidence sequence still holds ``truth`` after every unit."""
    s = scale(d)
    return bool(max(wealth(d - truth, s).max(), wealth(truth - d, s).max()) < 2 / 0.01)


# ---- the rules of others, on the same traces ---------------------------------------------------------------

Rule = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], bool]


def first(sides: Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(sides[0], float)


def pooled(sides: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(one, float) for one in sides])


def mean_3_percent(x, y) -> bool:
    """pytest-benchmark --benchmark-compare-fail=mean:3%, one process each."""
    return first(y).mean() > 1.03 * first(x).mean()


def pyperf_t(x, y) -> bool:
    """pyperf compare_to: Student's two-sample t, two-sided at 95 %, over all values of all processes."""
    return stats.ttest_ind(pooled(x), pooled(y)).pvalue < 0.05 and pooled(y).mean() > pooled(x).mean()


def welch(x, y) -> bool:
    """hyperfine's welch_ttest.py: two-sided at 5 %, one process each."""
    test = stats.ttest_ind(first(x), first(y), equal_var=False)
    return test.pvalue < 0.05 and first(y).mean() > first(x).mean()


def mann_whitney(x, y) -> bool:
    """benchstat: Mann–Whitney U at 5 %, over one mean a process."""
    means = [[np.mean(one) for one in side] for side in (x, y)]
    test = stats.mannwhitneyu(*means)
    return test.pvalue < 0.05 and np.median(means[1]) > np.median(means[0])


def criterion(x, y) -> bool:
    """Criterion.rs: t at 5 %, and the bootstrapped 95 % interval of the change above its 1 % threshold."""
    draw, a, b = np.random.default_rng(0), first(x), first(y)
    if stats.ttest_ind(a, b, equal_var=False).pvalue >= 0.05:
        return False
    means = [side[draw.integers(0, len(side), (2000, len(side)))].mean(axis=1) for side in (a, b)]
    return float(np.quantile(means[1] / means[0] - 1, 0.025)) > 0.01


PEERS: dict[str, Rule] = {
    "pytest-benchmark mean:3%": mean_3_percent,
    "pyperf t test": pyperf_t,
    "Welch (hyperfine)": welch,
    "Mann–Whitney (benchstat)": mann_whitney,
    "Criterion": criterion,
}


# ---- crippled versions of our own ------------------------------------------------------------------------


def unpaired(gate: dict) -> bool:
    """Each unit's y against the next unit's x."""
    units = [u for u in gate["units"] if not u["void"]]
    d = np.array([np.log(sum(b["y_ns"]) / sum(a["x_ns"])) for a, b in zip(units[1:], units, strict=False)])
    return verdict(d)[0] == "FAIL"


def requests_as_units(gate: dict) -> bool:
    """One process pair; its requests are taken for independent."""
    units = [u for u in gate["units"] if not u["void"]]
    pairs = [np.log(y / x) for u in units for x, y in zip(u["x_ns"], u["y_ns"], strict=True)]
    return verdict(np.array(pairs))[0] == "FAIL"


def peeking(gate: dict) -> bool:
    """A t test at 5 % after every unit from the third, stopping at the first that is significant."""
    d = differences(gate)
    return any(stats.ttest_1samp(d[:n], 0, alternative="greater").pvalue < 0.05 for n in range(3, len(d) + 1))


MUTANTS = {"no pairing": unpaired, "requests as units": requests_as_units, "peeking t test": peeking}


# ---- tables ----------------------------------------------------------------------------------------------


def share(count: int, total: int) -> str:
    """A share with its exact one-sided 95 % bound (Clopper & Pearson 1934)."""
    upper = stats.beta.ppf(0.95, count + 1, total - count) if count < total else 1.0
    return f"{count} of {total} (≤ {100 * upper:.2f} %)"


WORDS = ("FAIL", "PASS", "INCONCLUSIVE", "ERROR")


def main() -> int:
    wrong = 0
    for kind, gates in journals():
        whole = [gate for gate in gates if gate["units"]]
        judged = [gate for gate in whole if gate["verdict"] != "ERROR"]
        differ = sum(verdict(differences(gate))[0] != gate["verdict"] for gate in judged)
        wrong += differ
        print(f"\n{kind}: {len(gates)} gates; {differ} verdicts differ from the recorded ones")
        held = coverage(whole) if "-aa" in kind else ()
        for line in (*noise(whole), *outcomes(gates), *held, *others(whole)):
            print(f"  {line}")
    if wrong:
        print(f"\n{wrong} verdicts differ", file=sys.stderr)
    return int(wrong > 0)


def noise(gates: list[dict]) -> Iterator[str]:
    units = [unit for gate in gates for unit in gate["units"]]
    spread = np.concatenate([differences(gate) for gate in gates])
    middle = np.median(spread)
    robust = 1.4826 * np.median(np.abs(spread - middle))
    void, took_s = sum(bool(unit["void"]) for unit in units), np.median([unit["took_s"] for unit in units])
    yield f"{len(units)} units, {void} void, {took_s:.2f} s each; median ratio {np.exp(middle):.4f}"
    yield f"sd of a unit {100 * spread.std(ddof=1):.2f} % (robust {100 * robust:.2f} %)"


def outcomes(gates: list[dict]) -> Iterator[str]:
    counts = {word: sum(gate["verdict"] == word for gate in gates) for word in WORDS}
    took = [gate["took_s"] for gate in gates if "took_s" in gate]
    units = [len(gate["units"]) for gate in gates if gate["units"]]
    yield ", ".join(f"{word} {share(count, len(gates))}" for word, count in counts.items())
    for what, values in (("units", units), ("seconds", took)):
        yield f"{what} to a verdict: median {np.median(values):.1f}, p95 {np.quantile(values, 0.95):.1f}"


def coverage(gates: list[dict]) -> Iterator[str]:
    inside = sum(covers(differences(gate), 0.0) for gate in gates)
    yield f"the 99 % confidence sequence holds 1 in {inside} of {len(gates)} gates"


def others(gates: list[dict]) -> Iterator[str]:
    for name, rule in PEERS.items():
        sides = [[[unit[side] for unit in gate["units"]] for side in ("x_ns", "y_ns")] for gate in gates]
        yield f"{name:28} fails {sum(rule(x, y) for x, y in sides)} of {len(gates)}"
    for name, mutant in MUTANTS.items():
        yield f"mutant: {name:20} fails {sum(mutant(gate) for gate in gates)} of {len(gates)}"


if __name__ == "__main__":
    sys.exit(main())
