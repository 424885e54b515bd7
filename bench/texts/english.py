"""English prose and code: the language topics that every CPython carries (about 113k SmolLM2 tokens)."""

from __future__ import annotations

LICENCE = "Python Software Foundation License"


def read() -> str:
    """Return all topics of ``pydoc_data`` in alphabetical order. The text differs between Python versions."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))
