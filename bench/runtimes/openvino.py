"""OpenVINO on the CPU: a stateful graph with its KV cache inside, greedy, one step at a time.

By default the plugin chooses one precision for the arithmetic, another for the cache, and int8 activations
for packed weights. Here all of them are set, and read back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.engine import Options
from bench.engine.evidence import Census
from bench.errors import Unsupported
from bench.models.json_files import json_object
from bench.models.weight_files import weight_files
from bench.records import Facts, Json
from bench.runtimes import _openvino
from bench.runtimes._config import must_keep_its_rotation, turns_of
from bench.runtimes._openvino import FILE, QUANTISED_ACTIVATIONS
from bench.runtimes._text import TextModel
from bench.runtimes._whole import is_tied

REQUIRES = ("openvino", "nncf", "optimum.intel")
ENCODER = "bench.runtimes._openvino_encoder"
ENVIRONMENT = (
    "openvino==2026.4.1",
    "nncf==3.4.0",
    "optimum-intel==2.1.0",
    "optimum==2.3.0",
    "transformers==5.5.4",
    "huggingface_hub==1.21.0",
    "datasets==4.8.5",  # optimum imports it if it is there; newer ones need a newer huggingface_hub
)
CACHES = ("KV_CACHE_PRECISION", "KEY_CACHE_PRECISION", "VALUE_CACHE_PRECISION")
RANDOM = False  # what it loads is written from weights on the disk
refuse_model = _openvino.refuse_model


def load(directory: Path, options: Options) -> OpenVinoEngine:
    """Load and compile the model for the CPU.

    Raises Unsupported for another device, random weights, attention other than sdpa, an architecture that
    optimum-intel does not export, and a precision in which this processor does not compute.
    """
    settings = _openvino.settings_for(options)
    settings |= dict.fromkeys(CACHES, _openvino.precision(options.dtype))

    def engine(graph: Path) -> OpenVinoEngine:
        return OpenVinoEngine(Model(graph, settings), directory, options)

    return engine(_openvino.exported(directory, options.dtype, lambda graph, ids: engine(graph).logits(ids)))


def compressed(model: Model, to: Path, mode: str, **options: Any) -> None:
    """Write the model's graph into ``to`` with its weights packed by NNCF in ``mode`` (``INT4_SYM``).

    Raises Unsupported if a row does not divide into groups of ``group_size``.
    """
    openvino = _openvino.library()
    import nncf

    graph = openvino.Core().read_model(model.path)
    try:
        packed = nncf.compress_weights(graph, mode=nncf.CompressWeightsMode[mode], **options)
    except nncf.InvalidGroupSizeError:
        size = options["group_size"]
        words = f"this model has rows that do not divide into groups of {size}"
        raise Unsupported(f"group_size {size}: {words}") from None
    openvino.save_model(packed, to / FILE, compress_to_fp16=False)


class Model:
    """Compile a graph for this processor. Raises Unsupported if the plugin does not follow ``settings``."""

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        self.path = path
        self.settings = dict(settings)
        self.compiled = _openvino.library().Core().compile_model(path, "CPU", self.settings)
        for name, asked in self.settings.items():
            if (found := self.setting(name)) != asked:
                raise Unsupported(f"OpenVINO has {name} {found} on this processor, not {asked} as asked")

    def compiled_from(self, path: Path, activation_group: int) -> Model:
        """Compile another graph with the same settings, except for what is done with activations."""
        return Model(path, {**self.settings, QUANTISED_ACTIVATIONS: activation_group})

    def setting(self, name: str) -> object:
        """Return a property of the compiled model; a precision is returned by its name."""
        found: object = self.compiled.get_property(name)
        return found.get_type_name() if hasattr(found, "get_type_name") else found

    def operators(self) -> list[Any]:
        """Return the executed operators in their order, after all that compiling fuses and unpacks."""
        return list(self.compiled.get_runtime_model().get_ordered_ops())


@dataclass
class Batch:
    """Hold sequences that are being decoded: the request with their cache, and the chosen tokens.

    ``mask`` and ``positions`` have room for every token to come.
    """

    request: Any
    mask: Any
    positions: Any
    length: int = 0
    chosen: list[Any] = field(default_factory=list)


class OpenVinoEngine(TextModel):
    """Hold a compiled graph. Every batch is a request of its own, which holds its state."""

    TORCH = False

    def __init__(self, model: Model, directory: Path, options: Options) -> None:
        self.options = options
        self._config: Json = json_object(directory / "config.json")
        self._turns = turns_of(self._config)
        self._weights, self._directory = weight_files(directory), directory
        self._tensor = _openvino.library().Tensor  # a copy: the request does not keep a shared array alive
        self.model = model  # an optimisation may replace it
        self._inputs = {name for one in model.compiled.inputs for name in one.get_names()}
        vocabulary = int(model.compiled.outputs[0].partial_shape[2].get_length())
        super().__init__(directory, vocabulary, random=options.random)

    def facts(self) -> Facts:
        """Read the facts back from the compiled model."""
        model = self.model
        hint, cache = model.setting("INFERENCE_PRECISION_HINT"), model.setting("KV_CACHE_PRECISION")
        kinds = {_openvino.of(one, "layerType") for one in model.operators()}
        attention = "one operator" if "ScaledDotProductAttention" in kinds else "several operators"
        states = model.compiled.create_infer_request().query_state()  # they hold no sequence and no token yet
        a_token = sum(math.prod(size for size in one.state.shape if size) for one in states)
        names = {precision: dtype for dtype, precision in _openvino.PRECISIONS.items()}
        return Facts(
            engine=f"OpenVINO {version('openvino')}",
            device="cpu",
            device_name="cpu",
            dtype=names.get(str(hint), str(hint)),
            threads=model.setting("INFERENCE_NUM_THREADS"),
            vocabulary=self.vocabulary,
            context=self._config.get("max_position_embeddings"),
            kv_bytes_per_token=a_token * self._cache_item(),
            random_weights=False,
            loaded=f"{hint}, attention of {attention}, KV cache {cache}, "
            f"{_openvino.activations(model.setting(QUANTISED_ACTIVATIONS))}",
        )

    # ---- decoding --------------------------------------------------------------------------------

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Batch:
        """Read prompts, padded on the left so that every sequence ends in the same column."""
        import numpy as np

        width = max(len(prompt) for prompt in prompts)
        must_keep_its_rotation(self._turns, [*map(len, prompts)], new_tokens)
        ids = np.zeros((len(prompts), width), np.int64)
        mask = np.ones((len(prompts), width + new_tokens), np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = prompt
            mask[row, : width - len(prompt)] = 0
        batch = Batch(self._begin(len(prompts)), mask, (mask.cumsum(1) - 1).clip(0))
        self._advance(batch, ids)
        return batch

    def step(self, generation: Batch) -> None:
        """Decode one more token for every sequence."""
        self._advance(generation, generation.chosen[-1][:, None])

    def _advance(self, batch: Batch, ids: Any) -> None:
        start, batch.length = batch.length, batch.length + ids.shape[1]
        mask, positions = batch.mask[:, : batch.length], batch.positions[:, start : batch.length]
        logits = self._infer(batch.request, ids, mask, positions)
        batch.chosen.append(logits[:, -1].argmax(-1))

    def tokens(self, generation: Batch) -> list[list[int]]:
        """Return one list of token ids per prompt."""
        return [[int(token) for token in row] for row in zip(*generation.chosen, strict=True)]

    def logits(self, ids: Sequence[int]) -> Any:
        """Return the logits of every position of a window, from one call, as a torch tensor."""
        import numpy as np
        import torch

        window = np.array([ids], np.int64)
        request = self._begin(1, first=0)
        logits = self._infer(request, window, np.ones_like(window), np.arange(len(ids))[None])
        return torch.from_numpy(logits[0].copy())

    def _begin(self, sequences: int, first: int = -1) -> Any:
        """Return a request with an empty cache, and set the inputs that are the same in all its calls."""
        import numpy as np

        request = self.model.compiled.create_infer_request()
        self._put(request, "beam_idx", np.arange(sequences, dtype=np.int32))
        self._put(request, "first", np.array([first]))
        return request

    def _infer(self, request: Any, ids: Any, mask: Any, positions: Any) -> Any:
        """Call the model once, and return float32 logits [sequences, positions, vocabulary].

        They are valid until the next call.
        """
        self._put(request, "input_ids", ids)
        self._put(request, "attention_mask", mask)
        self._put(request, "position_ids", positions)
        request.start_async()
        request.wait()
        return request.get_output_tensor(0).data

    def _put(self, request: Any, name: str, values: Any) -> None:
        """Set an input if the graph has it: some architectures have no position ids."""
        if name in self._inputs:
            request.set_tensor(name, self._tensor(values))

    def cache_bytes(self, generation: Batch) -> int:
        """Return the bytes of the keys and values held, in the precision of the cache."""
        held = sum(math.prod(one.state.shape) for one in generation.request.query_state())
        return int(held * self._cache_item())

    def _cache_item(self) -> int:
        return int(self.model.compiled.get_property("KV_CACHE_PRECISION").size)

    def synchronise(self) -> None:
        """Do nothing: every call waits for its result."""

    # ---- what was loaded -------------------------------------------------------------------------

    def census(self, *, count_zeros: bool = True) -> Census:
        """List every matrix as the executed graph holds it: embeddings (``Gather``) too, and the head last.

        A weight that was unpacked when the graph was compiled would be a float here.
        """
        group = {"activation_group": float(str(self.model.setting(QUANTISED_ACTIVATIONS)))}
        return _openvino.census(self.model.operators(), group)

    def parameters(self) -> int:
        """Return how many weights the checkpoint has; a head tied to the embeddings is counted once."""
        return self._parameters

    @cached_property
    def _parameters(self) -> int:
        return _openvino.parameters(self._weights, tied=is_tied(self._directory, self._config))
