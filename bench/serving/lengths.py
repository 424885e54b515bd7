"""Choose how long prompts and replies are: one length for all, or lengths drawn from a distribution.

``128`` is fixed, ``uniform:32-512`` draws each whole number with the same chance, ``lognormal:128,0.8`` has
the median 128 and the standard deviation 0.8 of the logarithm, ``file:PATH`` draws from the whole numbers in
a file, one a line.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

from bench.bounded import read_bounded, why
from bench.errors import ConfigError, UsageError
from bench.formatting import MIB, one_line

MOST_TOKENS = 1_000_000
MOST_BYTES = 16 * MIB
HOW = "128, uniform:32-512, lognormal:128,0.8 or file:PATH"


def lengths(text: str, count: int, seed: int, of: str = "") -> tuple[int, ...]:
    """Return ``count`` lengths in tokens, from 1 to 1,000,000.

    Equal seeds give equal lengths ``of`` one thing. Lengths of other things, and the arrivals of the same
    seed, know nothing of them: from the same numbers a long prompt would come after a long pause.

    Raises UsageError for what is no length, and ConfigError with its line for a file that holds none.
    """
    kind, _, rest = text.partition(":")
    draw = random.Random(f"lengths {of} {seed}")
    if kind == "uniform":
        low, high = (_whole(one, text) for one in _two(rest, "-", text))
        if low > high:
            raise UsageError(f"{one_line(text)[:60]!r}: {low} is more than {high}")
        return tuple(draw.randint(low, high) for _ in range(count))
    if kind == "lognormal":
        median, sigma = _two(rest, ",", text)
        spread = _spread(sigma, text)
        middle = math.log(_whole(median, text))
        return tuple(_within(draw.lognormvariate(middle, spread)) for _ in range(count))
    if kind == "file":
        known = _in_file(Path(rest))
        return tuple(draw.choice(known) for _ in range(count))
    return (_whole(text, text),) * count


def _within(value: float) -> int:
    return min(max(round(value), 1), MOST_TOKENS)


def _two(rest: str, between: str, text: str) -> tuple[str, str]:
    first, there, second = rest.partition(between)
    if not there:
        raise UsageError(f"{one_line(text)[:60]!r} is no length: write {HOW}")
    return first, second


def _whole(found: str, text: str) -> int:
    value = int(found) if found.isascii() and found.isdecimal() and len(found) < 10 else 0
    if not 1 <= value <= MOST_TOKENS:
        raise UsageError(f"{one_line(text)[:60]!r} is no length (1 to {MOST_TOKENS:,}): write {HOW}")
    return value


def _spread(found: str, text: str) -> float:
    try:
        value = float(found)
    except ValueError:
        value = math.nan
    if not 0 < value <= 10:
        raise UsageError(f"{one_line(text)[:60]!r}: the standard deviation of the logarithm is 0 to 10")
    return value


def _in_file(path: Path) -> tuple[int, ...]:
    try:
        lines = read_bounded(path, MOST_BYTES).decode("utf-8", "replace").removeprefix("\ufeff").splitlines()
    except OSError as bad:
        raise ConfigError(str(path), why(bad)) from None
    found = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        value = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
        if not 1 <= value <= MOST_TOKENS:
            raise ConfigError(str(path), f"no length: {one_line(text)[:40]!r}", number)
        found.append(value)
    if not found:
        raise ConfigError(str(path), "holds no length")
    return tuple(found)
