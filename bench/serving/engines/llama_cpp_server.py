"""llama.cpp's server: the program ``llama-server`` if it is on the path, else that of a Python package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.machine.children import program_called
from bench.serving.engines import llama_cpp_program
from bench.serving.engines.adapter import Adapter, Launch
from bench.serving.engines.recipe import Recipe
from bench.serving.engines.server_facts import Evidence, Said, at, number, text

PROGRAM = "llama-server"


def command(launch: Launch) -> tuple[str, ...]:
    """Return the line that starts it; ``arguments`` come last, so that they win."""
    program = program_called(PROGRAM)
    first = (program,) if program else (launch.python, str(Path(__file__).with_name("llama_cpp_program.py")))
    return (*first, "--model", launch.model, *launch.listening, *launch.arguments)


def wrong(arguments: Sequence[str]) -> str:
    """Return what is wrong with arguments for the server of a Python package; '' if nothing is, or if the
    program ``llama-server`` is here, which has many more and judges them itself."""
    if program_called(PROGRAM):
        return ""
    try:
        llama_cpp_program.parsed(("--model", "a file", "--port", "1", *arguments))
    except ValueError as bad:
        return str(bad)
    return ""


def said(evidence: Evidence) -> Said:
    """Return what the server says: nothing of the format of its KV cache, and whether a prompt is kept is
    the request's choice (``cache_prompt``)."""
    return Said(
        version=text(at(evidence, "/props", "build_info")),
        quantisation=text(at(evidence, "/props", "model_ftype")),
        max_length=number(at(evidence, "/props", "default_generation_settings", "n_ctx")),
    )


ADAPTER = Adapter(
    name="llama-cpp-server",
    title="llama.cpp's server",
    command=command,
    health="/v1/models",
    evidence=("/props", "/v1/models"),
    served_as=lambda launch: Path(launch.model).name,
    install="llama-server on the path, or bench env make llama-cpp-server",
    said=said,
    recipe=lambda: Recipe("xllamacpp==2026.10.11549", "xllamacpp", disk_bytes=500_000_000),
    modules=(("xllamacpp",), ("llama_cpp", "fastapi")),
    program=PROGRAM,
    # A slot keeps the last prompt, which a comparison of engines must not profit from. A model's file may
    # ask for a penalty (general.sampling.penalty_repeat).
    extra={"ignore_eos": True, "cache_prompt": False, "repeat_penalty": 1.0},
    keeps="cache_prompt",
    wrong=wrong,
)
