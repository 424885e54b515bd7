"""Look at a checkpoint before it is exported: what an exporter would complete by itself, and its head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.models.weight_files import weight_files
from bench.runtimes._checkpoint import in_our_words, pretrained, quantisation

TIED = ("lm_head.weight", "model.embed_tokens.weight")


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


def own_head(directory: Path) -> bool:
    """Return whether the files hold a head that differs from the embeddings, whatever the config says: a
    fine-tune may have untied them."""
    from safetensors import safe_open

    found: dict[str, Any] = {}
    for path in weight_files(directory):
        with safe_open(path, framework="pt") as file:
            held = set(file.keys())
            found |= {name: file.get_tensor(name) for name in TIED if name in held}
    if len(found) < len(TIED):
        return False
    head, embeddings = (found[name] for name in TIED)
    return head.shape != embeddings.shape or not bool((head == embeddings).all())


def is_tied(directory: Path, config: Mapping[str, Any]) -> bool:
    """Return whether the head of a model is its embeddings, by its config and its files."""
    return bool(config.get("tie_word_embeddings")) and not own_head(directory)
