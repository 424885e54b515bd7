"""llama.cpp through its own C interface: GGUF models on the CPU, greedy, one step at a time.

The weights are written as GGUF from the same safetensors that transformers reads. With a ``gguf`` scheme,
llama.cpp then quantises them. The same code takes the logits and the argmax for every token, as in the other
engines.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.engine import Options
from bench.engine.evidence import Census
from bench.errors import BenchError, Outcome, Unsupported, VariantFailed
from bench.records import Facts
from bench.runtimes import _gguf, _llama_log, _threads
from bench.runtimes._text import TextModel

REQUIRES = ("llama_cpp", "gguf")
ENVIRONMENT = ("llama-cpp-python==0.3.36", "gguf==0.19.0")
USES = ("name", "device", "dtype", "threads", "task", "python")  # it has one attention
DTYPES = ("float32", "bfloat16", "float16")
RANDOM = False  # what it loads is written from weights on the disk


def refuse_model(config: Mapping[str, Any]) -> str | None:
    """Return why this engine does not compute the model of a ``config.json``; None if it does."""
    return _gguf.refuse_model(config)


def load(directory: Path, options: Options) -> LlamaCppEngine:
    """Load the model on the CPU.

    Raises Unsupported for another device, for random weights, and for architectures that are not known here.
    """
    if options.device.startswith("cuda"):
        raise Unsupported("this build of llama.cpp runs on the CPU")
    if options.random:
        raise Unsupported("the llama-cpp engine needs a model's weights, not random ones")
    return LlamaCppEngine(_gguf.exported(directory, options.dtype), directory, options)


class Model:
    """Hold one loaded GGUF file of the model in ``directory``.

    Its memory is freed when the object is dropped.
    """

    def __init__(self, path: Path, directory: Path) -> None:
        import llama_cpp

        _llama_log.listen()
        llama_cpp.llama_backend_init()
        self.path, self.directory = path, directory
        self.handle = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        if not self.handle:
            said = f"llama.cpp does not load {path.name}{_llama_log.reason()}"
            raise VariantFailed(Outcome.LOAD_ERROR, said)

    @property
    def description(self) -> str:
        """Return llama.cpp's description of the loaded model, such as ``llama 135M Q4_K - Medium``."""
        import llama_cpp

        text = ctypes.create_string_buffer(200)
        llama_cpp.llama_model_desc(self.handle, text, len(text))
        return text.value.decode()

    @property
    def tensor_bytes(self) -> int:
        """Return the bytes of all tensors, as llama.cpp counts them."""
        import llama_cpp

        return int(llama_cpp.llama_model_size(self.handle))

    def __del__(self) -> None:
        import llama_cpp

        if getattr(self, "handle", None):
            llama_cpp.llama_model_free(self.handle)


@dataclass
class Batch:
    """Hold sequences that are being decoded: the length of each so far, and the tokens that were chosen."""

    lengths: list[int]
    chosen: list[list[int]] = field(default_factory=list)


