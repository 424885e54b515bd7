"""Define where requests are sent: to a server that is there, or to one that is started and stopped here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.errors import BenchError, UsageError
from bench.formatting import one_line
from bench.models.checks import check_directory
from bench.models.fetch import ensure
from bench.models.gguf_format import is_gguf
from bench.models.gguf_parts import check_parts
from bench.models.reference import LocalModel, Named
from bench.serving.address import Address, Secret
from bench.serving.client import Api, Client, Settings, fetch
from bench.serving.distributions import Asker
from bench.serving.engines.adapter import Adapter, Launch
from bench.serving.load import run
from bench.serving.own_places import without_places
from bench.serving.reply import Asked
from bench.serving.server import Server, started

LONGEST_NAME = 300


@dataclass(frozen=True)
class Manner:
    """How each request is sent, whatever the server."""

    api: Api = "completions"
    timeout_s: float = 600.0
    retries: int = 0
    extra: Mapping[str, object] = field(default_factory=dict)

    def settings(
        self, server: Address, model: str, key: Secret | None, own: Mapping[str, object]
    ) -> Settings:
        """Return the settings of a client; ``own`` is what the engine wants in each body."""
        extra = {**own, **self.extra}
        return Settings(server, model, self.api, key, self.timeout_s, self.retries, extra=extra)


@dataclass(frozen=True)
class Target:
    """Where requests go, and what is known of the server there."""

    settings: Settings
    head: Mapping[str, Any]
    server: Server | None = None

    @property
    def asker(self) -> Asker:
        """Return how the server is asked for its distributions."""
        how = self.settings
        return Asker(how.server, how.model, how.key)

    def gone(self) -> str:
        """Say that a server that was started here has died; '' otherwise."""
        return "" if self.server is None else self.server.gone()

    async def steps(self) -> dict[str, int]:
        """Return what the steps of an engine in process were until now. Raises BenchError."""
        found = await fetch(self.settings.server, "/steps", None)
        if not isinstance(found, Mapping) or not all(type(one) is int for one in found.values()):
            raise BenchError("the engine does not tell what its steps were")
        return {str(name): value for name, value in found.items()}

    async def warm_up(self, prompts: list[Asked]) -> None:
        """Send requests that do not count. Raises BenchError if one fails: the others would too."""
        client = Client(self.settings)
        try:
            for number, asked in enumerate(prompts):
                one = await client.send(number, asked)
                if not one.ok:
                    raise BenchError(
                        f"{self.settings.server.url}: the warm-up failed: {self.gone() or one.reason}"
                    )
        finally:
            client.close()


def there(server: Address, key: Secret | None, model: str | None, manner: Manner) -> Target:
    """Return the target of a server that runs already. Without a name of a model it must serve one only.

    Raises UsageError for several models, BenchError if the server does not answer.
    """
    name = model or run(_only_model(server, key))
    return Target(manner.settings(server, name, key, {}), {"target": server.url, "model": name})


@contextmanager
def begun(adapter: Adapter, launch: Launch, log: Path, wait_s: float, manner: Manner) -> Iterator[Target]:
    """Start an engine, and stop it at the end with all that it spawned. Raises UsageError and BenchError."""
    with started(adapter, launch, log, wait_s) as up:
        settings = manner.settings(up.address, up.model, None, adapter.extra)
        said = adapter.said(up.evidence)
        if adapter.keeps is not None:
            said = replace(said, prefix_caching=bool(settings.extra.get(adapter.keeps)))
        head = {
            "target": adapter.name, "command": without_places(adapter.command(up.launch)),
            "settings": said.to_json(), "evidence": without_places(up.evidence), "ready_s": up.ready_s,
        }  # fmt: skip
        yield Target(settings, head, up)


async def _only_model(server: Address, key: Secret | None) -> str:
    found = await fetch(server, f"{server.prefix}/models", key)
    data = found.get("data") if isinstance(found, Mapping) else None
    names = (
        [one["id"] for one in data if isinstance(one, Mapping) and "id" in one]
        if isinstance(data, list)
        else []
    )
    if len(names) != 1:
        raise UsageError(f"{server.url} serves {len(names)} models: name one")
    name = names[0]
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise UsageError(f"{server.url} gives its model a name that cannot be shown: name it yourself")
    return name


def weights(name: str, *, gguf: bool) -> Path:
    """Return the directory of a model, or its GGUF file, from a path or from the name of a card.

    Its files are checked first, as those of every model are. Raises UsageError.
    """
    path = Path(name)
    if not name or not path.exists():
        return weights_of(ensure(Named(name)), gguf=gguf)
    if path.is_dir():
        check_directory(path)
    elif gguf or is_gguf(path):
        check_parts(path)
    else:
        raise UsageError(f"{one_line(name)[:LONGEST_NAME]}: is no directory of a model, and no .gguf file")
    return path.resolve()


def weights_of(model: LocalModel, *, gguf: bool) -> Path:
    """Return what an engine loads of a model on this disk. Raises UsageError if it has no GGUF file."""
    if not gguf:
        return model.directory
    if model.gguf is None:
        raise UsageError(
            f"{model.source.name} has no GGUF file, which llama.cpp's server needs: give the path of one"
        )
    return model.gguf
