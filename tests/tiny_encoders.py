"""Tiny encoders on disk: BERT and others of two layers, with a tokenizer of letters and without a network."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = string.ascii_lowercase + string.digits + ".,:;-_()'\"`"
MEAN_NORMALISED = {"pooling_mode_mean_tokens": True}


def write_encoder(
    path: Path,
    *,
    head: str = "AutoModel",
    pooling: dict[str, Any] | None = None,
    normalised: bool = True,
    seed: int = 1,
    **config: Any,
) -> Path:
    """A BERT of two layers with opinions; ``pooling`` is written as sentence-transformers does."""
    import torch
    import transformers

    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "vocab_size": len(WORDS) + 2 * len(LETTERS), "max_position_embeddings": 64, "pad_token_id": 0,
    }  # fmt: skip
    model = getattr(transformers, head).from_config(transformers.BertConfig(**{**sizes, **config}))
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(path)
    write_letters(path)
    if pooling is not None:
        (path / "1_Pooling").mkdir()
        (path / "1_Pooling" / "config.json").write_text(
            json.dumps({"word_embedding_dimension": 32, **pooling})
        )
        steps = ["Transformer", "Pooling", *(["Normalize"] if normalised else [])]
        modules = [{"idx": n, "type": f"sentence_transformers.models.{step}"} for n, step in enumerate(steps)]
        (path / "modules.json").write_text(json.dumps(modules))
    return path


def write_letters(path: Path) -> None:
    """A WordPiece tokenizer whose words are letters, between [CLS] and [SEP]."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = [*WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer: Any = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(path)
