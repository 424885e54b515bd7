"""``transformers serve``: the server of the library transformers."""

from __future__ import annotations

from pathlib import Path

from bench.serving.engines.adapter import OFFLINE, Adapter, Launch


def command(launch: Launch) -> tuple[str, ...]:
    """Return the line that starts it; ``arguments`` come last, so that they win."""
    program = Path(launch.python).with_name("transformers")
    first = (str(program),) if program.is_file() else (launch.python, "-m", "transformers.cli.transformers")
    return (*first, "serve", launch.model, *launch.listening, *launch.arguments)


ADAPTER = Adapter(
    name="transformers-serve",
    title="transformers serve",
    command=command,
    health="/health",
    evidence=("/v1/models",),
    served_as=lambda launch: launch.model,  # loaded before the first request
    install="pip install 'transformers[serving]'",
    modules=("fastapi",),
    environment=OFFLINE,
)
