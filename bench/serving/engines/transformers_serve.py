"""``transformers serve``: the server of the library transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.machine.devices import cuda_device_count
from bench.serving.engines.adapter import OFFLINE, Adapter, Launch
from bench.serving.engines.recipe import CPU_TORCH, NO_CPU_TORCH, Recipe


def command(launch: Launch) -> tuple[str, ...]:
    """Return the line that starts it; ``arguments`` come last, so that they win."""
    program = Path(launch.python).with_name("transformers")
    first = (str(program),) if program.is_file() else (launch.python, "-m", "transformers.cli.transformers")
    return (*first, "serve", launch.model, *launch.listening, *launch.arguments)


def recipe() -> Recipe:
    """Return the packages: the CPU build of PyTorch where there is no GPU."""
    whole = Recipe(
        "transformers[serving]==5.17.0", "transformers.cli.transformers",
        disk_bytes=9_000_000_000, first=("torch",), also=("requests",),
    )  # fmt: skip
    if cuda_device_count():
        return whole
    return replace(whole, disk_bytes=2_000_000_000, first=(CPU_TORCH,), hint=NO_CPU_TORCH)


ADAPTER = Adapter(
    name="transformers-serve",
    title="transformers serve",
    command=command,
    health="/health",
    evidence=("/v1/models",),
    served_as=lambda launch: launch.model,  # loaded before the first request
    install="pip install 'transformers[serving]', or bench env make transformers-serve",
    recipe=recipe,
    modules=(("transformers", "torch", "fastapi", "uvicorn", "requests"),),
    extra={"frequency_penalty": 0.0},  # it makes a repetition penalty of it, in place of the model's own
    environment=OFFLINE,
)
