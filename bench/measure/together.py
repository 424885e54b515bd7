"""Two workers on one command: the duet and the drift pass."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from bench.errors import Outcome, VariantFailed
from bench.measure.worker_process import PeerGone, WorkerProcess


class BaselineDied(Exception):
    """The baseline's worker is gone; nothing can be compared any more."""

    def __init__(self, failure: VariantFailed) -> None:
        super().__init__(str(failure))
        self.failure = failure


@contextmanager
def blaming_baseline() -> Iterator[None]:
    """A failure in here, beside a variant, is the baseline's and not the variant's."""
    try:
        yield
    except VariantFailed as failure:
        raise BaselineDied(failure) from None


Answer = dict[str, Any] | VariantFailed | PeerGone


def ask_both(
    do: str,
    baseline: WorkerProcess,
    variant: WorkerProcess,
    timeout_s: float,
    shared: int | None = None,
    **arguments: object,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give both workers the same command, a baton between them and, for drift, a shared block of memory.

    Raises VariantFailed with the reason of the variant when it is the variant that failed; the baseline's
    worker survives that. A baseline that fails is raised as BaselineDied. Of two that are silent the variant
    is ended first: a baseline that then answers was only waiting for it.
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
    ours: Mapping[str, object],
    theirs: Mapping[str, object],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give both workers the same command, each with its own arguments, at the same time: for what is not
    timed. Raises as ``ask_both``."""
    with blaming_baseline():
        baseline.start(do, (), **ours)
    return _answers(do, baseline, variant, timeout_s, _start(variant, do, (), **theirs))


def _answers(
    do: str, baseline: WorkerProcess, variant: WorkerProcess, timeout_s: float, refused: Answer | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both answers, the variant's taken first (see ``ask_both``)."""
    theirs = refused or _finish(variant, timeout_s)
    if isinstance(theirs, VariantFailed):
        variant.close()  # whatever it is still doing: it may hold the baton
    ours = _finish(baseline, timeout_s)
    if isinstance(ours, VariantFailed):
        raise BaselineDied(ours)
    if isinstance(theirs, VariantFailed):
        raise theirs
    if isinstance(ours, PeerGone) or isinstance(theirs, PeerGone):
        raise VariantFailed(Outcome.PROTOCOL_ERROR, f"the baton of {do!r} broke between two living workers")
    return ours, theirs


def _start(worker: WorkerProcess, do: str, descriptors: Sequence[int], **arguments: object) -> Answer | None:
    """Start the variant's side. Its failure is kept: the baseline's answer has to be taken all the same."""
    try:
        worker.start(do, descriptors, **arguments)
    except VariantFailed as failure:
        return failure
    return None


def _finish(worker: WorkerProcess, timeout_s: float) -> Answer:
    """One side's answer, or how it failed; that its partner died is not a failure of its own."""
    try:
        return worker.finish(timeout_s)
    except (VariantFailed, PeerGone) as failure:
        return failure


def shared_block(size_bytes: int) -> int:
    """A descriptor of ``size_bytes`` of memory without a name: nothing to clean up, nothing to leak."""
    descriptor = os.memfd_create("bench-logits")
    os.truncate(descriptor, size_bytes)
    return descriptor
