"""Check the vocabulary in the header of a GGUF file: its arrays must fit each other and the embeddings.

llama.cpp says what does not fit when it loads a file; transformers, which converts it for all other engines,
takes scores that are texts, and says of the other faults no more than that a float is not subscriptable.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.models import gguf_format as fmt

_PREFIX, _ID = "tokenizer.ggml.", "_token_id"
TOKENS, SCORES, TYPES = (f"{_PREFIX}{name}" for name in ("tokens", "scores", "token_type"))
EMBEDDINGS = "token_embd.weight"
_TEXTS, _FLOATS, _INTEGERS = ((fmt.STRING,), "texts"), ((6,), "float32"), ((4, 5), "32-bit whole numbers")
# What the array of a key holds: the numbers of the types that readers understand, and a word for them.
_HELD: Mapping[str, tuple[tuple[int, ...], str]] = {
    TOKENS: _TEXTS, f"{_PREFIX}merges": _TEXTS, SCORES: _FLOATS, TYPES: _INTEGERS,
}  # fmt: skip


class Vocabulary:
    """What a header has said of its vocabulary. Every method raises ValueError for what cannot be."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._rows: int | None = None

    def value(self, key: str, kind: int) -> None:
        """Look at the type of the value of a key."""
        if key in _HELD and kind != fmt.ARRAY:
            raise ValueError(f"the value of {key!r} is of type {kind}, not an array of {_HELD[key][1]}")
        if key.startswith(_PREFIX) and key.endswith(_ID) and kind not in fmt.WHOLE_FORMS:
            raise ValueError(f"the value of {key[:60]!r} is of type {kind}, not a whole number")

    def array(self, key: str, of: int, count: int) -> None:
        """Look at an array that is the value of a key."""
        if key not in _HELD:
            return
        kinds, words = _HELD[key]
        if of not in kinds:
            raise ValueError(f"the array {key!r} holds values of type {of}, not {words}")
        self._counts[key] = count

    def tensor(self, name: str, shape: tuple[int, ...]) -> None:
        """Take the rows of the embeddings; the first number of a shape is the length of a row."""
        if name == EMBEDDINGS and len(shape) == 2:
            self._rows = shape[1]

    def must_fit(self, vocab_size: int | None) -> None:
        """Compare all with each other. ``vocab_size`` is the model's own; None if the header names none."""
        tokens = self._counts.get(TOKENS)
        for key in (SCORES, TYPES):
            count = self._counts.get(key)
            if count is not None and count != tokens:
                raise ValueError(f"{key!r} has {count} values, and there are {tokens or 0} tokens")
        for what, most in (("its tokenizer", tokens), ("its vocab_size", vocab_size)):
            if self._rows is not None and most is not None and most > self._rows:
                raise ValueError(f"{what} has {most} tokens, and {EMBEDDINGS} has rows for {self._rows}")
