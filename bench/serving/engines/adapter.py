"""Define what has to be known of a server to start it: its command, its health, what it tells of itself."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.machine.children import program_called
from bench.serving.engines.recipe import Recipe
from bench.serving.engines.server_facts import Evidence, Said


@dataclass(frozen=True)
class Launch:
    """What is to be served: a directory or a file of weights, on which port, with which further arguments.

    An engine in process has a ``place`` in place of a port: the name of a Unix socket.
    """

    model: str
    port: int
    python: str
    arguments: tuple[str, ...] = ()
    place: str = ""

    @property
    def listening(self) -> tuple[str, ...]:
        """Return the arguments that every engine has for its address: this machine alone, and the port."""
        return "--host", "127.0.0.1", "--port", str(self.port)


@dataclass(frozen=True)
class Adapter:
    """An engine. ``command`` makes the line that starts it on 127.0.0.1, ``health`` is the path that answers
    200 when it is ready, ``evidence`` the paths whose JSON says what it is (version, settings, models).

    ``served_as`` is the name of the model in requests, ``extra`` what goes into each body so that a reply has
    as many tokens as were asked for, ``environment`` variables that it needs. ``for_drift`` are arguments
    that let it give its whole distribution, ``said`` is what the evidence means. ``recipe`` returns what its
    own Python environment is made of on this machine. An interpreter that finds the modules of one entry of
    ``modules`` can start it without that, and so can any if ``program`` is on the path. ``keeps`` is the key
    of a body that says whether the prompt is kept for the next one, if a request decides that. ``wrong`` says
    what is wrong with arguments before anything is started, or '' where that is not known. An engine
    ``in_process`` is asked without HTTP, and has no port. ``lives_with`` is the engine in whose environment
    it is, if it has none of its own.
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
    for_drift: tuple[str, ...] = ()
    said: Callable[[Evidence], Said] = lambda _evidence: Said()
    recipe: Callable[[], Recipe] | None = None
    modules: tuple[tuple[str, ...], ...] = ()
    program: str | None = None
    keeps: str | None = None
    wrong: Callable[[Sequence[str]], str] = lambda _arguments: ""
    in_process: bool = False
    lives_with: str | None = None

    def is_here(self) -> bool:
        """Return whether this interpreter can start it."""
        return self.in_any() or any(installed(*some) for some in self.modules)

    def in_any(self) -> bool:
        """Return whether any interpreter can start it: it needs no modules, or its program is here."""
        return not self.modules or (self.program is not None and program_called(self.program) is not None)


def installed(*modules: str) -> bool:
    """Return whether this interpreter finds all of these modules; nothing is imported.

    A directory of that name without a package in it is none, although Python would import it.
    """
    found = [importlib.util.find_spec(one) for one in modules]
    return all(one is not None and one.origin is not None for one in found)


OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
