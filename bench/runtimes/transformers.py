"""transformers with a greedy KV-cache decode loop of this package, on CPU and CUDA."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.engine import Changed, Options, device
from bench.engine.evidence import Check
from bench.engine.speculation import Speculator
from bench.engine.stepping import by_batch
from bench.errors import Unsupported
from bench.records import Facts
from bench.runtimes._beginning import Beginning
from bench.runtimes._caching import Batch
from bench.runtimes._checkpoint import (
    DECODERS,
    in_our_words,
    into_own_memory,
    pretrained,
    quantisation,
)
from bench.runtimes._config import must_keep_its_rotation, turns_of
from bench.runtimes._model_facts import facts_of, kv_bytes_per_token, without_gradients
from bench.runtimes._scoring import Scoring
from bench.runtimes._speculating import Speculating
from bench.runtimes._text import TextModel
from bench.runtimes._watching import Watching

REQUIRES = ("torch", "transformers", "safetensors")
ENCODER = "bench.runtimes._transformers_encoder"
DTYPES = ("float32", "bfloat16", "float16")
CACHES = ("past_key_values", "cache_params", "state")  # what architectures call it; Mamba and RWKV the others


def load(directory: Path, options: Options) -> TransformersEngine:
    """Load the model in ``directory``; see ``loaded``."""
    model = loaded(directory, options)
    with in_our_words(options.attention, directory=directory):
        return TransformersEngine(model, directory, options)


def loaded(directory: Path, options: Options, auto: str = DECODERS, unread: Any = None, **more: Any) -> Any:
    """Return the model in ``directory`` (safetensors only) on the device and in the dtype asked for.

    ``auto`` is the class that loads it, ``unread`` a pattern of tensors that may be missing or left over,
    ``more`` further arguments of ``from_pretrained``.
    Raises Unsupported if the device is not there, or a package that a packed checkpoint needs.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    chosen = _device(options.device)
    if chosen.startswith("cuda:"):
        torch.cuda.set_device(chosen)  # the GPU for libraries that are not told which one to use
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype)
    wanted: dict[str, Any] = {"dtype": dtype, "attn_implementation": options.attention, **more}
    with in_our_words(options.attention, directory=directory, auto=auto):
        if options.random:
            config = transformers.AutoConfig.from_pretrained(directory)
            torch.manual_seed(0)
            with torch.device(chosen):
                model = getattr(transformers, auto).from_config(config, **wanted)
        else:
            model = pretrained(directory, chosen, wanted, auto, unread)
        model.eval().requires_grad_(False)
        if chosen == "cpu":
            into_own_memory(model)
        return model


def not_needed(directory: Path) -> set[str]:
    """Return packages that transformers imports if they are there, though no plain checkpoint needs them.

    hqq brings 3 s of torch._inductor into every process; torchao and scipy take half a second together, and
    sklearn needs scipy. A reader of packed checkpoints may need any of them.
    """
    return set() if quantisation(directory) else {"hqq", "torchao", "scipy", "sklearn"}


def _graphs_made() -> int:
    """Return how many graphs torch.compile has made in this process, for any model."""
    import torch

    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def _device(asked: str) -> str:
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda"):
        count = torch.cuda.device_count()
        index = int(asked.partition(":")[2] or 0)
        if index >= count:
            raise Unsupported(f"device {asked} asked for, and torch sees {count} CUDA device(s)")
    return asked


