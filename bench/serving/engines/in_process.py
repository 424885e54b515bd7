"""What engines in process have in common: the line that starts one, and what its evidence means."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.serving.engines.adapter import Adapter, Launch
from bench.serving.engines.server_facts import Evidence, Said, at, number, text, truth

PROGRAM = Path(__file__).parents[1] / "inside" / "program.py"
PATH = "/evidence"


def command(name: str, launch: Launch) -> tuple[str, ...]:
    """Return the line that starts an engine; ``arguments`` come last, so that they win."""
    return (launch.python, str(PROGRAM), name, launch.place, launch.model, *launch.arguments)


def said(evidence: Evidence) -> Said:
    """Return what the engine says."""
    return Said(
        version=text(at(evidence, PATH, "version")),
        dtype=text(at(evidence, PATH, "dtype")),
        quantisation=text(at(evidence, PATH, "quantisation")),
        kv_dtype=text(at(evidence, PATH, "kv_dtype")),
        max_length=number(at(evidence, PATH, "max_length")),
        prefix_caching=truth(at(evidence, PATH, "prefix_caching")),
    )


def engine(name: str, title: str, install: str, *modules: str) -> Adapter:
    """Return an engine in process that an interpreter with these modules can start."""
    return Adapter(
        name=name,
        title=title,
        command=partial(command, name),
        health=PATH,
        evidence=(PATH,),
        served_as=lambda launch: launch.model,
        install=install,
        extra={"ignore_eos": True},
        said=said,
        modules=(modules,),
        in_process=True,
    )
