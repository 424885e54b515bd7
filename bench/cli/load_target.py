"""Where `bench load` sends its requests: an address, or an engine that it starts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cli.load_options import Asking
from bench.errors import UsageError
from bench.serving.address import Secret, address
from bench.serving.client import Settings, fetch
from bench.serving.engines import ADAPTERS
from bench.serving.engines.adapter import Launch
from bench.serving.environments import interpreter_for
from bench.serving.load import run
from bench.serving.pinning import apart
from bench.serving.server import Server, free_port, started


@dataclass(frozen=True)
class Target:
    """Where requests go, and what is known of the server there."""

    settings: Settings
    head: Mapping[str, Any]
    server: Server | None = None

    def gone(self) -> str:
        """Say that a server that was started here has died; '' otherwise."""
        return "" if self.server is None else self.server.gone()


@contextmanager
def target_of(asking: Asking, key: Secret | None, directory: Path) -> Iterator[Target]:
    """Find the server, or start it and stop it at the end. Raises UsageError and BenchError."""
    api: Any = "chat" if asking.chat else "completions"
    extra: dict[str, object] = {"ignore_eos": True} if asking.ignore_eos else {}
    how: Any = {"timeout_s": asking.timeout_s, "retries": asking.retries}
    if "://" in asking.target:
        server = address(asking.target)
        name = asking.model or run(_only_model(server, key))
        yield Target(
            Settings(server, name, api, key, extra=extra, **how), {"target": server.url, "model": name}
        )
        return
    adapter = ADAPTERS[asking.target]
    if asking.model is None:
        raise UsageError(
            f"{adapter.title} serves what? give --model with a model card, a directory or a file"
        )
    if asking.key_env is not None:
        raise UsageError("--key-env goes with an address: a server that is started here wants no key")
    arguments = (*(adapter.for_drift if asking.drift else ()), *asking.engine_arguments)
    python = interpreter_for(adapter, asking.python)
    model = weights(asking.model, gguf=adapter.name == "llama-cpp-server")
    launch = Launch(str(model), asking.port or free_port(), python, arguments)
    tell(asking.quiet, f"starting {adapter.title} ...")
    log = directory / "logs" / "server.log"
    with apart(asking.pin) as cores, started(adapter, launch, log, asking.wait_s) as up:
        cores.go()
        tell(asking.quiet, f"{adapter.title} was healthy after {up.ready_s:.0f} s")
        settings = Settings(up.address, up.model, api, None, extra={**adapter.extra, **extra}, **how)
        head = {
            "target": adapter.name, "model": asking.model, "command": list(adapter.command(launch)),
            "settings": adapter.said(up.evidence).to_json(), "evidence": up.evidence, "ready_s": up.ready_s,
            "pinned": cores.to_json(),
        }  # fmt: skip
        yield Target(settings, head, up)


async def _only_model(server: Any, key: Secret | None) -> str:
    found = await fetch(server, f"{server.prefix}/models", key)
    data = found.get("data") if isinstance(found, Mapping) else None
    names = (
        [one["id"] for one in data if isinstance(one, Mapping) and "id" in one]
        if isinstance(data, list)
        else []
    )
    if len(names) != 1:
        raise UsageError(f"{server.url} serves {len(names)} models: name one with --model")
    return str(names[0])


def weights(name: str, *, gguf: bool) -> Path:
    """Return the directory of a model, or its GGUF file, from a path or from the name of a card."""
    from bench.models.fetch import ensure
    from bench.models.reference import Named

    path = Path(name)
    if path.exists():
        return path.resolve()
    local = ensure(Named(name))
    if not gguf:
        return local.directory
    if local.gguf is None:
        raise UsageError(f"{name} has no GGUF file, which llama.cpp's server needs: give the path of one")
    return local.gguf


def tell(quiet: bool, line: str) -> None:
    """Print a line of progress on standard error."""
    if not quiet:
        print(line, file=sys.stderr, flush=True)
