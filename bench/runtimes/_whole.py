"""Refuse a checkpoint that an exporter would complete by itself, before it is exported."""

from __future__ import annotations

from pathlib import Path

from bench.runtimes._checkpoint import in_our_words, pretrained, quantisation


def must_be_whole(directory: Path) -> None:
    """Load a checkpoint once, as the transformers engine does, and let it go.

    Exporters load it with the defaults of transformers, which make up what is missing or of another shape,
    and only log it: the graph would be of another model. A packed one is not loaded. Raises VariantFailed and
    Unsupported.
    """
    if quantisation(directory):  # whoever unpacks it looks for its tensors
        return
    with in_our_words("eager", directory=directory):
        pretrained(directory, "cpu", {"dtype": "auto"})
