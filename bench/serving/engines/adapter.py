"""What has to be known of an engine to start it: its command, its health, and what it tells of itself."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Launch:
    """What is to be served: a directory or a file of weights, on which port, with which further arguments."""

    model: str
    port: int
    python: str
    arguments: tuple[str, ...] = ()

    @property
    def listening(self) -> tuple[str, ...]:
        """Return the arguments that every engine has for its address: this machine alone, and the port."""
        return "--host", "127.0.0.1", "--port", str(self.port)


@dataclass(frozen=True)
class Adapter:
    """An engine. ``command`` makes the line that starts it on 127.0.0.1, ``health`` is the path that answers
    200 when it is ready, ``evidence`` the paths whose JSON says what it is (version, settings, models).

    ``served_as`` is the name of the model in requests, ``extra`` what goes into each body so that a reply has
    as many tokens as were asked for, ``environment`` variables that it needs. ``modules`` (one of them) or
    ``program`` show that it is installed here already.
    """

    name: str
    title: str
    command: Callable[[Launch], tuple[str, ...]]
    health: str
    evidence: tuple[str, ...]
    served_as: Callable[[Launch], str]
    install: str
    extra: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    program: str | None = None

    def is_here(self) -> bool:
        """Return whether the engine can be started without an environment of its own."""
        by_path = self.program is not None and shutil.which(self.program) is not None
        return by_path or any(importlib.util.find_spec(one) is not None for one in self.modules)


OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
