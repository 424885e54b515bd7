#!/usr/bin/env python
"""The gate's false alarms under eight kinds of noise, and those of gates that are built wrong. NumPy only.

    python results/reference/gate/simulate.py [GATES]      # 20,000 gates a row: about ten minutes

A gate is up to 40 units; a unit is 8 pairs of slots on one clock that runs through the whole gate. Both sides
do the same work. What a slot takes is exp(noise at that moment + luck of its process); who has the first slot
of a pair is a coin. The unit is d = ln(Σ y / Σ x), judged as docs/gate.md says.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

UNITS, PAIRS, LUCK = 40, 8, 0.01
MARGIN, ALPHA_FAIL, ALPHA_PASS, LEAST = np.log(1.03), 0.005, 0.02, 6
BETS, PRIOR, FLOOR = (0.25, 0.5, 1, 2, 4), 0.02, 0.001
Noise = Callable[[np.random.Generator, int], np.ndarray]


# ---- noise of the machine: [gates, slots in time] ----------------------------------------------------------


def autocorrelated(draw: np.random.Generator, gates: int) -> np.ndarray:
    """AR(1), ρ = 0.9, sd 10 %."""
    found, now = np.empty((gates, UNITS * PAIRS * 2), np.float32), draw.normal(0, 0.1, gates)
    for slot in range(found.shape[1]):
        now = 0.9 * now + draw.normal(0, 0.1 * np.sqrt(1 - 0.81), gates)
        found[:, slot] = now
    return found


def normal(draw: np.random.Generator, gates: int, sd: float = 0.04) -> np.ndarray:
    return draw.normal(0, sd, (gates, UNITS * PAIRS * 2)).astype(np.float32)


def ramp(draw: np.random.Generator, gates: int) -> np.ndarray:
    """The machine gets 50 % slower from the first slot to the last."""
    return normal(draw, gates) + np.linspace(0, 0.4, UNITS * PAIRS * 2, dtype=np.float32)


def step(draw: np.random.Generator, gates: int) -> np.ndarray:
    """From one moment on it is 30 % slower."""
    at = draw.integers(0, UNITS * PAIRS * 2, (gates, 1))
    return normal(draw, gates) + 0.26 * (np.arange(UNITS * PAIRS * 2) >= at)


def bursts(draw: np.random.Generator, gates: int) -> np.ndarray:
    """One slot in ten has 5.6 times the spread."""
    found = normal(draw, gates)
    return found * np.where(draw.random(found.shape) < 0.1, 5.6, 1.0)


def student(draw: np.random.Generator, gates: int) -> np.ndarray:
    """t with 3 degrees of freedom, scale 4 %."""
    return 0.04 * draw.standard_t(3, (gates, UNITS * PAIRS * 2))


def cauchy(draw: np.random.Generator, gates: int) -> np.ndarray:
    """Cauchy, scale 2 %: no mean, no variance. Beyond a factor of 20 it is cut."""
    return np.clip(0.02 * draw.standard_cauchy((gates, UNITS * PAIRS * 2)), -3, 3)


def second_is_slower(draw: np.random.Generator, gates: int) -> np.ndarray:
    """The second slot of every pair takes 3 % longer, whoever has it."""
    return normal(draw, gates) + 0.03 * (np.arange(UNITS * PAIRS * 2) % 2)


def two_kinds(draw: np.random.Generator, gates: int) -> np.ndarray:
    """Luck of a process: half of them are 5 % slower for their life."""
    return 0.05 * (draw.random((gates, UNITS)) < 0.5)


def one_sd(draw: np.random.Generator, gates: int) -> np.ndarray:
    """Luck of a process: normal, sd 1 %."""
    return draw.normal(0, LUCK, (gates, UNITS))


MODELS: dict[str, tuple[Noise, Noise]] = {
    "AR(1), ρ 0.9": (autocorrelated, one_sd),
    "ramp": (ramp, one_sd),
    "step": (step, one_sd),
    "bursts": (bursts, one_sd),
    "bimodal processes": (normal, two_kinds),
    "t, 3 degrees": (student, one_sd),
    "Cauchy": (cauchy, one_sd),
    "slot order": (second_is_slower, one_sd),
}


# ---- units and verdicts ----------------------------------------------------------------------------------


def units(model: tuple[Noise, Noise], draw: np.random.Generator, gates: int, mutant: str = "") -> np.ndarray:
    """d of every unit, [gates, UNITS]."""
    machine, luck = model
    slots = np.exp(machine(draw, gates).reshape(gates, UNITS, PAIRS, 2))
    first = (
        draw.integers(0, 2, (gates, UNITS, PAIRS))
        if mutant != "fixed order"
        else np.zeros((gates, UNITS, PAIRS), int)
    )
    sides = []
    for side in (0, 1):
        its_luck = luck(draw, gates)
        if mutant == "one process":
            its_luck = np.repeat(its_luck[:, :1], UNITS, axis=1)
        slot = np.where(first == side, slots[..., 0], slots[..., 1])
        sides.append(np.exp(its_luck) * slot.sum(axis=2))
    x, y = sides
    if mutant == "no pairing":
        y = np.roll(y, 1, axis=1)
    return np.log(y / x)


def verdicts(d: np.ndarray) -> np.ndarray:
    """−1 FAIL, 1 PASS, 0 INCONCLUSIVE, of every row."""
    scale = np.full(d.shape, PRIOR)
    for n in range(3, d.shape[1]):
        before = d[:, :n]
        middle = np.median(before, axis=1, keepdims=True)
        scale[:, n] = np.maximum(1.4826 * np.median(np.abs(before - middle), axis=1), FLOOR)
    wealth = []
    for x in (d, MARGIN - d):
        stakes = [np.log1p(np.tanh(np.clip(c * x / scale, -15, 15))) for c in BETS]
        wealth.append(np.mean([np.exp(np.clip(np.cumsum(one, axis=1), -700, 600)) for one in stakes], axis=0))
    counted = np.arange(1, d.shape[1] + 1) >= LEAST
    crossed = [(w >= 1 / alpha) & counted for w, alpha in zip(wealth, (ALPHA_FAIL, ALPHA_PASS), strict=True)]
    never = d.shape[1] + 1
    fails, passes = (np.where(one.any(axis=1), one.argmax(axis=1), never) for one in crossed)
    return np.where(passes <= fails, np.where(passes == never, 0, 1), -1)


def failing(
    model: tuple[Noise, Noise], seed: int, gates: int, mutant: str = "", at_once: int = 2000
) -> float:
    """Share of gates that FAIL although both sides are the same."""
    draw, failed = np.random.default_rng(seed), 0
    for start in range(0, gates, at_once):
        failed += int((verdicts(units(model, draw, min(at_once, gates - start), mutant)) == -1).sum())
    return failed / gates


def main() -> int:
    """The table; exit 1 where a row of the gate itself is above 0.6 %."""
    gates, worst = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, 0.0
    print(
        f"| noise | FAIL in {gates:,} A/A gates | fixed order | one process | no pairing |\n"
        "|:---|---:|---:|---:|---:|"
    )
    for number, (name, model) in enumerate(MODELS.items()):
        found = failing(model, number, gates)
        worst = max(worst, found)
        wrong = [
            failing(model, 100 + number, 2000, mutant)
            for mutant in ("fixed order", "one process", "no pairing")
        ]
        print(
            f"| {name} | {100 * found:.2f} % | " + " | ".join(f"{100 * one:.1f} %" for one in wrong) + " |",
            flush=True,
        )
    return int(worst > 0.006)


if __name__ == "__main__":
    sys.exit(main())
