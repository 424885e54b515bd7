"""ONNX Runtime on the CPU, greedy, one step at a time, with keys and values written in place.

Its ``GroupQueryAttention`` operator needs prompts that are padded on the right. It counts the tokens of each
sequence.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.engine import Options, one_off
from bench.engine.evidence import Census
from bench.errors import Unsupported
from bench.models.json_files import json_object
from bench.records import Facts, Json
from bench.runtimes import _onnx, _onnx_graph, _threads
from bench.runtimes._onnx import FILE, KEPT
from bench.runtimes._onnx_graph import Model
from bench.runtimes._text import TextModel
from bench.runtimes._whole import is_tied

REQUIRES = ("onnxruntime", "onnxruntime_genai", "onnx", "onnx_ir")
ENVIRONMENT = ("onnxruntime==1.32.0", "onnxruntime-genai==0.18.0", "onnx==1.23.2", "onnx-ir==1.1.0")
DTYPES = ("float32",)
RANDOM = False  # what it loads is written from weights on the disk
ENCODER = "bench.runtimes._onnx_encoder"
PAST, PRESENT = "past_key_values.", "present."


def refuse_model(config: Mapping[str, Any]) -> str | None:
    """Return why this engine does not compute the model of a ``config.json``; None if it does."""
    return _onnx.refuse_model(config)


def load(directory: Path, options: Options) -> OnnxRuntimeEngine:
    """Load the model on the CPU.

    Raises Unsupported for another device or dtype, for random weights, and for architectures that are not
    known here.
    """
    check(options)
    model = Model(_onnx.exported(directory, ENVIRONMENT), options.threads or _threads.usual())
    return OnnxRuntimeEngine(model, directory, options)


def check(options: Options) -> None:
    """Raise Unsupported for what this engine cannot do, whatever the model."""
    if options.device.startswith("cuda"):
        raise Unsupported("this build of ONNX Runtime runs on the CPU")
    if options.random:
        raise Unsupported("the onnxruntime engine needs a model's weights, not random ones")
    if options.dtype not in DTYPES:
        raise Unsupported(f"ONNX Runtime multiplies in float32 on the CPU, not in {options.dtype}")


# ---- decoding ------------------------------------------------------------------------------------


@dataclass
class Batch:
    """Hold sequences that are being decoded.

    ``caches`` are the keys and values of every layer, each [sequences, heads, room, width]. ``logits``
    [sequences, positions, vocabulary] is written by every call. ``inputs`` are the arrays that the last call
    read in place.
    """

    binding: Any
    lengths: Any
    caches: list[Any] = field(default_factory=list)
    logits: Any = None
    inputs: dict[str, Any] = field(default_factory=dict)
    chosen: list[Any] = field(default_factory=list)


class OnnxRuntimeEngine(TextModel):
    """Hold a loaded graph and its step loop."""

    TORCH = False

    def __init__(self, model: Model, directory: Path, options: Options) -> None:
        self._config: Json = json_object(directory / "config.json")
        super().__init__(directory, self._config["vocab_size"], random=options.random)
        self.model, self.options = model, options
        self._exported, self._directory = model, directory
        heads = self._config["num_attention_heads"]
        self._heads = self._config.get("num_key_value_heads") or heads
        self._width = self._config.get("head_dim") or self._config["hidden_size"] // heads

    def facts(self) -> Facts:
        """Read the facts back from the session.

        ``dtype`` is the dtype of its cache, and ``loaded`` counts its products.
        """
        import onnxruntime

        caches = self._cache_inputs()
        dtypes = {one.type.removeprefix("tensor(").removesuffix(")") for one in caches}
        kinds = Counter(one.module for one in self.census().matrices)
        return Facts(
            engine=f"ONNX Runtime {onnxruntime.__version__}",
            device="cpu",
            device_name="cpu",
            dtype="float32" if dtypes == {"float"} else ", ".join(sorted(dtypes)),
            threads=self.model.threads,
            vocabulary=self.vocabulary,
            context=self._config.get("max_position_embeddings"),
            kv_bytes_per_token=len(caches) * self._heads * self._width * 4,
            random_weights=False,
            loaded=", ".join(f"{count} {kind}" for kind, count in kinds.most_common()),
        )

    def _cache_inputs(self) -> list[Any]:
        return [one for one in self.model.session.get_inputs() if one.name.startswith(PAST)]

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Batch:
        """Read prompts of any lengths in one call, padded on the right.

        The cache has room for the tokens to come.
        """
        import numpy as np

        batch = self._start(prompts, new_tokens)
        self._read(batch, prompts, batch.lengths.reshape(-1, 1, 1) - 1)
        self._choose(batch)
        self._give(batch, KEPT, np.zeros((len(prompts), 1, 1), np.int64))
        return batch

    def step(self, generation: Batch) -> None:
        """Decode one more token for every sequence."""
        generation.lengths += 1
        self._run(generation, generation.chosen[-1].reshape(-1, 1))
        self._choose(generation)

    def _choose(self, batch: Batch) -> None:
        batch.chosen.append(batch.logits[:, 0].argmax(-1))

    def tokens(self, generation: Batch) -> list[list[int]]:
        """Return one list of token ids per prompt."""
        return [[int(token) for token in row] for row in zip(*generation.chosen, strict=True)]

    def logits(self, ids: Sequence[int]) -> Any:
        """Return the logits of every position of a window, from one call, as a torch tensor."""
        import numpy as np
        import torch

        batch = self._start([ids], 0)
        self._read(batch, [ids], np.arange(len(ids)).reshape(1, -1, 1))
        return torch.from_numpy(batch.logits[0])

    def _start(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Batch:
        """Return a batch with an empty cache.

        Past and present are one buffer, which tells the operator to write in place.
        """
        import numpy as np
        import onnxruntime

        lengths = np.array([len(prompt) for prompt in prompts], np.int64)
        batch = Batch(self.model.session.io_binding(), lengths)
        shape = (len(prompts), self._heads, int(lengths.max()) + new_tokens, self._width)
        for one in self._cache_inputs():
            batch.caches.append(np.zeros(shape, np.float32))
            value = onnxruntime.OrtValue.ortvalue_from_numpy(batch.caches[-1])
            batch.binding.bind_ortvalue_input(one.name, value)
            batch.binding.bind_ortvalue_output(one.name.replace(PAST, PRESENT), value)
        return batch

    def _read(self, batch: Batch, prompts: Sequence[Sequence[int]], kept: Any) -> None:
        """Read the prompts, and get the logits of their ``kept`` positions [sequences, positions, 1]."""
        import numpy as np
        import onnxruntime

        ids = np.zeros((len(prompts), int(batch.lengths.max())), np.int64)
        for row, prompt in zip(ids, prompts, strict=True):
            row[: len(prompt)] = prompt
        batch.logits = np.empty((*kept.shape[:2], self.vocabulary), np.float32)
        batch.binding.bind_ortvalue_output("logits", onnxruntime.OrtValue.ortvalue_from_numpy(batch.logits))
        self._give(batch, KEPT, kept)
        self._run(batch, ids)

    def _run(self, batch: Batch, ids: Any) -> None:
        """Call the model once.

        Each row of the mask sums to the length of its sequence, new tokens included.
        """
        import numpy as np

        mask = np.arange(batch.lengths.max()) < batch.lengths[:, None]
        self._give(batch, "input_ids", ids)
        self._give(batch, "attention_mask", mask.astype(np.int64))
        self.model.session.run_with_iobinding(batch.binding)

    def _give(self, batch: Batch, name: str, values: Any) -> None:
        batch.inputs[name] = values
        batch.binding.bind_cpu_input(name, values)

    def cache_bytes(self, generation: Batch) -> int:
        """Return the bytes of keys and values in use, including the padding of shorter sequences."""
        whole = sum(int(one.nbytes) for one in generation.caches)
        return whole * int(generation.lengths.max()) // int(generation.caches[0].shape[2])

    def synchronise(self) -> None:
        """Do nothing: every call returns when its logits are written."""

    # ---- what was loaded -------------------------------------------------------------------------

    def census(self, *, count_zeros: bool = True) -> Census:
        """List every matrix of the file that the session was made from, and the bytes of all its constants.

        A tied head counts as a second copy of the embedding.
        """
        return _onnx_graph.census(self.model.graph)

    def parameters(self) -> int:
        """Return how many numbers the exported model has, without the tables of rotary embedding.

        Tied numbers are counted once.
        """
        return self._parameters

    @cached_property
    def _parameters(self) -> int:
        tied = is_tied(self._directory, self._config)
        return _onnx_graph.parameters(self._exported.graph, tied=tied)


def quantised(model: Model, recipe: str, quantise: Callable[[Path, Path], None]) -> Model:
    """Return a session on the file that ``quantise(path, out)`` writes.

    The file is kept by a digest of the model's own file.
    """
    from bench.models.disk_cache import file_sha256

    def write_quantised(out: Path) -> None:
        logging.getLogger("onnxruntime").setLevel(logging.WARNING)  # it logs a line per operator
        quantise(model.path, out)

    files = sorted(path for path in model.path.parent.iterdir() if path.name.startswith(FILE))
    key = " ".join([recipe, *map(file_sha256, files), *ENVIRONMENT])
    return Model(one_off.kept_file(key, FILE, write_quantised), model.threads)
