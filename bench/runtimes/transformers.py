"""transformers with our own KV-cache decode loop, greedy, on CPU and CUDA."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import Unsupported
from bench.runtimes import Options

REQUIRES = ("torch", "transformers", "safetensors")
DTYPES = ("float32", "bfloat16", "float16")


def load(directory: Path, options: Options) -> TransformersEngine:
    """Load the model in ``directory`` (safetensors only) on the device and in the dtype asked for.

    Raises Unsupported when the device or the dtype cannot be had here.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    device = _device(options.device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype)
    wanted: dict[str, Any] = {"dtype": dtype, "attn_implementation": options.attention}
    if options.random:
        config = transformers.AutoConfig.from_pretrained(directory)
        torch.manual_seed(0)
        with torch.device(device):
            model = transformers.AutoModelForCausalLM.from_config(config, **wanted)
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            directory, use_safetensors=True, local_files_only=True, trust_remote_code=False, **wanted
        ).to(device)
    model.eval().requires_grad_(False)
    return TransformersEngine(model, _tokenizer(directory), options)


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


def _tokenizer(directory: Path) -> Any | None:
    import transformers

    if not (directory / "tokenizer.json").exists() and not (directory / "tokenizer_config.json").exists():
        return None
    return transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)


@dataclass
class Batch:
    """The state of one batch being decoded. ``mask`` has room for every token to come."""

    cache: Any
    mask: Any | None
    positions: Any | None
    length: int
    chosen: list[Any] = field(default_factory=list)


class TransformersEngine:
    """A loaded causal language model and its step loop."""

    def __init__(self, model: Any, tokenizer: Any | None, options: Options) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.options = options
        self.device = next(model.parameters()).device
        self._synchronise = _synchroniser(self.device)

    # ---- what was loaded -------------------------------------------------------------------------

    def facts(self) -> dict[str, object]:
        """Read back from the model, not from the config that was asked for."""
        import torch
        import transformers

        config = self.model.config
        cuda = self.device.type == "cuda"
        return {
            "engine": f"transformers {transformers.__version__}, torch {torch.__version__}",
            "device": str(self.device),
            "device_name": torch.cuda.get_device_name(self.device) if cuda else "cpu",
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "attention": config._attn_implementation,
            "threads": torch.get_num_threads(),
            "vocabulary": config.get_text_config().vocab_size,
            "context": getattr(config.get_text_config(), "max_position_embeddings", None),
            "kv_bytes_per_token": _kv_bytes_per_token(config.get_text_config(), self.model.dtype.itemsize),
            "random_weights": self.options.random,
        }

    # ---- text ------------------------------------------------------------------------------------

    def encode(self, text: str) -> list[int]:
        """Token ids without special tokens. A model without a tokenizer reads bytes modulo its vocabulary."""
        if self.tokenizer is None:
            vocabulary = self.model.config.get_text_config().vocab_size
            return [byte % vocabulary for byte in text.encode()]
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def encode_chat(self, message: str) -> list[int]:
        """One user turn in the model's own chat template."""
        if self.tokenizer is None or not self.tokenizer.chat_template:
            return self.encode(message)
        turns = [{"role": "user", "content": message}]
        text = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        return self.encode(text)

    def text(self, ids: Sequence[int]) -> str:
        """Text of ``ids`` without special tokens; the ids themselves where there is no tokenizer."""
        if self.tokenizer is None:
            return json.dumps(list(ids))
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def end_ids(self) -> tuple[int, ...]:
        """From the generation config, which may name several."""
        ends = self.model.generation_config.eos_token_id
        return () if ends is None else (ends,) if isinstance(ends, int) else tuple(ends)

    # ---- decoding --------------------------------------------------------------------------------

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Batch:
        """Left-padded so that every sequence ends in the same column; unpadded batches need no mask."""
        import torch
        from transformers import DynamicCache

        width = max(len(prompt) for prompt in prompts)
        padded = [[0] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        ids = torch.tensor(padded, device=self.device)
        mask = positions = None
        if any(len(prompt) != width for prompt in prompts):
            mask = torch.ones(len(prompts), width + new_tokens, dtype=torch.long, device=self.device)
            for row, prompt in enumerate(prompts):
                mask[row, : width - len(prompt)] = 0
            positions = mask.cumsum(-1).sub_(1).clamp_(min=0)
        batch = Batch(DynamicCache(config=self.model.config), mask, positions, 0)
        self._advance(batch, ids)
        return batch

    def step(self, generation: Batch) -> None:
        """One forward pass for one more token of every sequence."""
        self._advance(generation, generation.chosen[-1])

    def _advance(self, batch: Batch, ids: Any) -> None:
        import torch

        start, batch.length = batch.length, batch.length + ids.shape[1]
        with torch.inference_mode():
            out = self.model(
                input_ids=ids,
                attention_mask=None if batch.mask is None else batch.mask[:, : batch.length],
                position_ids=None if batch.positions is None else batch.positions[:, start : batch.length],
                past_key_values=batch.cache,
                use_cache=True,
                logits_to_keep=1,
            )
            batch.chosen.append(out.logits[:, -1].argmax(-1, keepdim=True))

    def tokens(self, generation: Batch) -> list[list[int]]:
        """Copied to the host: call it outside a timed region."""
        import torch

        return [list(row) for row in torch.cat(generation.chosen, dim=1).tolist()]

    def cache_bytes(self, generation: Batch) -> int:
        """Bytes of the keys and values held for this batch."""
        layers = getattr(generation.cache, "layers", ())
        return sum(part.nbytes for layer in layers for part in (layer.keys, layer.values))

    def logits(self, ids: Sequence[int]) -> Any:
        """One window, one forward pass, no cache; float32 whatever the model's dtype."""
        import torch

        with torch.inference_mode():
            window = torch.tensor([list(ids)], device=self.device)
            return self.model(input_ids=window, use_cache=False).logits[0].float()

    def synchronise(self) -> None:
        """Nothing to wait for on the CPU, ``torch.cuda.synchronize`` on CUDA."""
        self._synchronise()


def _synchroniser(device: Any) -> Any:
    import torch

    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def _kv_bytes_per_token(config: Any, item_bytes: int) -> int:
    """2 · layers · kv_heads · head_dim · bytes (METRICS 4.4)."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * head_dim * item_bytes)
