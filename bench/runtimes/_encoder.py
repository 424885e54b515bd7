"""Run encoders: one pass over a text gives a vector, or a number for each label. No token is written.

What stands beside the weights decides how the hidden states of a text become one vector: the files of
sentence-transformers (``modules.json``, ``1_Pooling/config.json``, ``sentence_bert_config.json``). Without
them it is the mean over the tokens, and the evidence of the row says so.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.engine import Options
from bench.engine.evidence import Check, check
from bench.engine.template_limits import encoding
from bench.errors import Outcome, Unsupported, UsageError, VariantFailed
from bench.models.json_files import json_object, read_json
from bench.records.json_form import Json
from bench.runtimes._text import TextModel

MODULES, POOLING, SENTENCE = "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"
PLACES = {"Transformer": "", "Pooling": "1_Pooling"}  # of the steps that have files
FLAG = "pooling_mode_"
POOLINGS = {"mean": "mean", "cls": "first", "lasttoken": "last"}  # in their words and in ours
WORDS = {"mean": "the mean of its tokens", "first": "its first token", "last": "its last token"}
SHIFTED = ("roberta", "xlm-roberta", "camembert", "mpnet")  # positions begin behind that of the padding
MOST_SHOWN = 60
USUAL_LENGTH = 512  # of a config that names no longest text
# The largest distance of a text's output in a padded batch from that alone, as a share of its length: in
# float32, and in dtypes that round. Padding that is read moves it by a tenth and more.
MOST_APART, MOST_APART_ROUNDED = 1e-3, 0.05
ALONE = "a text of a padded batch is encoded as it is alone"
DIFFERENT = "two texts are not encoded alike"


@dataclass(frozen=True)
class Pooling:
    """How the hidden states of a text become one vector; ``said_by`` names the files that say so."""

    of: str = "mean"
    normalised: bool = False
    said_by: str = ""


def pooling_of(directory: Path) -> Pooling:
    """Read the files of sentence-transformers. Raises Unsupported for a step that is not known here, or that
    lies elsewhere."""
    modules = [one for one in _json(directory / MODULES, list) or [] if isinstance(one, dict)]
    kinds = [str(one.get("type")).rpartition(".")[2] for one in modules]
    if other := set(kinds) - {"Transformer", "Pooling", "Normalize"}:
        raise Unsupported(f"{MODULES} has a step {min(other)[:MOST_SHOWN]}, which is not known here")
    for kind, one in zip(kinds, modules, strict=True):
        place = PLACES.get(kind) if one.get("path") is None else str(one["path"]).rstrip("/")
        if place is not None and kind in PLACES and place != PLACES[kind]:
            lies = f"{place[:MOST_SHOWN]!r}, and it is read from {PLACES[kind] or 'the directory itself'}"
            raise Unsupported(f"{MODULES} has its {kind} in {lies}")
    said = _json(directory / POOLING, dict)
    if said is None and "Pooling" in kinds:
        raise Unsupported(f"{MODULES} has a step Pooling, and {POOLING} is not there")
    if said is None:
        return Pooling(normalised="Normalize" in kinds, said_by=MODULES if kinds else "")
    flags = [key.removeprefix(FLAG) for key, value in said.items() if key.startswith(FLAG) and value is True]
    of_flags = [flag.removesuffix("s").removesuffix("_token") for flag in flags]
    wanted = of_flags or [str(said.get("pooling_mode"))[:MOST_SHOWN]]
    if len(wanted) != 1 or wanted[0] not in POOLINGS:
        asked = " and ".join(wanted)
        raise Unsupported(f"{POOLING} asks for {asked}, and only {', '.join(POOLINGS)} are known here")
    files = f"{POOLING}, {MODULES}" if kinds else POOLING
    return Pooling(POOLINGS[wanted[0]], "Normalize" in kinds, files)


def longest_of(directory: Path, config: Json, tokenizer: Any | None) -> int:
    """Return how many tokens of a text are read: the least that the files beside the weights say. Raises
    Unsupported if they say that a text is put into small letters: its tokenizer would not do that."""
    sentence = _json(directory / SENTENCE, dict) or {}
    if sentence.get("do_lower_case"):
        raise Unsupported(f"{SENTENCE} asks for small letters (do_lower_case), which is not done here")
    positions = config.get("max_position_embeddings") or USUAL_LENGTH
    said = [
        positions - (2 if config.get("model_type") in SHIFTED else 0),
        sentence.get("max_seq_length"),
        getattr(tokenizer, "model_max_length", None),
    ]
    return min(one for one in said if type(one) is int and one > 0)


def _json(path: Path, kind: type) -> Any | None:
    """Return what a file holds; None without it. Raises VariantFailed unless it is JSON of this kind."""
    if not path.is_file():
        return None
    try:
        found = read_json(path)
    except UsageError as bad:
        raise VariantFailed(Outcome.LOAD_ERROR, str(bad)) from None
    if not isinstance(found, kind):
        raise VariantFailed(Outcome.LOAD_ERROR, f"{path}: is no JSON {kind.__name__}")
    return found


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
        self.longest = longest_of(directory, self.config, self.tokenizer)
        pad = getattr(self.tokenizer, "pad_token_id", None)
        self.pad = int(pad if pad is not None else self.config.get("pad_token_id") or 0)

    @abstractmethod
    def outputs(self, prompts: Sequence[Sequence[int]]) -> Any:
        """Return the outputs of one pass over a batch, [texts, numbers], as an array of the engine."""

    # ---- text ------------------------------------------------------------------------------------

    def reads(self) -> str | None:
        """Say how a text becomes a vector, or that it becomes labels."""
        if not self.embeds:
            return f"a text of at most {self.longest} tokens; its label is the likeliest"
        pooled = WORDS[self.pooling.of] + (", normalised" if self.pooling.normalised else "")
        source = self.pooling.said_by or "no file beside the weights says how"
        return f"a text of at most {self.longest} tokens; its vector is {pooled} ({source})"

    def read(self, text: str, longest: int | None = None) -> list[int]:
        """Return the tokens of a text between the special tokens of its model, cut where it reads no more."""
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
