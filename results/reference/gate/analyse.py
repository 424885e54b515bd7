#!/usr/bin/env python
"""Every verdict of the proof again, from the raw journals beside this file: NumPy and SciPy, nothing of ours.

    python results/reference/gate/analyse.py [DIR]        # every kind in full; exit 1 when a verdict differs
    python results/reference/gate/analyse.py --table      # the table of README.md and docs/gate.md

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

MARGIN, ALPHA_FAIL, ALPHA_PASS, LEAST, CAP = np.log(1.03), 0.005, 0.02, 6, 40
BETS, PRIOR, FLOOR = (0.25, 0.5, 1, 2, 4), 0.02, 0.001
STAKES = {"slices": 0.9}  # of the gates in a directory of this name, where the journal names none
CRITICAL = stats.t.ppf(0.95, np.arange(1, CAP))  # of a one-sided t test at 5 %, by its degrees of freedom


# ---- the journals ----------------------------------------------------------------------------------------


def journals(place: Path) -> Iterator[tuple[str, list[dict]]]:
    """(kind, closed gates) of every journal in ``place``, its chain checked; a gate that was opened and never
    closed counts as an ERROR."""
    for path in sorted([*place.glob("*.jsonl"), *place.glob("*.jsonl.gz")]):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        before, opened, closed = "0" * 64, {}, {}
        stake = STAKES.get(place.resolve().name, 1.0)
        for line in data.splitlines():
            record = json.loads(line)
            if record["prev"] != before:
                raise SystemExit(f"{path.name}: the chain is broken at record {record['seq']}")
            before = hashlib.sha256(line).hexdigest()
            stake = record.get("stake", stake)  # a session names it
            record["stake"] = stake
            if record["kind"] == "gate_opened":
                opened[record["index"]] = record
            if record["kind"] == "gate_closed":
                closed[record["index"]] = record
        missing = {index: {"verdict": "ERROR", "units": []} for index in opened if index not in closed}
        yield path.name.removesuffix(".gz").removesuffix(".jsonl"), list({**closed, **missing}.values())


EXACT = {"output_tokens": 0.001, "forward_calls": 0.001, "flops": 0.01, "kv_cache_bytes": 0.01}
SAME_CONFIG = ("exact-token", "exact-call")


def exact_verdict(kind: str, gate: dict) -> str:
    """From the counters of its first unit: growth beyond the limit; for a cost, tokens or calls over 3 %."""
    counted = gate["units"][0]["counters"]
    limits = dict.fromkeys(("output_tokens", "forward_calls"), 0.03) if kind in SAME_CONFIG else EXACT
    grown = [counted["variant"][key] / counted["baseline"][key] - 1 > limit for key, limit in limits.items()]
    return "FAIL" if any(grown) else "PASS"


def differences(gate: dict) -> np.ndarray:
    """ln(Σ y / Σ x) of every unit that is not void."""
    return np.array([np.log(sum(u["y_ns"]) / sum(u["x_ns"])) for u in gate["units"] if not u["void"]])


# ---- the test, a second time -----------------------------------------------------------------------------


def scale(d: np.ndarray) -> np.ndarray:
    found = np.full(len(d), PRIOR)
    for n in range(3, len(d)):
        found[n] = max(1.4826 * np.median(np.abs(d[:n] - np.median(d[:n]))), FLOOR)
    return found


def wealth(x: np.ndarray, s: np.ndarray, stake: float) -> np.ndarray:
    """After each unit: the mean over the bets of Π (1 + w·tanh(c·x/s)), in logarithms until the end; ``w`` is
    the stake."""
    z = np.clip(np.outer(BETS, x / s), -300, 300)
    logs = np.log1p(stake * np.tanh(np.maximum(z, -15)))
    if stake == 1:
        logs = np.where(z > -15, logs, 2 * z + np.log(2))
    return np.exp(np.minimum(np.cumsum(logs, axis=1), 600)).mean(axis=0)


def verdict(d: np.ndarray, stake: float, least: int = LEAST) -> tuple[str, int]:
    """(verdict, units it took)."""
    if len(d) == 0:
        return "INCONCLUSIVE", 0
    d = d[:CAP]
    s = scale(d)
    against, in_favour = wealth(d, s, stake), wealth(MARGIN - d, s, stake)
    for n in range(least, len(d) + 1):
        if in_favour[n - 1] >= 1 / ALPHA_PASS:
            return "PASS", n
        if against[n - 1] >= 1 / ALPHA_FAIL:
            return "FAIL", n
    return "INCONCLUSIVE", len(d)


def covers(d: np.ndarray, truth: float, stake: float) -> bool:
    """Whether the 99 % confidence sequence still holds ``truth`` after every unit."""
    s = scale(d)
    return bool(max(wealth(d - truth, s, stake).max(), wealth(truth - d, s, stake).max()) < 2 / 0.01)


# ---- the rules of others, on the same traces ---------------------------------------------------------------

Rule = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], bool]


def first(sides: Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(sides[0], float)


def pooled(sides: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(one, float) for one in sides])


def means(sides: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([np.mean(one) for one in sides])


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
    test = stats.mannwhitneyu(means(x), means(y))
    return test.pvalue < 0.05 and np.median(means(y)) > np.median(means(x))


def criterion(x, y) -> bool:
    """Criterion.rs: t at 5 %, and the bootstrapped 95 % interval of the change above its 1 % threshold."""
    draw, a, b = np.random.default_rng(0), first(x), first(y)
    if stats.ttest_ind(a, b, equal_var=False).pvalue >= 0.05:
        return False
    drawn = [side[draw.integers(0, len(side), (2000, len(side)))].mean(axis=1) for side in (a, b)]
    return float(np.quantile(drawn[1] / drawn[0] - 1, 0.025)) > 0.01


def benchmatrix(x, y) -> bool:
    """benchmatrix 1.2.1, threshold 3 %: the paired BCa interval (95 %) of the ratio of the medians of the
    processes' means, all of it beyond the threshold; at least 5 processes."""
    a, b = means(x), means(y)
    if len(a) < 5 or np.allclose(a, b):
        return False

    def ratio(of_x, of_y, axis=-1):
        return np.median(of_y, axis=axis) / np.median(of_x, axis=axis)

    found = stats.bootstrap(
        (a, b), ratio, paired=True, vectorized=True, n_resamples=2000, rng=np.random.default_rng(0)
    )
    return bool(found.confidence_interval.low > 1.03)


