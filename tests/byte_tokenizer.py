"""A tokenizer of 260 tokens, one for each byte, for tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIZE = 260


def write_tokenizer(to: Path, words: tuple[str, ...] = ()) -> None:
    """Write it beside the weights, with further ``words`` beyond the vocabulary."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokens = ["<s>", "</s>", "<u>", "<a>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer: Any = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.add_tokens(list(words))
    fast.save_pretrained(to)
