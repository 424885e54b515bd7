"""What engines in process have in common: the line that starts one, and what its evidence means."""

from __future__ import annotations

from pathlib import Path

from bench.serving.engines.adapter import Launch
from bench.serving.engines.server_facts import Evidence, Said, at, number, text, truth

PROGRAM = Path(__file__).parents[1] / "inside" / "program.py"
PATH = "/evidence"
EXTRA = {"ignore_eos": True}


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
