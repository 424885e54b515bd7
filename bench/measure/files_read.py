"""Write down which files of its commit each side of a pair reads, so that a gate knows what it measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import plugins
from bench.measure import replies
from bench.measure.arm import ArmUnderTest
from bench.measure.replies import Command
from bench.records import ANY
from bench.worker.opened_files import digest_of

Files = Mapping[str, str]
AskBoth = Callable[[Command[Any]], tuple[Any, Any]]


def record_reading(sides: Sequence[ArmUnderTest], roots: Sequence[Mapping[str, str]], ask: AskBoth) -> None:
    """Write the files that both sides have read so far, which are below the ``roots`` of each. If these are
    the same, all requests are decoded once, untimed, before that is believed: perhaps a request that this
    unit does not have reads more."""
    found = of_both(ask(replies.REACHED), roots)
    if found[0] == found[1]:
        ask(replies.SOLO)
        found = of_both(ask(replies.REACHED), roots)
    for side, files in zip(sides, found, strict=True):
        opaque = getattr(plugins.load("runtimes", side.arm.runtime.name), "OPAQUE", False)
        side.add(reached={**files, **({ANY: ""} if opaque else {})})


def of_both(found: Sequence[Files], roots: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the files of each side that it or the other one has read, with their digests.

    Code may read another example each time. A file that is the same on both sides is no difference, also if
    only one of them happened to read it.
    """
    names = {name for files in found for name in files} - {ANY}
    return [
        {**files, **{name: digest for name in names - files.keys() if (digest := _digest(name, places))}}
        for files, places in zip(found, roots, strict=True)
    ]


def _digest(name: str, roots: Mapping[str, str]) -> str | None:
    """Return the SHA-256 of a file by its name among the roots, as a worker computes it; None if there is no
    such file."""
    root, _, inside = name.partition(":")
    if root not in roots or Path(inside).is_absolute() or ".." in Path(inside).parts:
        return None
    path = Path(roots[root], inside)
    if not path.is_file():
        return None
    real = {each: os.path.realpath(place) for each, place in roots.items()}
    return digest_of(str(path), real)
