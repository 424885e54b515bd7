"""Define arguments and options that several commands share."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from bench.errors import UsageError


class Against(StrEnum):
    """What `bench price` can compare a run with."""

    API = "api"


Record = TypeVar("Record")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LISTS = "models,optimisations,runtimes,workloads,texts,metrics,drift,probes,prices,reports"
Configs = Annotated[list[Path], typer.Argument(help="one or more YAML configs")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="replace a value, such as workload.requests=8")]
Only = Annotated[list[str] | None, typer.Option(help="measure only these variants (and the baseline)")]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="a directory in results/")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]
On = Annotated[
    str | None,
    typer.Option(
        metavar="MACHINES",
        help="measure each group in a run of its own: here, ray, ray://HOST:PORT (docs/scale.md)",
    ),
]
WHOLE = "1/1"
Shard = Annotated[
    str,
    typer.Option(metavar="K/N", help="with --on: measure every N-th group, from the K-th (1 to N)"),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="print no progress")]


def taking(record: type[Record]) -> Callable[[Callable[[Record], None]], Callable[..., None]]:
    """Turn a function with a single argument, a record of options, into a function for typer.

    Each field of the dataclass ``record`` becomes an option or an argument, in the same order and with the
    field's default. This is for commands with too many options for a readable signature.
    """

    def command(function: Callable[[Record], None]) -> Callable[..., None]:
        @wraps(function)
        def with_options(**given: Any) -> None:
            function(record(**given))

        with_options.__signature__ = inspect.signature(record, eval_str=True)  # type: ignore[attr-defined]
        return with_options

    return command


def seconds_of(budget: str, option: str = "--budget") -> float:
    """Parse ``90s``, ``30m``, ``2h`` or ``1d`` to seconds. Raises UsageError unless it is up to a year."""
    number, unit = budget[:-1], budget[-1:]
    try:
        seconds = float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < 366 * 86400:
        raise UsageError(f"{option} {budget}: write a time such as 30m, 2h or 1d")
    return seconds


def shard_of(shard: str) -> tuple[int, int]:
    """Parse ``3/20`` to (3, 20). Raises UsageError unless the first is 1 to the second."""
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", shard)
    number, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise UsageError(f"--shard {shard}: write K/N with 1 <= K <= N, such as 1/4")
    return number, count


def limits_of(slo: str, known: Sequence[str]) -> dict[str, float]:
    """Parse limits such as ``ttft:500,tpot:50`` to milliseconds by name.

    Spaces are accepted instead of commas, as in vLLM. Raises UsageError for a name that is not ``known``, for
    a name that occurs twice, and for a limit that is not above 0 and at most a day.
    """
    from bench.config.settings import LONGEST_LIMIT_MS

    limits: dict[str, float] = {}
    for part in slo.replace(",", " ").split():
        name, colon, number = part.partition(":")
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if name not in known or not colon or name in limits or not 0 < value < math.inf:
            raise UsageError(f"--slo: {part!r:.40} is not one of {', '.join(f'{each}:MS' for each in known)}")
        if value > LONGEST_LIMIT_MS:
            raise UsageError(f"--slo: {part!r:.40} is more than a day; limits are in milliseconds")
        limits[name] = value
    return limits
