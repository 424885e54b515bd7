"""Give one command to both workers of a pair: used for the duet, for drift and for loading."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext

from bench.errors import Outcome, VariantFailed
from bench.measure.worker_process import PeerGone, WorkerProcess
from bench.records import Json


class BaselineDied(Exception):
    """The baseline's worker failed, so nothing can be compared with it."""

    def __init__(self, failure: VariantFailed) -> None:
        super().__init__(str(failure))
        self.failure = failure


@contextmanager
def blaming_baseline() -> Iterator[None]:
    """Attribute a failure inside this block to the baseline: turn VariantFailed into BaselineDied."""
    try:
        yield
    except VariantFailed as failure:
        raise BaselineDied(failure) from None


Answer = Json | VariantFailed | PeerGone


def ask_both(
    do: str,
    baseline: WorkerProcess,
    variant: WorkerProcess,
    timeout_s: float,
    shared: int | None = None,
    **arguments: object,
) -> tuple[Json, Json]:
    """Give both workers the same command, connected by a baton and, for drift, by a shared block of memory.

    Raises VariantFailed if the variant fails; the baseline's worker survives that. Raises BaselineDied if the
    baseline fails. If neither worker answers, the variant is ended first: a baseline that answers then was
    only waiting for the variant.
    """
    left, right = socket.socketpair()
    with closing(left), closing(right):
        more = [] if shared is None else [shared]
        with blaming_baseline():
            baseline.start(do, [left.fileno(), *more], me=0, **arguments)
        refused = _start(variant, do, [right.fileno(), *more], me=1, **arguments)
    return _answers(do, baseline, variant, timeout_s, refused)


def ask_each(
    do: str,
    baseline: WorkerProcess,
    variant: WorkerProcess,
    timeout_s: float,
    to_baseline: Mapping[str, object],
    to_variant: Mapping[str, object],
) -> tuple[Json, Json]:
    """Give both workers the same untimed command at the same time, each with its own arguments. Raises the
    same errors as ``ask_both``."""
    with blaming_baseline():
        baseline.start(do, (), **to_baseline)
    return _answers(do, baseline, variant, timeout_s, _start(variant, do, (), **to_variant))


def ask_in_order(
    do: str,
    baseline: WorkerProcess,
    variant: WorkerProcess,
    timeout_s: float,
    to_baseline: Mapping[str, object],
    to_variant: Mapping[str, object],
    first: int,
) -> tuple[Json, Json]:
    """Give both workers the same untimed command one after the other, the baseline first if ``first`` is 0.
    Raises the same errors as ``ask_both``."""
    found = dict[WorkerProcess, Json]()
    for worker in (baseline, variant) if first == 0 else (variant, baseline):
        with blaming_baseline() if worker is baseline else nullcontext():
            found[worker] = worker.ask(do, timeout_s, **(to_baseline if worker is baseline else to_variant))
    return found[baseline], found[variant]


def _answers(
    do: str, baseline: WorkerProcess, variant: WorkerProcess, timeout_s: float, refused: Answer | None
) -> tuple[Json, Json]:
    """Return both replies; the variant's reply is taken first (see ``ask_both``)."""
    of_variant = refused or _finish(variant, timeout_s)
    if isinstance(of_variant, VariantFailed):
        variant.close()  # it may still hold the baton, for which the baseline waits
    of_baseline = _finish(baseline, timeout_s)
    if isinstance(of_baseline, VariantFailed):
        raise BaselineDied(of_baseline)
    if isinstance(of_variant, VariantFailed):
        raise of_variant
    if isinstance(of_baseline, PeerGone) or isinstance(of_variant, PeerGone):
        raise VariantFailed(Outcome.PROTOCOL_ERROR, f"the baton of {do!r} broke between two living workers")
    return of_baseline, of_variant


def _start(worker: WorkerProcess, do: str, descriptors: Sequence[int], **arguments: object) -> Answer | None:
    """Send the command to the variant. Return a failure instead of raising it, because the baseline's reply
    must be read in any case."""
    try:
        worker.start(do, descriptors, **arguments)
    except VariantFailed as failure:
        return failure
    return None


def _finish(worker: WorkerProcess, timeout_s: float) -> Answer:
    """Return one side's reply, or its failure. PeerGone means that only the partner died."""
    try:
        return worker.finish(timeout_s)
    except (VariantFailed, PeerGone) as failure:
        return failure


def shared_block(size_bytes: int) -> int:
    """Return a descriptor of ``size_bytes`` of anonymous memory. It has no name to clean up afterwards."""
    descriptor = os.memfd_create("bench-logits")
    os.truncate(descriptor, size_bytes)
    return descriptor