def inference_doctor(x, y) -> bool:
    """inference-doctor 0.4.1, threshold 3 %: the processes' means vary by at most 5 % on either side (else
    INCONCLUSIVE), and the mean of them is at least 3 % worse."""
    a, b = means(x), means(y)
    stable = all(side.std(ddof=1) <= 0.05 * side.mean() for side in (a, b))
    return bool(stable and b.mean() >= 1.03 * a.mean())


PEERS: dict[str, Rule] = {
    "pytest-benchmark mean:3%": mean_3_percent,
    "pyperf t test": pyperf_t,
    "Welch (hyperfine)": welch,
    "Mann–Whitney (benchstat)": mann_whitney,
    "Criterion": criterion,
    "benchmatrix 3 %": benchmatrix,
    "inference-doctor 3 %": inference_doctor,
}


# ---- crippled versions of our own ------------------------------------------------------------------------


def unpaired(gate: dict) -> bool:
    """Each unit's y against the next unit's x."""
    units = [u for u in gate["units"] if not u["void"]]
    d = np.array([np.log(sum(b["y_ns"]) / sum(a["x_ns"])) for a, b in zip(units[1:], units, strict=False)])
    return verdict(d, gate["stake"])[0] == "FAIL"


def requests_as_units(gate: dict) -> bool:
    """One process pair; its requests are taken for independent."""
    units = [u for u in gate["units"] if not u["void"]]
    pairs = [np.log(y / x) for u in units for x, y in zip(u["x_ns"], u["y_ns"], strict=True)]
    return verdict(np.array(pairs), gate["stake"])[0] == "FAIL"


def peeking(gate: dict) -> bool:
    """A t test at 5 % after every unit from the third, stopping at the first that is significant."""
    d = differences(gate)
    looks = [(n, d[:n].mean() / (d[:n].std(ddof=1) / np.sqrt(n))) for n in range(3, len(d) + 1)]
    return any(t > CRITICAL[n - 2] for n, t in looks)


MUTANTS = {"no pairing": unpaired, "requests as units": requests_as_units, "peeking t test": peeking}


# ---- tables ----------------------------------------------------------------------------------------------

WORDS = ("FAIL", "PASS", "INCONCLUSIVE", "ERROR")
COLUMNS = {
    "toy-aa": "A/A",
    "toy-aa-neighbour": "A/A, neighbour",
    "real-aa": "A/A, real model",
    "toy-plus3": "+3 %",
    "real-plus3": "+3 %, real model",
    "toy-sporadic": "5 % of requests +60 %",
}
Journals = dict[str, list[dict]]


def share(count: int, total: int) -> str:
    """A share with its exact one-sided 95 % bound (Clopper & Pearson 1934)."""
    upper = stats.beta.ppf(0.95, count + 1, total - count) if count < total else 1.0
    return f"{count} of {total} (≤ {100 * upper:.2f} %)"


