"""List the numbers of the GGUF format, and how much of each part any model has (ggml.h, gguf.h)."""

from __future__ import annotations

from pathlib import PurePath

from bench.formatting import MIB

MAGIC = b"GGUF"
SUFFIX = ".gguf"  # in small letters or capitals: disks of other systems do not tell them apart
MAX_ENTRIES = 65_536  # tensors, and key-value pairs: a real model has hundreds
MAX_NAME_BYTES = 65_536
MAX_NAMES_BYTES = 16 * MIB  # of all keys, or of all tensors: they are kept, and must not occur twice
MAX_TEXT_BYTES = 64 * MIB  # of one text: a whole tokenizer.json may be one
MAX_TEXTS_BYTES = 128 * MIB  # of all texts: a reader makes a list of their letters
MAX_DIMENSIONS = 4
MAX_ITEMS = 2_000_000  # of all arrays of texts: the largest vocabulary has 262,144, and as many merges
MAX_NUMBERS = 8_000_000  # of all arrays of numbers: a score and a type for each token
MAX_SIZE = 2**63 - 1
MAX_WHOLE = 2**31 - 1  # what a library keeps in 32 bits
USUAL_ALIGNMENT = 32

ALIGNMENT, ARCHITECTURE = "general.alignment", "general.architecture"
PART, PARTS = "split.no", "split.count"  # which part of a model the file is, counted from 0, and of how many
TOKENIZER = "tokenizer."  # how the keys of a tokenizer begin
TEMPLATE = f"{TOKENIZER}chat_template"
BEGIN, END, PAD = (f"{TOKENIZER}ggml.{name}_token_id" for name in ("bos", "eos", "padding"))

STRING, ARRAY = 8, 9
# The bytes of each scalar type of a value, by its number.
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
WHOLE_FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 10: "Q", 11: "q"}
REAL_FORMS = {6: "f", 12: "d"}
# (weights in a block, bytes of a block) of each tensor type, by its number.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17),
}  # fmt: skip
UNKNOWN = (8, 1)  # a type that came later packs a weight into no less than a bit

# Sizes and settings of a model, by their keys without the architecture in front. One for each layer is an
# array.
WHOLE = frozenset({
    "block_count", "embedding_length", "feed_forward_length", "context_length", "vocab_size",
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length",
    "expert_count", "expert_used_count", "expert_feed_forward_length", "rope.dimension_count",
})  # fmt: skip
MAY_BE_0 = frozenset({"expert_count", "expert_used_count", "feed_forward_length", "rope.dimension_count"})
REAL = frozenset({"rope.freq_base", "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"})


def is_gguf(path: PurePath | str) -> bool:
    """Return whether a path has the name of a GGUF file; nothing is read."""
    return PurePath(path).suffix.lower() == SUFFIX
