"""Replay a trace: a JSON-lines file with the arrival and the lengths of each request.

The column names of Mooncake (``timestamp`` in ms, ``input_length``, ``output_length``) and of BurstGPT
(``Timestamp`` in s, ``Request tokens``, ``Response tokens``) are accepted beside our own (``arrival_s``,
``input_tokens``, ``output_tokens``). Other columns are not read.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator
from pathlib import Path

from bench.bounded import open_regular, why
from bench.errors import ConfigError, UsageError
from bench.formatting import MIB, one_line
from bench.serving.arrivals import MOST_REQUESTS, OpenLoop, Planned

MOST_BYTES = 256 * MIB
MOST_LINE_BYTES = MIB  # a line of Mooncake lists the blocks of its prompt, some hundred
MOST_TOKENS = 10_000_000
ARRIVALS = {"arrival_s": 1.0, "timestamp": 1e-3, "Timestamp": 1.0}
INPUTS = ("input_tokens", "input_length", "Request tokens")
OUTPUTS = ("output_tokens", "output_length", "Response tokens")


def read_trace(path: Path, most: int | None = None, speed: float = 1.0) -> Planned:
    """Read at most ``most`` requests of a trace, in the order of their arrival, ``speed`` times as fast.

    Raises ConfigError, which names file, line and column.
    """
    if not math.isfinite(speed) or speed <= 0:
        raise UsageError(f"the speed of a trace must be above 0, got {speed:g}")
    try:
        rows = heapq.nsmallest(most or MOST_REQUESTS, _rows(path), key=lambda row: row[0])
    except OSError as bad:
        raise ConfigError(str(path), why(bad)) from None
    if not rows:
        raise ConfigError(str(path), "holds no request")
    first = rows[0][0]
    times = tuple((arrival - first) / speed for arrival, _, _ in rows)
    faster = "" if speed == 1 else f" at {speed:g} times its speed"
    return Planned(
        OpenLoop(times, f"trace {one_line(path.name)}{faster}"),
        tuple((n_in, n_out) for _, n_in, n_out in rows),
    )


def _rows(path: Path) -> Iterator[tuple[float, int, int]]:
    """Yield the (arrival, input, output) of each line. Raises ConfigError with file and line, OSError without
    a file."""
    read = 0
    with open_regular(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(MOST_LINE_BYTES), b""), start=1):
            read += len(line)
            if read > MOST_BYTES:
                raise ConfigError(str(path), f"is larger than {MOST_BYTES // MIB} MiB")
            if len(line) == MOST_LINE_BYTES:
                raise ConfigError(str(path), f"has {MOST_LINE_BYTES // MIB} MiB or more", number)
            if line.strip():
                yield _row(line, str(path), number)


def _row(line: bytes, file: str, number: int) -> tuple[float, int, int]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise ConfigError(file, "is not JSON", number) from None
    if not isinstance(found, dict):
        raise ConfigError(file, "is not an object of JSON", number)
    key = _named(found, tuple(ARRIVALS), file, number)
    arrival = found[key]
    if type(arrival) not in (int, float) or not 0 <= arrival < 1e15:
        raise ConfigError(file, f"no time: {arrival!r:.40}", number, key)
    return arrival * ARRIVALS[key], _count(found, INPUTS, file, number), _count(found, OUTPUTS, file, number)


def _count(found: dict[str, object], keys: tuple[str, ...], file: str, number: int) -> int:
    key = _named(found, keys, file, number)
    value = found[key]
    if type(value) is not int or not 1 <= value <= MOST_TOKENS:
        raise ConfigError(file, f"no number of tokens: {value!r:.40}", number, key)
    return value


def _named(found: dict[str, object], keys: tuple[str, ...], file: str, number: int) -> str:
    given = [key for key in keys if key in found]
    if len(given) != 1:
        what = "is missing" if not given else "stands beside " + ", ".join(given[1:])
        raise ConfigError(file, what, number, given[0] if given else " or ".join(keys))
    return given[0]