def again(kind: str, gate: dict) -> str:
    """The verdict of a gate, made here."""
    return (
        exact_verdict(kind, gate)
        if kind.startswith("exact")
        else verdict(differences(gate), gate["stake"])[0]
    )


def report(found: Journals) -> int:
    """Everything about every kind; how many verdicts differ."""
    wrong = 0
    for kind, gates in found.items():
        whole = [gate for gate in gates if gate["units"]]
        judged = [gate for gate in whole if gate["verdict"] != "ERROR"]
        differ = sum(again(kind, gate) != gate["verdict"] for gate in judged)
        wrong += differ
        print(f"\n{kind}: {len(gates)} gates; {differ} verdicts differ from the recorded ones")
        lines = list(outcomes(gates))
        if not kind.startswith("exact"):
            lines += [*noise(whole), *(coverage(whole) if "-aa" in kind else ()), *others(whole)]
        for line in lines:
            print(f"  {line}")
    return wrong


def noise(gates: list[dict]) -> Iterator[str]:
    units = [unit for gate in gates for unit in gate["units"]]
    spread = np.concatenate([differences(gate) for gate in gates])
    middle = np.median(spread)
    robust = 1.4826 * np.median(np.abs(spread - middle))
    void, took_s = sum(bool(unit["void"]) for unit in units), np.median([unit["took_s"] for unit in units])
    yield f"{len(units)} units, {void} void, {took_s:.2f} s each; median ratio {np.exp(middle):.4f}"
    yield f"sd of a unit {100 * spread.std(ddof=1):.2f} % (robust {100 * robust:.2f} %)"
    if "work_ratio" in gates[0]:
        yield f"multiplications of y ÷ x: {gates[0]['work_ratio']:.4f}"


def outcomes(gates: list[dict]) -> Iterator[str]:
    counts = {word: sum(gate["verdict"] == word for gate in gates) for word in WORDS}
    took = [gate["took_s"] for gate in gates if "took_s" in gate]
    units = [len(gate["units"]) for gate in gates if gate["units"]]
    yield ", ".join(f"{word} {share(count, len(gates))}" for word, count in counts.items())
    for what, values in (("units", units), ("seconds", took)):
        yield f"{what} to a verdict: median {np.median(values):.1f}, p95 {np.quantile(values, 0.95):.1f}"


def coverage(gates: list[dict]) -> Iterator[str]:
    inside = sum(covers(differences(gate), 0.0, gate["stake"]) for gate in gates)
    yield f"the 99 % confidence sequence holds 1 in {inside} of {len(gates)} gates"


def failed_by(gates: list[dict]) -> Iterator[tuple[str, int]]:
    """(rule, how many of these gates it fails): the rules of other tools, then our own built wrong."""
    sides = [
        [[unit[side] for unit in gate["units"] if not unit["void"]] for side in ("x_ns", "y_ns")]
        for gate in gates
    ]
    for name, rule in PEERS.items():
        yield name, sum(rule(x, y) for x, y in sides)
    for name, mutant in MUTANTS.items():
        yield f"ours, {name}", sum(mutant(gate) for gate in gates)


def others(gates: list[dict]) -> Iterator[str]:
    for name, failed in failed_by(gates):
        yield f"{name:28} fails {failed} of {len(gates)}"


def table(found: Journals) -> str:
    """A row a rule, a column a kind: the share of gates that it fails, as Markdown."""
    kinds = [kind for kind in COLUMNS if kind in found]
    ours = {kind: sum(gate["verdict"] == "FAIL" for gate in found[kind]) for kind in kinds}
    rows = {"**bench gate**": ours}
    for kind in kinds:
        for name, failed in failed_by([gate for gate in found[kind] if gate["units"]]):
            rows.setdefault(name, {})[kind] = failed
    lines = ["| share of gates that FAIL | " + " | ".join(COLUMNS[kind] for kind in kinds) + " |"]
    lines.append("|:---|" + "---:|" * len(kinds))
    lines.append("| gates | " + " | ".join(str(len(found[kind])) for kind in kinds) + " |")
    lines.append("| should be | " + " | ".join("0 %" if "-aa" in kind else "100 %" for kind in kinds) + " |")
    for name, row in rows.items():
        lines.append(
            f"| {name} | "
            + " | ".join(f"{100 * row[kind] / len(found[kind]):.1f} %" for kind in kinds)
            + " |"
        )
    return "\n".join(lines)


def main() -> int:
    given = [one for one in sys.argv[1:] if one != "--table"]
    found = dict(journals(Path(given[0]) if given else Path(__file__).parent))
    if "--table" in sys.argv:
        print(table(found))
        return 0
    wrong = report(found)
    if wrong:
        print(f"\n{wrong} verdicts differ", file=sys.stderr)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