class LlamaCppEngine(TextModel):
    """Hold a loaded model and the one context that it decodes in."""

    TORCH = False

    def __init__(self, gguf: Path, directory: Path, options: Options) -> None:
        import llama_cpp

        self.options = options
        self._context: Any = None
        self._room = self._sequences = 0
        self._threads = options.threads or _threads.usual()
        self.model = Model(gguf, directory)
        vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model.handle))
        super().__init__(directory, int(vocabulary), random=options.random)

    @property
    def model(self) -> Model:
        """Return the loaded model. An optimisation may replace it; its context is then dropped."""
        return self._model

    @model.setter
    def model(self, model: Model) -> None:
        self._drop_context()
        self._model = model

    def facts(self) -> Facts:
        """Read the facts back from llama.cpp; ``dtype`` is the dtype that the file was first written in."""
        import llama_cpp

        handle = self.model.handle
        context = self._context_for(1, 1)
        return Facts(
            engine=f"llama.cpp by llama-cpp-python {llama_cpp.__version__}",
            device="cpu",
            device_name="cpu",
            dtype=self.options.dtype,
            threads=int(llama_cpp.llama_n_threads(context)),
            vocabulary=self.vocabulary,
            context=int(llama_cpp.llama_model_n_ctx_train(handle)),
            kv_bytes_per_token=_gguf.kv_bytes_per_token(handle),
            random_weights=False,
            loaded=self.model.description,
        )

    # ---- decoding --------------------------------------------------------------------------------

    def prefill(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Batch:
        """Read all prompts in one call, each as a sequence of its own; they may have any lengths."""
        total = sum(len(prompt) + new_tokens for prompt in prompts)
        self._context_for(total, len(prompts))
        batch = Batch([0] * len(prompts))
        self._advance(batch, [list(prompt) for prompt in prompts])
        return batch

    def step(self, generation: Batch) -> None:
        """Decode one more token for every sequence."""
        self._advance(generation, [[token] for token in generation.chosen[-1]])

    def _advance(self, batch: Batch, tokens: Sequence[Sequence[int]]) -> None:
        last = self._decode(tokens, batch.lengths)
        batch.lengths = [length + len(new) for length, new in zip(batch.lengths, tokens, strict=True)]
        batch.chosen.append([int(self._row(index).argmax()) for index in last])

    def tokens(self, generation: Batch) -> list[list[int]]:
        """Return one list of token ids per prompt."""
        return [list(row) for row in zip(*generation.chosen, strict=True)]

    def logits(self, ids: Sequence[int]) -> Any:
        """Return the logits of every position of a window, from one call, as a torch tensor."""
        import numpy as np
        import torch

        self._context_for(len(ids), 1)
        self._decode([ids], [0], every=True)
        return torch.from_numpy(np.stack([self._row(index) for index in range(len(ids))]))

    def _decode(
        self, tokens: Sequence[Sequence[int]], starts: Sequence[int], every: bool = False
    ) -> list[int]:
        """Call the model once, and return the place of each sequence's last token in the call."""
        import llama_cpp

        count = sum(map(len, tokens))
        call = llama_cpp.llama_batch_init(count, 0, 1)
        place, last = 0, []
        for sequence, (new, start) in enumerate(zip(tokens, starts, strict=True)):
            for offset, token in enumerate(new):
                call.token[place], call.pos[place] = token, start + offset
                call.n_seq_id[place], call.seq_id[place][0] = 1, sequence
                call.logits[place] = every or offset == len(new) - 1
                place += 1
            last.append(place - 1)
        call.n_tokens = count
        code = llama_cpp.llama_decode(self._context, call)
        llama_cpp.llama_batch_free(call)
        if code:
            raise BenchError(f"llama.cpp could not decode {count} tokens (code {code})")
        return last

    def _row(self, index: int) -> Any:
        """Return the logits of one token of the last call, float32; they are valid until the next call."""
        import llama_cpp
        import numpy as np

        pointer = llama_cpp.llama_get_logits_ith(self._context, index)
        return np.ctypeslib.as_array(pointer, shape=(self.vocabulary,))

    def _context_for(self, tokens: int, sequences: int) -> Any:
        """Return an empty context with enough room; make a new one only if the last one is too small."""
        import llama_cpp

        wanted = max(512, 1 << (tokens - 1).bit_length()) * 2
        if self._context is None or self._room < tokens or self._sequences < sequences:
            self._drop_context()
            params = llama_cpp.llama_context_default_params()
            params.n_ctx = params.n_batch = wanted
            params.n_seq_max = max(sequences, 1)
            params.kv_unified = True
            params.no_perf = True
            params.n_threads = params.n_threads_batch = self._threads
            self._context = llama_cpp.llama_init_from_model(self.model.handle, params)
            if not self._context:
                raise BenchError(f"llama.cpp could not make a context of {wanted} tokens")
            self._room, self._sequences = wanted, params.n_seq_max
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), False)
        return self._context

    def _drop_context(self) -> None:
        if self._context is not None:
            import llama_cpp

            llama_cpp.llama_free(self._context)
            self._context = None

    # ---- what was loaded -------------------------------------------------------------------------

    def census(self, *, count_zeros: bool = True) -> Census:
        """List every matrix of the file that llama.cpp has mapped, and the bytes that it says it loaded."""
        return _gguf.census(self.model.path, self.model.tensor_bytes)

    def parameters(self) -> int:
        """Return the number of parameters, as llama.cpp counts them."""
        import llama_cpp

        return int(llama_cpp.llama_model_n_params(self.model.handle))

    def synchronise(self) -> None:
        """Do nothing: the logits are read after every call, and reading waits for them."""
