"""Tiny models whose replies are as long as a test wants: each token has exactly one successor.

The body is a Llama whose layers add nothing, so the state of a token is its own embedding, and the row of
the head that fits it best is that of its successor.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from byte_tokenizer import SIZE, write_tokenizer

THINK, DONE = "<think>", "</think>"
START, END, EOS = SIZE, SIZE + 1, 1
FIRST = 150  # the first of the tokens that stand for thoughts; each is one byte


def path_of(thoughts: int, words: int) -> tuple[int, ...]:
    """The tokens of a reply: a marker, thoughts, a marker, words and the end token."""
    thinking = range(FIRST, FIRST + thoughts)
    answer = range(FIRST + thoughts, FIRST + thoughts + words)
    return START, *thinking, END, *answer, EOS


def write_thinker(to: Path, thoughts: int, words: int = 5) -> Path:
    """Write a model that answers every prompt so, whatever its last token is."""
    import torch
    import transformers

    vocabulary = SIZE + 2
    config = transformers.LlamaConfig(
        vocab_size=vocabulary, hidden_size=320, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024, bos_token_id=0,
        eos_token_id=EOS, tie_word_embeddings=False,
    )  # fmt: skip
    model: Any = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        own = torch.eye(vocabulary, config.hidden_size)  # no two tokens have anything in common
        model.model.embed_tokens.weight.copy_(own)
        head = torch.zeros(vocabulary, config.hidden_size)
        for before, after in _successors(path_of(thoughts, words), vocabulary):
            head[after] += own[before]
        model.lm_head.weight.copy_(head)
    model.generation_config = transformers.GenerationConfig(bos_token_id=0, eos_token_id=EOS)
    model.save_pretrained(to)
    write_tokenizer(to, (THINK, DONE))
    return to


def _successors(path: Sequence[int], vocabulary: int) -> list[tuple[int, int]]:
    within = dict(pairwise(path))
    return [(token, within.get(token, path[0])) for token in range(vocabulary)]