class TransformersEngine(Watching, Scoring, Speculating, Beginning, TextModel):
    """Hold a loaded causal language model and its step loop."""

    def __init__(self, model: Any, directory: Path, options: Options) -> None:
        super().__init__(
            directory, model.config.get_text_config(decoder=True).vocab_size, random=options.random
        )
        self.options = options
        self.device = next(model.parameters()).device
        self.runs_on = device.of(self.device.type, self.device.index)
        self._make_cache: Callable[[int, int], Any] | None = None
        self._step: Any | None = None
        self._speculator: Speculator | None = None
        self._compiled_before = _graphs_made()
        self._turns = turns_of(vars(model.config.get_text_config(decoder=True)))
        self.change(Changed(model))

    def change(self, changed: Changed) -> None:
        """Take over what a scheme changed.

        If it changed the same model in place, the cache and step of earlier schemes stay.
        """
        if changed.model is not getattr(self, "model", None):
            self._make_cache = self._step = self._speculator = self._rest = None
            self._in_place = []
        self.model = changed.model
        if changed.make_cache is not None:
            self._make_cache = changed.make_cache
        if changed.step is not None:  # no truth test: a compiled module has ``__len__`` but no length
            self._step = changed.step
        if changed.drafter is not None:
            self._speculator = Speculator(changed.drafter)
        self._rest = changed.rest or self._rest
        self._step_model = self.model if self._step is None else self._step
        self._without_gradients = without_gradients(self.model)
        takes = inspect.signature(self.model.forward).parameters
        self._cache_name = next((name for name in CACHES if name in takes), CACHES[0])
        # RWKV, xLSTM and the first MiniMax make a cache of their own and return it.
        self._makes_own = not getattr(self.model, "_supports_default_dynamic_cache", lambda: True)()

    # ---- what was loaded -------------------------------------------------------------------------

    def facts(self) -> Facts:
        """Read the facts back from the model, not from the config that was asked for."""
        part = self._decoder_config()
        known = facts_of(
            self.model, self.device, random_weights=self.options.random, vocabulary=part.vocab_size
        )
        return replace(
            known,
            context=getattr(part, "max_position_embeddings", None),
            kv_bytes_per_token=kv_bytes_per_token(part, self.model.dtype.itemsize),
        )

    def end_ids(self) -> tuple[int, ...]:
        """Return the end tokens of the generation config, which may name several, or else of the config."""
        ends = self.model.generation_config.eos_token_id
        return super().end_ids() if ends is None else (ends,) if isinstance(ends, int) else tuple(ends)

    def as_decoded(self) -> tuple[list[Check], float | None]:
        """Check the steps; an architecture that cannot decode so is refused in one sentence."""
        with in_our_words(self.options.attention, f"{type(self.model).__name__} cannot decode step by step"):
            return super().as_decoded()

    def as_batched(self, *, padded: bool = True) -> list[Check]:
        """Check a batch; an architecture that cannot decode one is refused in one sentence."""
        cannot = f"{type(self.model).__name__} cannot decode a {'padded ' if padded else ''}batch"
        with in_our_words(self.options.attention, cannot):
            return by_batch(self, self.facts(), padded=padded)

    # ---- decoding --------------------------------------------------------------------------------

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Batch:
        """Read prompts, padded on the left so that every sequence ends in the same column.

        A batch without padding needs no mask.
        """
        import torch

        width = max(len(prompt) for prompt in prompts)
        must_keep_its_rotation(self._turns, [*map(len, prompts)], new_tokens)
        padded = [[0] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        cache, mask, positions = self._new_cache(len(prompts), width + new_tokens), None, None
        with self._without_gradients():  # tensors of another kind than those of a step would be another graph
            ids = torch.tensor(padded, device=self.device)
            if any(len(prompt) != width for prompt in prompts):
                columns = self._room(cache) or width + new_tokens
                mask = torch.ones(len(prompts), columns, dtype=torch.long, device=self.device)
                for row, prompt in enumerate(prompts):
                    mask[row, : width - len(prompt)] = 0
                positions = mask.cumsum(-1).sub_(1).clamp_(min=0)
        batch = Batch(cache, mask, positions, 0, whole_mask=self._room(cache) is not None)
        self._advance(batch, ids)
        if self._speculator is not None:
            self.begin_drafting(batch, prompts, new_tokens)
        return batch

    def step(self, generation: Batch) -> None:
        """Give one more token of every sequence: run one forward pass for it, unless it was drafted."""
        if generation.speculation is None:
            return self._advance(generation, generation.chosen[-1])
        return self.give_drafted(generation)

    def _advance(self, batch: Batch, ids: Any) -> None:
        if self.crosses(batch):
            return self.give_split(batch, ids)
        start, batch.length = batch.length, batch.length + ids.shape[1]
        with self._without_gradients():
            out = self._pass(
                self.model if ids.shape[1] > 1 else self._step_model,
                ids,
                batch.cache,
                mask=batch.mask_of(start),
                positions=None if batch.positions is None else batch.positions[:, start : batch.length],
            )
            if self._makes_own:
                batch.cache = out.get(self._cache_name)
            last = out.logits[:, -1]
            if self._watch is not None:
                batch.watched.append(self._watch(last))
            batch.chosen.append(self._choose(last) if self._choose else last.argmax(-1, keepdim=True))
        return None

    def tokens(self, generation: Batch) -> list[list[int]]:
        """Copy the chosen tokens to the host. Call this outside a timed region."""
        import torch

        return [list(row) for row in torch.cat(generation.chosen, dim=1).tolist()]

    def compiled_graphs(self) -> int:
        return _graphs_made() - self._compiled_before
