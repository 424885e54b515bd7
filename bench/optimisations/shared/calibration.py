"""Draw calibration text for a scheme, from another text than the one on which drift is scored."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.engine import one_off
from bench.engine.template_limits import encoding, within
from bench.errors import Unsupported

SHORTEST = 16
MOST_SEED = 2**63 - 1
MOST_WINDOWS = 100_000
MOST_TOKENS = 100_000_000  # of all windows, which are in memory together


@dataclass(frozen=True)
class CalibrationParams:
    """``samples`` windows of ``tokens`` tokens are drawn from ``text`` with ``seed``.

    ``text`` is a file in bench/texts, or a path. Do not use the evaluation text: a scheme must not have seen
    the text that it is judged on.
    """

    text: str = "docstrings"
    samples: int = 64
    tokens: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if not SHORTEST <= self.tokens <= 131_072:
            raise ValueError(f"tokens must be from {SHORTEST} to 131072")
        must_fit("samples", self.samples, self.tokens)
        if not 0 <= self.seed <= MOST_SEED:
            raise ValueError(f"seed must be from 0 to {MOST_SEED}")


def must_fit(what: str, windows: int, tokens: int) -> None:
    """Raise ValueError for no window, for more windows than are ever needed, and for more tokens in them than
    memory has room for: all are drawn before the first is used."""
    if not 1 <= windows <= MOST_WINDOWS:
        raise ValueError(f"{what} must be from 1 to {MOST_WINDOWS} windows, not {windows}")
    if windows * tokens > MOST_TOKENS:
        raise ValueError(f"{what} times tokens must be at most {MOST_TOKENS}, not {windows * tokens}")


OF_TEXT = ("text", "samples", "tokens", "seed")  # the settings that choose the calibration text


def without_text(reason: str) -> dict[str, str]:
    """Return why none of these settings does anything, by their names."""
    return dict.fromkeys(OF_TEXT, reason)


def recipe(model: Any, params: CalibrationParams) -> dict[str, object]:
    """Return what a cached result depends on besides the model: the text and how windows are drawn."""
    drawn = {"samples": params.samples, "tokens": params.tokens, "seed": params.seed}
    return {"text_sha256": _sha256(params), **drawn, **_reading(model)}


def beyond_names(model: Any, params: CalibrationParams) -> dict[str, object]:
    """Return what the settings themselves do not say of the windows, for a recipe that has the settings: the
    content of a file of text, and how the model reads it."""
    from bench import plugins

    ours = params.text in plugins.names("texts")
    return {**({} if ours else {"text_sha256": _sha256(params)}), **_reading(model)}


def _sha256(params: CalibrationParams) -> str:
    from bench.texts import read_text

    return hashlib.sha256(read_text(params.text).encode()).hexdigest()


def _reading(model: Any) -> dict[str, object]:
    """Return what else decides which tokens are read: those at the beginning, and the tokenizer's file."""
    from bench.models.disk_cache import file_sha256

    begin, file = begin_ids(model), Path(model.config.name_or_path) / "tokenizer.json"
    by = {"tokenizer_sha256": file_sha256(file)} if file.is_file() else {}
    return {**by, **({"begin": list(begin)} if begin else {})}


def begin_ids(model: Any) -> tuple[int, ...]:
    """Return the tokens with which every text begins for this model, such as a BOS token; often none."""
    from bench.runtimes._text import begins_with

    tokenizer = _tokenizer(Path(model.config.name_or_path))
    return () if tokenizer is None else begins_with(tokenizer, model.config.get_text_config().vocab_size)


def windows(model: Any, params: CalibrationParams, part: tuple[float, float] = (0.0, 1.0)) -> list[Any]:
    """Draw ``samples`` windows of token ids, each [1, tokens], on the model's device. Each begins with the
    tokens that begin every text of this model, as the windows do on which drift is scored.

    ``part`` limits them to the text between two shares of its length. Raises Unsupported if this part is
    shorter than one window.
    """
    import torch

    from bench.texts import read_text

    vocabulary = model.config.get_text_config().vocab_size
    text = read_text(params.text)
    one_off.has_read(params.text, hashlib.sha256(text.encode()).hexdigest())
    ids = _encode(Path(model.config.name_or_path), vocabulary, text)
    ids = ids[int(part[0] * len(ids)) : int(part[1] * len(ids))]
    begin = list(begin_ids(model))
    size = params.tokens - len(begin)
    if size < 1:
        raise Unsupported(f"{params.tokens} tokens are no more than the {len(begin)} that begin every text")
    last = len(ids) - size
    if last < 0:
        raise Unsupported(
            f"the calibration text {params.text} has {len(ids)} tokens, {params.tokens} are asked for"
        )
    draw = random.Random(params.seed)
    device = next(model.parameters()).device
    starts = [draw.randint(0, last) for _ in range(params.samples)]
    return [torch.tensor([[*begin, *ids[start : start + size]]], device=device) for start in starts]


@lru_cache(maxsize=1)
def _tokenizer(directory: Path) -> Any | None:
    from bench.runtimes._text import tokenizer_of

    return tokenizer_of(directory)


@lru_cache(maxsize=1)  # a training encodes one text twice: to train on it, and to be judged by it
def _encode(directory: Path, vocabulary: int, text: str) -> list[int]:
    """Encode the text as the engine does: with the tokenizer beside the weights. Without one, which only a
    model with random weights may lack, as bytes modulo the vocabulary."""
    tokenizer = _tokenizer(directory)
    if tokenizer is None:
        return [byte % vocabulary for byte in text.encode()]
    with encoding(len(text)):
        ids = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    return within(vocabulary, ids, tokenizer.convert_ids_to_tokens, len(text))
