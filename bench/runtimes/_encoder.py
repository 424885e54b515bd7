"""Run encoders: one pass over a text gives a vector, or a number for each label. No token is written.

What stands beside the weights decides how the hidden states of a text become one vector: the files of
sentence-transformers. Without them it is the mean over the tokens, and the evidence of the row says so.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.engine import Options
from bench.engine.evidence import Check, check
from bench.engine.template_limits import encoding
from bench.errors import Outcome, Unsupported, VariantFailed
from bench.models.json_files import json_object
from bench.records.json_form import Json
from bench.runtimes._sentence_files import Pooling, longest_of, pooling_of, prompt_of, similarity_of
from bench.runtimes._text import TextModel

MOST_SHOWN = 60
WORDS = {"mean": "the mean of its tokens", "first": "its first token", "last": "its last token"}
WAYS = {"dot": "dot product", "euclidean": "Euclidean distance", "manhattan": "Manhattan distance"}
# The largest distance of a text's output in a padded batch from that alone, as a share of its length: in
# float32, and in dtypes that round. Padding that is read moves it by a tenth and more.
MOST_APART, MOST_APART_ROUNDED = 1e-3, 0.05
ALONE = "a text of a padded batch is encoded as it is alone"
DIFFERENT = "two texts are not encoded alike"


class EncoderEngine(TextModel):
    """The base of engines that encode. A subclass has ``outputs``, and ``prefill`` calls it once."""

    WHOLE_ANSWERS = True
    ENCODES = True

    def __init__(self, directory: Path, options: Options) -> None:
        self.config: Json = json_object(directory / "config.json")
        size = self.config.get("vocab_size")
        if type(size) is not int:
            raise VariantFailed(Outcome.LOAD_ERROR, "config.json: vocab_size is missing")
        super().__init__(directory, size, random=options.random)
        self.options = options
        self.embeds = options.task == "embedding"
        self.pooling = pooling_of(directory) if self.embeds else Pooling()
        self.similarity = similarity_of(directory) if self.embeds else "cosine"
        self.prompt = prompt_of(directory)
        self.longest = longest_of(directory, self.config, self.tokenizer)
        pad = getattr(self.tokenizer, "pad_token_id", None)
        self.pad = int(pad if pad is not None else self.config.get("pad_token_id") or 0)

    @abstractmethod
    def outputs(self, prompts: Sequence[Sequence[int]]) -> Any:
        """Return the outputs of one pass over a batch, [texts, numbers], as an array of the engine."""

    # ---- text ------------------------------------------------------------------------------------

    def reads(self) -> str | None:
        """Say how a text becomes a vector, or that it becomes labels."""
        text = f"a text of at most {self.longest} tokens"
        if self.prompt:
            text += f", {self.prompt[:MOST_SHOWN]!r} before it"
        if not self.embeds:
            one = len(self.config.get("id2label") or ()) == 1
            score = "its one output is a score of this text alone, not of a pair of texts"
            return f"{text}; {score}" if one else f"{text}; its label is the likeliest"
        pooled = WORDS[self.pooling.of] + (", normalised" if self.pooling.normalised else "")
        source = self.pooling.said_by or "no file beside the weights says how"
        by = "" if self.similarity == "cosine" else f"; vectors are compared by {WAYS[self.similarity]}"
        return f"{text}; its vector is {pooled} ({source}){by}"

    def read(self, text: str, longest: int | None = None) -> list[int]:
        """Return the tokens of the prompt and a text, between special tokens, cut where no more is read."""
        text = self.prompt + text
        most = min(self.longest, longest or self.longest)
        bare = self.encode(text)
        if self.tokenizer is None:
            return bare[:most]
        with encoding(len(text)):
            found = self.tokenizer(
                text, truncation=True, max_length=max(most, self._added + 1), verbose=False
            )
        return list(found["input_ids"])

    @cached_property
    def _added(self) -> int:
        return int(self.tokenizer.num_special_tokens_to_add()) if self.tokenizer is not None else 0

    def encode_chat(self, message: str) -> list[int]:
        """Return the tokens of the text itself: an encoder has no chat template."""
        return self.read(message)

    def end_ids(self) -> tuple[int, ...]:
        """Return nothing: no reply has an end."""
        return ()

    # ---- encoding --------------------------------------------------------------------------------

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[Any]:
        """Encode a batch; the generation is [prompts, outputs]."""
        return [prompts, self.outputs(prompts)]

    def step(self, generation: list[Any]) -> None:
        """Encode the batch once more: there is no next token. It is called only where nothing is timed."""
        generation[1] = self.outputs(generation[0])

    def tokens(self, generation: list[Any]) -> list[list[int]]:
        """Return no token for each text."""
        return [[] for _ in generation[0]]

    def encoded(self, generation: list[Any]) -> list[list[float]]:
        """Return the numbers of each text."""
        return [[float(value) for value in row] for row in generation[1].tolist()]

    def labels(self) -> tuple[str, ...]:
        """Return the names of the labels as the config has them, or their numbers."""
        if self.embeds:
            return ()
        named = self.config.get("id2label") or {}
        return tuple(str(named.get(str(n), n)) for n in range(len(self.encoded(self.prefill([[0]], 1))[0])))

    def finite(self, ids: Sequence[int]) -> bool:
        """Return whether the numbers of a text are finite."""
        return all(map(math.isfinite, self.encoded(self.prefill([ids], 1))[0]))

    def logits(self, ids: Sequence[int]) -> Any:
        """Refuse: no token follows another."""
        raise Unsupported("an encoder has no logits of a next token")

    def as_decoded(self) -> tuple[list[Check], float | None]:
        """Check that padding changes nothing, and that what is encoded depends on the text."""
        few, room = min(97, self.vocabulary - 3), min(self.longest, 48)
        probes = [[(number + 7 * row) % few + 3 for number in range(room // (row + 1))] for row in (0, 1)]
        alone = [self.encoded(self.prefill([ids], 1))[0] for ids in probes]
        batch = self.encoded(self.prefill(probes, 1))
        apart = max(_apart(*rows) for rows in zip(alone, batch, strict=True))
        other = _apart(*alone)
        if not all(map(math.isfinite, (apart, other))):
            return [], None
        most = MOST_APART if self.facts().dtype == "float32" else MOST_APART_ROUNDED
        return [
            check(ALONE, f"{apart:.2g} of its length apart", apart <= most, f"at most {most}"),
            check(DIFFERENT, f"{other:.2g} of their length apart", other > apart, f"more than {apart:.2g}"),
        ], None


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return math.dist(one, other) / (math.hypot(*one) or 1.0)


def padded(prompts: Sequence[Sequence[int]], pad: int) -> tuple[list[list[int]], list[list[int]] | None]:
    """Return the rows padded on the right, and a mask of what is text; None for texts of one length."""
    width = max(map(len, prompts))
    rows = [[*ids, *[pad] * (width - len(ids))] for ids in prompts]
    if all(len(ids) == width for ids in prompts):
        return rows, None
    return rows, [[1] * len(ids) + [0] * (width - len(ids)) for ids in prompts]
