"""Find the server of `bench load`: at an address, or an engine that is started for the load."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench import plugins
from bench.cli.load_options import Asking
from bench.errors import UsageError
from bench.serving.address import Secret, address
from bench.serving.engines import ADAPTERS
from bench.serving.engines.adapter import Launch
from bench.serving.environments import interpreter_for
from bench.serving.pinning import apart, threads_in
from bench.serving.server import free_port
from bench.serving.target import Manner, Target, begun, there, weights


@contextmanager
def target_of(asking: Asking, key: Secret | None, directory: Path) -> Iterator[Target]:
    """Yield the server at an address, or start an engine and stop it at the end.

    Raises UsageError for options that do not fit the target, and BenchError if the engine does not start.
    """
    extra = {"ignore_eos": True} if asking.ignore_eos else {}
    manner = Manner("chat" if asking.chat else "completions", asking.timeout, asking.retries, extra)
    if "://" in asking.target:
        yield there(address(asking.target), key, asking.model, manner)
        return
    adapter = ADAPTERS[asking.target]
    if asking.model is None:
        raise UsageError(
            f"{adapter.title} serves what? give --model with a model card, a directory or a file"
        )
    if asking.key_env is not None:
        raise UsageError("--key-env goes with an address: a server that is started here needs no key")
    arguments = (*(adapter.for_drift if asking.drift else ()), *(asking.engine_argument or ()))
    if problem := adapter.wrong(asking.engine_argument or ()):
        raise UsageError(f"--engine-argument: {problem}")
    python = interpreter_for(adapter, asking.python)
    served = weights(asking.model, gguf=adapter.name == "llama-cpp-server")
    tell(asking.quiet, f"starting {adapter.title} ...")
    log = directory / "logs" / "server.log"
    with apart(asking.pin, threads_in(arguments)) as cores:
        own = cores.told(plugins.load("runtimes", adapter.name).FLAGS.get("threads"), arguments)
        launch = Launch(str(served), asking.port or free_port(), python, (*own, *arguments))
        with begun(adapter, launch, log, asking.wait, manner) as target:
            cores.go()
            tell(asking.quiet, f"{adapter.title} was healthy after {target.head['ready_s']:.0f} s")
            pinned = {"pinned": cores.to_json(), **cores.said()}
            yield replace(target, head={**target.head, "model": asking.model, **pinned})


def tell(quiet: bool, line: str) -> None:
    """Print a line of progress on standard error."""
    if not quiet:
        print(line, file=sys.stderr, flush=True)
