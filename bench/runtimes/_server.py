"""Start and ask servers as engines of a config: what all such engines have in common.

A server runs in no worker of ours. ``bench/serving`` starts it and sends the requests; these files say which
keys a config may have for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

REQUIRES = ("httptools",)
DTYPES = ("float32", "bfloat16", "float16")
# Of engines that take a dtype: the keys of the runtime block, and those of them that become arguments.
USES, FLAGS = ("name", "python", "dtype"), {"dtype": "--dtype"}
Value = bool | int | float | str | list[str]
OURS = ("host", "port", "model", "model-path", "served-model-name", "api-key", "api-key-file")
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,79}")


@dataclass(frozen=True)
class InProcessParams:
    """``args``: arguments of the engine (``max-batch-tokens: 512``; a flag is true or false). ``api``: is a
    prompt a text (``completions``), or what a user says, in the model's chat template (``chat``)?
    ``timeout_s``: most seconds of a request. ``wait_s``: most seconds until the model is loaded.
    """

    args: dict[str, Value] = field(default_factory=dict)
    api: Literal["completions", "chat"] = "completions"
    timeout_s: float = 600.0
    wait_s: float = 600.0

    def __post_init__(self) -> None:
        check_times(self.timeout_s, self.wait_s)
        for name in self.args:
            if not _NAME.fullmatch(name):
                raise ValueError(f"args: {name[:60]!r} is no argument: write it without --")
            if dashed(name) in OURS:
                raise ValueError(f"args: {name} is chosen by this tool")


@dataclass(frozen=True)
class StartedParams(InProcessParams):
    """``args``: arguments of the server (``max-model-len: 2048``; a flag is true or false). ``api``: which
    of its two endpoints is asked. ``timeout_s``: most seconds of a request. ``wait_s``: most seconds until it
    is healthy. ``retries``: further attempts after 429, 5xx or a reset. ``port``: a free one if absent.
    """

    retries: int = 0
    port: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.retries <= 20:
            raise ValueError("retries must be from 0 to 20")
        if self.port is not None and not 1024 <= self.port <= 65535:
            raise ValueError("port must be from 1024 to 65535")


def check_times(*seconds: float) -> None:
    """Raise ValueError for a time that is not above 0 and at most a day."""
    if not all(0 < one <= 86400 for one in seconds):
        raise ValueError("a time must be above 0 and at most a day")


def dashed(name: str) -> str:
    """Return the name of an argument as it stands on a command line."""
    return name.replace("_", "-")


def arguments(args: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the words of a command line: ``--key value``, ``--key`` for true and ``--no-key`` for false."""
    found: list[str] = []
    for name, value in args.items():
        if isinstance(value, bool):
            found.append(f"--{dashed(name)}" if value else f"--no-{dashed(name)}")
        elif isinstance(value, list):
            found += [f"--{dashed(name)}", *value]
        else:
            found += [f"--{dashed(name)}", str(value)]
    return tuple(found)
