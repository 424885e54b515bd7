"""What a part of the check found, how it is kept, and how all are summed up. Nothing is measured here."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

Status = Literal["pass", "fail", "skipped", "unfinished"]


@dataclass(frozen=True)
class Figure:
    """One figure: what was asked of it, what was reached. ``met`` is None for one that is only shown."""

    name: str
    asked: str
    reached: str
    met: bool | None = None


@dataclass(frozen=True)
class Found:
    """The result of a part. ``kept`` is what an unfinished part goes on from the next time."""

    status: Status
    figures: tuple[Figure, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    card: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    small: bool = False
    kept: Mapping[str, Any] = field(default_factory=dict)


def judged(figures: Sequence[Figure], **more: Any) -> Found:
    """Return a part that passes if no figure misses what was asked of it, and at least one was asked."""
    asked = [one.met for one in figures if one.met is not None]
    return Found("pass" if asked and all(asked) else "fail", tuple(figures), **more)


def skipped(reason: str) -> Found:
    """Return a part that cannot run here."""
    return Found("skipped", reason=reason)


def within(name: str, value: float, low: float, high: float) -> Figure:
    """Return a figure that has to lie between two bounds."""
    return Figure(name, f"{low:g} to {high:g}", f"{value:.4f}", low <= value <= high)


def at_least(name: str, value: float, least: float) -> Figure:
    """Return a figure that has to reach a bound."""
    return Figure(name, f"at least {least:g}", f"{value:.4f}", value >= least)


def at_most(name: str, value: float, most: float) -> Figure:
    """Return a figure that may not exceed a bound."""
    return Figure(name, f"at most {most:g}", f"{value:.4f}", value <= most)


def shown(name: str, reached: str) -> Figure:
    """Return a figure of which nothing is asked."""
    return Figure(name, "shown", reached)


def ratio_of_medians(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """Return the median over requests of the median step, ours ÷ theirs."""
    return typical(ours) / typical(theirs)


def typical(requests: Sequence[Sequence[float]]) -> float:
    """Return the median over requests of the median step of each."""
    return statistics.median(statistics.median(steps) for steps in requests)


def aa_figures(ratios: Sequence[float], verdicts: Sequence[str]) -> list[Figure]:
    """Judge rows in which nothing differs: the mean of their logarithms, and that none is told apart."""
    mean = math.exp(statistics.fmean(math.log(one) for one in ratios))
    told = sum(verdict in ("better", "worse") for verdict in verdicts)
    return [
        within(f"mean ratio of {len(ratios)} A/A rows", mean, 0.995, 1.005),
        at_most("A/A rows called better or worse", told, 0),
    ]


def gate_figures(kind: str, verdicts: Sequence[str]) -> list[Figure]:
    """Judge gates of known truth: none of those in which nothing differs fails, 95 % of the others do."""
    fails = sum(verdict == "FAIL" for verdict in verdicts)
    if kind == "aa":
        return [at_most(f"FAIL in {len(verdicts)} A/A gates", fails, 0)]
    return [at_least(f"share of {len(verdicts)} gates that find one more layer", fails / len(verdicts), 0.95)]


# ---- on the disk ---------------------------------------------------------------------------------


def write(path: Path, found: Found) -> None:
    """Write a part's result, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    temporary.replace(path)


def read(path: Path) -> Found | None:
    """Read a part's result; None if it was not run, or if what is there is no result."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Found(**{**raw, "figures": tuple(Figure(**one) for one in raw["figures"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def usable(found: Found | None, card: str, versions: Mapping[str, str], *, small: bool) -> Found | None:
    """Return an earlier result if it is of this card, these versions and this size; else None."""
    same = found is not None and (found.card, dict(found.versions), found.small) == (
        card,
        dict(versions),
        small,
    )
    return found if same else None


def page(name: str, found: Found) -> str:
    """Return one part as it is printed: its status, then each figure."""
    lines = [f"{found.status.upper():10} {name}  ({found.seconds:.0f} s, {found.card})"]
    lines += [f"             {found.reason}"] if found.reason else []
    for one in found.figures:
        mark = {True: "ok ", False: "NO ", None: "   "}[one.met]
        lines.append(f"         {mark} {one.name}: asked {one.asked}, reached {one.reached}")
    return "\n".join(lines)


def summary(names: Sequence[str], out: Path) -> tuple[str, bool]:
    """Return the table of all parts, and whether all of those that could run have passed."""
    every = {name: read(out / f"{name}.json") for name in names}
    lines = [f"{'part':22} {'result':11} {'seconds':>7}  figures met"]
    for name, found in every.items():
        if found is None:
            lines.append(f"{name:22} {'not run':11}")
            continue
        asked = [one.met for one in found.figures if one.met is not None]
        met = f"{sum(asked)} of {len(asked)}" if asked else found.reason[:70]
        lines.append(f"{name:22} {found.status:11} {found.seconds:7.0f}  {met}")
    good = all(found is not None and found.status in ("pass", "skipped") for found in every.values())
    return "\n".join(lines), good


def timed(found: Found, seconds: float, card: str, versions: Mapping[str, str], *, small: bool) -> Found:
    """Return a result with what it was made on."""
    spent = seconds + float(found.kept.get("seconds_before", 0.0))
    return replace(found, seconds=round(spent, 1), card=card, versions=dict(versions), small=small)
