"""Draft with a small model of the same tokenizer, and verify with the model itself.

Source: Leviathan et al. 2022, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318. It pays where the small
model is often right and much faster, and where a pass over a few tokens costs hardly more than one over one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.engine import Changed
from bench.engine.evidence import Census, Check, check
from bench.errors import Unsupported
from bench.optimisations.shared import classes
from bench.optimisations.shared.drafting import ModelDrafter, drafts

REQUIRES = ("torch", "transformers", "safetensors")
DECODING = True
MODELS = ("model",)


@dataclass(frozen=True)
class Params:
    """``model`` is the model that drafts: a name in models/, or the path of a directory. ``tokens`` is the
    number of tokens of a draft."""

    model: str
    tokens: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.tokens <= 64:
            raise ValueError("tokens must be 1 to 64")


def refuse_model(params: Params, config: Mapping[str, Any]) -> str | None:
    """Return why the class of a model does not take this scheme, or None; ``config`` is its config.json."""
    return classes.why_no_drafts(config)


def apply(model: Any, params: Params) -> Changed:
    """Load the drafting model beside the model, on the same device and in the same dtype.

    Raises Unsupported if it has another tokenizer.
    """
    from bench.runtimes._checkpoint import pretrained

    directory = Path(params.model)
    if why := why_other_tokenizer(Path(model.name_or_path), directory):
        raise Unsupported(why)
    wanted = {"dtype": model.dtype, "attn_implementation": model.config._attn_implementation}
    drafting = pretrained(directory, str(model.device), wanted).eval().requires_grad_(False)
    sizes = [one.config.get_text_config(decoder=True).vocab_size for one in (model, drafting)]
    drafter = ModelDrafter(drafting, params.tokens, own_weights=True, vocabulary=min(sizes))
    return Changed(model, drafter=drafter)


def why_other_tokenizer(model: Path, drafting: Path) -> str | None:
    """Return why the drafts of one directory's model are not tokens of the other's: not both hold the same
    ``tokenizer.json``. Returns None if they do."""
    if model == drafting:
        return None
    digests = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        if (path := place / "tokenizer.json").is_file()
        else None
        for place in (model, drafting)
    ]
    if None in digests or digests[0] != digests[1]:
        return "the drafting model has another tokenizer, so its tokens mean other text"
    return None


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that the drafting model's weights are there, and that tokens were drafted."""
    more = after.weights_bytes - before.weights_bytes
    return [check("bytes of the drafting model's weights", more, more > 0, "above 0"), *drafts(after)]
