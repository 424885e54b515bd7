"""Hold what the workloads for servers share: they say when requests come, and how long each is."""

from __future__ import annotations

from dataclasses import fields
from typing import TypeVar

from bench.config.settings import WorkloadBlock
from bench.errors import UsageError
from bench.serving import arrivals
from bench.serving.arrivals import Lengths

P = TypeVar("P")
# The common keys that mean something to them; any other that is given is refused.
USES = ("name", "requests", "input_tokens", "output_tokens", "warmup")
LONGEST_S = arrivals.LONGEST_S / 2  # on average: a stream of random arrivals may take longer


def needs_a_length(workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (key, what is wrong with it), or None."""
    if workload.input_tokens is None:
        return "input_tokens", f"the workload {workload.name!r} needs input_tokens, the length of a prompt"
    return None


def too_slow(rate: float, requests: int) -> tuple[str, str] | None:
    """Return (key, what is wrong with it) for a rate at which so many requests take weeks, or None."""
    if requests / rate <= LONGEST_S:
        return None
    days = LONGEST_S / 86_400
    return "rate", f"{requests} requests at {rate:g} a second take more than {days:.0f} days: raise the rate"


def lengths(workload: WorkloadBlock, requests: int | None = None) -> Lengths:
    """Return (input, output) tokens of each request: all alike."""
    each = (int(workload.input_tokens or 1), workload.output_tokens)
    return (each,) * (workload.requests if requests is None else requests)


def sizes(workload: WorkloadBlock) -> str:
    """Say for people how long the requests are."""
    return f"{workload.input_tokens} tokens in, {workload.output_tokens} out"


def asked(params: type[P], workload: WorkloadBlock) -> P:
    """Return the keys of its own that a workload was given, as its kind has them.

    Raises UsageError for a value that the kind does not take; in a config it was refused earlier.
    """
    known = {one.name for one in fields(params)}  # type: ignore[arg-type]
    try:
        return params(**{key: value for key, value in workload.own if key in known})
    except ValueError as bad:
        raise UsageError(str(bad)) from None
