"""llama.cpp's server: the program ``llama-server`` if it is on the path, else that of a Python package."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.serving.engines.adapter import Adapter, Launch

PROGRAM = "llama-server"


def command(launch: Launch) -> tuple[str, ...]:
    """Return the line that starts it; ``arguments`` come last, so that they win."""
    program = shutil.which(PROGRAM)
    first = (program,) if program else (launch.python, str(Path(__file__).with_name("llama_cpp_program.py")))
    return (*first, "--model", launch.model, *launch.listening, *launch.arguments)


ADAPTER = Adapter(
    name="llama-cpp-server",
    title="llama.cpp's server",
    command=command,
    health="/v1/models",
    evidence=("/props", "/v1/models"),
    served_as=lambda launch: Path(launch.model).name,
    install="llama-server on the path, or pip install xllamacpp",
    modules=("xllamacpp", "llama_cpp"),
    program=PROGRAM,
    # A slot keeps the last prompt, which a benchmark must not profit from.
    extra={"ignore_eos": True, "cache_prompt": False},
)
