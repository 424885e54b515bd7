"""A Llama decoder in plain NumPy: slow, small, without torch, so a worker starts in a fraction of a second.

It is a reference to check the other engines against. It also gives gates that need many fresh processes real
arithmetic. It reads the same safetensors as transformers, and computes in float32 on the CPU. All prompts of
a batch must have one length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.engine import Options, Work
from bench.engine.evidence import Census, Matrix
from bench.errors import Unsupported
from bench.models.json_files import json_object
from bench.records import Facts
from bench.runtimes._config import unknown_key
from bench.runtimes._llama import Shape, blas_threads, random_weights, read_weights, rotate, rotation
from bench.runtimes._plain_text import PlainText, must_read_as_transformers, why_other_tokens
from bench.runtimes._text import end_ids_of

if TYPE_CHECKING:
    from bench.runtimes._llama import Weights

REQUIRES = ("numpy", "safetensors")
USES = ("name", "device", "dtype", "threads", "task", "python")  # it has one attention
DTYPES = ("float32",)


def refuse_model(config: Mapping[str, Any]) -> str | None:
    """Return why this engine does not compute the model of a ``config.json``; None if it does."""
    if config.get("model_type") != "llama":
        return f"the numpy engine knows llama, not {str(config.get('model_type'))[:60]}"
    return unknown_key("numpy", config)


refuse_directory = why_other_tokens  # what bench check asks of a model's files, beside its config


def load(directory: Path, options: Options) -> NumpyEngine:
    """Load the model.

    Raises Unsupported for a device, a dtype or an architecture that this engine does not know.
    """
    config = json_object(directory / "config.json")
    if options.device.startswith("cuda"):
        raise Unsupported("the numpy engine runs on the CPU")
    if options.dtype != "float32":
        raise Unsupported(f"the numpy engine computes in float32, not in {options.dtype}")
    if reason := refuse_model(config):
        raise Unsupported(reason)
    if not options.random:
        must_read_as_transformers(directory)
    shape = Shape.of(config)
    weights = random_weights(shape) if options.random else read_weights(directory, shape)
    return NumpyEngine(shape, weights, directory, options)


@dataclass
class Batch:
    """Hold sequences of one length that are being decoded.

    The keys and values have room for the tokens to come.
    """

    keys: Any
    values: Any
    length: int = 0
    chosen: list[Any] = field(default_factory=list)


class NumpyEngine(PlainText):
    """Hold a loaded model. ``model`` maps names to its weights."""

    TORCH = False

    def __init__(self, shape: Shape, weights: Weights, directory: Path, options: Options) -> None:
        super().__init__(directory, shape.vocabulary, random=options.random)
        self.shape, self.model, self.options = shape, weights, options
        self._ends = end_ids_of(directory)
        self._calls = self._flops = 0

    def facts(self) -> Facts:
        """Read the facts back from the weights."""
        import numpy as np

        return Facts(
            engine=f"numpy {np.__version__}",
            device="cpu",
            device_name="cpu",
            dtype=str(self.model["embed"].dtype),
            threads=blas_threads(),
            vocabulary=self.shape.vocabulary,
            context=self.shape.context,
            kv_bytes_per_token=8 * self.shape.layers * self.shape.kv_heads * self.shape.head_dim,
            random_weights=self.options.random,
        )

    def end_ids(self) -> tuple[int, ...]:
        """Return the end tokens, as the engines with transformers find them."""
        return self._ends

    # ---- decoding --------------------------------------------------------------------------------

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Batch:
        """Read prompts of one length. Raises Unsupported if their lengths differ."""
        import numpy as np

        if len({len(prompt) for prompt in prompts}) > 1:
            raise Unsupported("the numpy engine decodes batches of one prompt length only")
        ids = np.array([list(prompt) for prompt in prompts])
        room = (
            self.shape.layers,
            len(ids),
            self.shape.kv_heads,
            ids.shape[1] + new_tokens,
            self.shape.head_dim,
        )
        batch = Batch(np.zeros(room, np.float32), np.zeros(room, np.float32))
        batch.chosen.append(self._logits(ids, batch, last=True).argmax(-1))
        return batch

    def step(self, generation: Batch) -> None:
        """Decode one more token for every sequence."""
        ids = generation.chosen[-1].reshape(-1, 1)
        generation.chosen.append(self._logits(ids, generation, last=True).argmax(-1))

    def tokens(self, generation: Batch) -> list[list[int]]:
        """Return one list of token ids per prompt."""
        return [
            [int(chosen[row]) for chosen in generation.chosen] for row in range(len(generation.chosen[0]))
        ]

    def logits(self, ids: Sequence[int]) -> Any:
        """Return the logits of a window as a torch tensor, because drift is computed with torch."""
        import torch

        return torch.from_numpy(self._window(ids))

    def cache_bytes(self, generation: Batch) -> int:
        """Return the bytes of keys and values in use."""
        whole = int(generation.keys.nbytes + generation.values.nbytes)
        return whole * generation.length // int(generation.keys.shape[3])

    def work(self) -> Work:
        """Return the calls and operations counted so far.

        Matrix products and attention count, with two operations per multiplication.
        """
        return Work(self._calls, self._flops)

    def census(self, *, count_zeros: bool = True) -> Census:
        """List every weight matrix as it is stored."""
        stored = {id(weight): weight for weight in self.model.values()}
        matrices = tuple(
            Matrix(name, "ndarray", str(w.dtype), w.size, w.nbytes, None, is_head=name == "head")
            for name, w in self.model.items()
            if w.ndim == 2 and name != "embed"
        )
        total = sum(int(weight.nbytes) for weight in stored.values())
        return Census(matrices, total, {"float32": total})

    def parameters(self) -> int:
        """Return how many numbers the model has; tied ones are counted once."""
        return sum(int(weight.size) for weight in {id(w): w for w in self.model.values()}.values())

    def finite(self, ids: Sequence[int]) -> bool:
        """Return whether the logits of a prompt are all finite."""
        import numpy as np

        return bool(np.isfinite(self._window(ids)).all())

    def synchronise(self) -> None:
        """Do nothing: there is nothing to wait for."""

    def _window(self, ids: Sequence[int]) -> Any:
        import numpy as np

        room = (self.shape.layers, 1, self.shape.kv_heads, len(ids), self.shape.head_dim)
        return self._logits(
            np.array([list(ids)]), Batch(np.zeros(room, np.float32), np.zeros(room, np.float32))
        )[0]

    def _logits(self, ids: Any, batch: Batch, last: bool = False) -> Any:
        """Return logits [sequences, positions, vocabulary], and fill the cache.

        If ``last`` is true, return those of the last position, [sequences, vocabulary].
        """
        import numpy as np

        start, end = batch.length, batch.length + ids.shape[1]
        batch.length = end
        self._calls += 1
        self._flops += self.shape.flops(ids.shape[0], ids.shape[1], end, last)
        turn = rotation(self.shape, start, end)
        x = self.model["embed"][ids]
        for layer in range(self.shape.layers):
            x = x + self._attention(layer, self._norm(x, f"{layer}.input_layernorm"), batch, turn, start, end)
            y = self._norm(x, f"{layer}.post_attention_layernorm")
            gate = y @ self.model[f"{layer}.gate_proj"].T
            inner = gate / (1 + np.exp(-gate)) * (y @ self.model[f"{layer}.up_proj"].T)
            x = x + inner @ self.model[f"{layer}.down_proj"].T
        x = self._norm(x[:, -1] if last else x, "norm")
        return x @ self.model["head"].T

    def _norm(self, x: Any, name: str) -> Any:
        import numpy as np

        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.shape.epsilon) * self.model[name]

    def _attention(self, layer: int, x: Any, batch: Batch, turn: Any, start: int, end: int) -> Any:
        """Compute causal grouped-query attention over everything in the cache."""
        import numpy as np

        shape = self.shape
        q, k, v = (
            (x @ self.model[f"{layer}.{name}"].T).reshape(*x.shape[:2], heads, shape.head_dim).swapaxes(1, 2)
            for name, heads in (
                ("q_proj", shape.heads),
                ("k_proj", shape.kv_heads),
                ("v_proj", shape.kv_heads),
            )
        )
        batch.keys[layer][:, :, start:end] = rotate(k, turn)
        batch.values[layer][:, :, start:end] = v
        repeat = shape.heads // shape.kv_heads
        keys = batch.keys[layer][:, :, :end].repeat(repeat, axis=1)
        values = batch.values[layer][:, :, :end].repeat(repeat, axis=1)
        scores = rotate(q, turn) @ keys.swapaxes(-1, -2) / np.float32(np.sqrt(shape.head_dim))
        if end - start > 1:
            hidden = np.triu(np.ones((end - start, end), bool), start + 1)
            scores = np.where(hidden, np.float32(-np.inf), scores)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ values
        return mixed.swapaxes(1, 2).reshape(*x.shape[:2], -1) @ self.model[f"{layer}.o_proj"].T
