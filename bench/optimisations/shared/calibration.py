"""Text that a scheme may look at before it decides: drawn from another text than the one drift is scored
on."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.errors import Unsupported

SHORTEST = 16


@dataclass(frozen=True)
class CalibrationParams:
    """``text`` (a file in bench/texts, or a path), of which ``samples`` windows of ``tokens`` tokens are
    drawn with ``seed``. Not the evaluation text: a scheme must not have seen what it is judged on."""

    text: str = "docstrings"
    samples: int = 64
    tokens: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= 100_000:
            raise ValueError("samples must be from 1 to 100000")
        if not SHORTEST <= self.tokens <= 131_072:
            raise ValueError(f"tokens must be from {SHORTEST} to 131072")


def check_text(name: str) -> None:
    """UsageError for what is neither a file in bench/texts nor a path of a file."""
    from bench import plugins

    if not Path(name).is_file():
        plugins.load("texts", name)


def read_text(name: str) -> str:
    """A text by the name of its file in bench/texts, else the file at that path. UsageError where neither
    is."""
    from bench import plugins

    check_text(name)
    if name in plugins.names("texts"):
        return str(plugins.load("texts", name).read())
    return Path(name).read_text(encoding="utf-8")


def recipe(params: CalibrationParams) -> dict[str, object]:
    """What a kept result depends on besides the model: the text itself, and how windows are drawn from it."""
    text = hashlib.sha256(read_text(params.text).encode()).hexdigest()
    return {"text_sha256": text, "samples": params.samples, "tokens": params.tokens, "seed": params.seed}


def windows(model: Any, params: CalibrationParams, part: tuple[float, float] = (0.0, 1.0)) -> list[Any]:
    """``samples`` windows of token ids, each of shape [1, tokens], on the model's device, from the ``part``
    of the text between two shares of it.

    Unsupported where the text is shorter than one window.
    """
    import torch

    vocabulary = model.config.get_text_config().vocab_size
    ids = _encode(Path(model.config.name_or_path), vocabulary, read_text(params.text))
    ids = ids[int(part[0] * len(ids)) : int(part[1] * len(ids))]
    last = len(ids) - params.tokens
    if last < 0:
        raise Unsupported(
            f"the calibration text {params.text} has {len(ids)} tokens, {params.tokens} are asked for"
        )
    draw = random.Random(params.seed)
    device = next(model.parameters()).device
    starts = [draw.randint(0, last) for _ in range(params.samples)]
    return [torch.tensor([ids[start : start + params.tokens]], device=device) for start in starts]


@lru_cache(maxsize=1)  # a training draws twice from one text: to learn from, and to be judged by
def _encode(directory: Path, vocabulary: int, text: str) -> list[int]:
    """By the tokenizer that lies with the model's weights; bytes modulo the vocabulary where there is
    none."""
    import transformers

    if not (directory / "tokenizer.json").is_file():
        return [byte % vocabulary for byte in text.encode()]
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
