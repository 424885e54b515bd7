"""Run encoders in transformers, on CPU and CUDA: the model's own forward pass, then pooling."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.engine import Changed, Options, device
from bench.records import Facts
from bench.runtimes import transformers as decoders
from bench.runtimes._encoder import EncoderEngine, padded
from bench.runtimes._model_facts import facts_of, without_gradients

AUTO = {"embedding": "AutoModel", "classification": "AutoModelForSequenceClassification"}
# Parts of a checkpoint behind the hidden states, which no embedding reads: heads, and the pooler of BERT.
BEHIND = re.compile(
    r"(^|\.)(cls|pooler|lm_head|head|decoder|classifier|qa_outputs|vocab_\w+|\w+_predictions|position_ids)(\.|$)"
)


def load(directory: Path, options: Options) -> TransformersEncoder:
    """Load the encoder in ``directory``. Raises Unsupported as the engine for decoders does, and for pooling
    that is not known here."""
    task = str(options.task)
    model = decoders.loaded(directory, options, AUTO[task], BEHIND if task == "embedding" else None)
    model.config.use_cache = False  # of a decoder that embeds: nothing follows
    if task == "embedding" and getattr(model, "pooler", None) is not None:
        model.pooler = None
    return TransformersEncoder(model, directory, options)


class TransformersEncoder(EncoderEngine):
    """Hold a loaded encoder."""

    def __init__(self, model: Any, directory: Path, options: Options) -> None:
        super().__init__(directory, options)
        self.device = next(model.parameters()).device
        self.runs_on = device.of(self.device.type, self.device.index)
        self.change(Changed(model))

    @property
    def name(self) -> str:
        """Return the name of the model's class."""
        return type(self.model).__name__

    def change(self, changed: Changed) -> None:
        """Use the model that a scheme returned."""
        self.model = changed.model
        self._without_gradients = without_gradients(self.model)

    def facts(self) -> Facts:
        """Read the facts back from the model."""
        known = facts_of(
            self.model, self.device, random_weights=self.options.random, vocabulary=self.vocabulary
        )
        return replace(known, context=self.longest, loaded=self.reads())

    def outputs(self, prompts: Sequence[Sequence[int]]) -> Any:
        """Return float32 vectors or logits of labels, [texts, numbers]. Texts of one length need no mask."""
        import torch

        rows, masked = padded(prompts, self.pad)
        ids = torch.tensor(rows, device=self.device)
        mask = None if masked is None else torch.tensor(masked, device=self.device)
        with self._without_gradients():
            out = self.model(input_ids=ids, attention_mask=mask)
            return self._pooled(out.last_hidden_state, mask) if self.embeds else out.logits.float()

    def _pooled(self, hidden: Any, mask: Any | None) -> Any:
        from torch.nn.functional import normalize

        if self.pooling.of == "first":
            vectors = hidden[:, 0].float()
        elif mask is None:
            vectors = hidden[:, -1].float() if self.pooling.of == "last" else hidden.float().mean(1)
        elif self.pooling.of == "last":
            vectors = hidden[range(len(hidden)), mask.sum(1) - 1].float()
        else:
            weights = mask.unsqueeze(-1)
            vectors = (hidden.float() * weights).sum(1) / weights.sum(1)
        return normalize(vectors) if self.pooling.normalised else vectors
