"""Hold transformers' continuous batching: its manager makes the steps in a thread of its own."""

from __future__ import annotations

import argparse
import dataclasses
import queue
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.serving.inside.engine import Made, Refused, Step, Wanted
from bench.serving.inside.words import Words, must_fit

IDLE_S = 0.2
# The engine sizes its cache by the memory of a GPU. On a CPU it would take 90 % of what is free, which is the
# memory of the whole machine, so it gets these bounds there unless the config says otherwise.
CPU_CACHE_BYTES, CPU_CACHE_TOKENS, CPU_BATCH_TOKENS = 2 << 30, 32768, 1024
BLOCK_TOKENS = 256  # of the engine, if the config says nothing
Value = bool | int | float | str
ARGUMENTS = (
    *("num_blocks", "block_size", "max_batch_tokens", "max_requests_per_batch", "max_blocks_per_request"),
    "default_compile_level",
)
SHARES = ("max_memory_percent", "safety_margin", "cpu_offload_space")
SWITCHES = ("allow_block_sharing", "use_async_batching", "use_cuda_graph")


def asked(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the arguments: those of transformers' ``ContinuousBatchingConfig``, and how the model is
    loaded."""
    parser = argparse.ArgumentParser(prog="transformers-batching")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--attention", default="sdpa")
    parser.add_argument("--scheduler-type", choices=("fifo", "prefill_first"))
    for name in ARGUMENTS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    for name in SHARES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float)
    for name in SWITCHES:
        parser.add_argument(f"--{name.replace('_', '-')}", action=argparse.BooleanOptionalAction)
    return parser.parse_args(arguments)


def settings_of(given: argparse.Namespace, config: Any, bytes_each: int, *, on_cpu: bool) -> dict[str, Value]:
    """Return the settings of the engine: those given, and on a CPU bounds for its cache."""
    names = (*ARGUMENTS, *SHARES, *SWITCHES, "scheduler_type")
    found: dict[str, Value] = {name: value for name in names if (value := getattr(given, name)) is not None}
    if on_cpu:
        found.setdefault("max_batch_tokens", CPU_BATCH_TOKENS)
        if "max_memory_percent" not in found:
            block = given.block_size or BLOCK_TOKENS
            found.setdefault("num_blocks", max(cache_tokens(config, bytes_each) // block, 2))
    return found


def cache_tokens(config: Any, bytes_each: int) -> int:
    """Return for how many tokens there is room in the cache on a CPU; ``bytes_each`` is those of a number."""
    heads = config.num_attention_heads
    of_keys = getattr(config, "num_key_value_heads", None) or heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    of_a_token: int = 2 * config.num_hidden_layers * of_keys * size * bytes_each
    return min(CPU_CACHE_BYTES // of_a_token, CPU_CACHE_TOKENS)


class Transformers(Words):
    """A model with its manager. Every step that ends puts what it made into a queue."""

    def __init__(self, model: Any, tokenizer: Any, settings: Mapping[str, Any]) -> None:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        self._tokenizer, self._steps = tokenizer, queue.SimpleQueue[Step]()
        self._model, self._lengths = model, dict[str, int]()
        greedy = GenerationConfig(do_sample=False, eos_token_id=_end_of(model), max_new_tokens=1)
        known = {one.name for one in dataclasses.fields(ContinuousBatchingConfig)}
        if unknown := settings.keys() - known:
            raise ValueError(f"this transformers has no {', '.join(sorted(unknown))} for continuous batching")
        self._manager = model.init_continuous_batching(
            generation_config=greedy, continuous_batching_config=ContinuousBatchingConfig(**settings)
        )
        # Of a step, its own router is told once, when the tokens of all sequences are there.
        self._manager.output_router.deliver_batch = self._step_ended
        self._manager.output_router.deliver = lambda one: self._step_ended([one])
        self._manager.warmup()
        self._manager.start()

    @classmethod
    def loaded(cls, directory: str, arguments: Sequence[str]) -> Transformers:
        """Load a model from its directory."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        given = asked(arguments)
        if given.threads:
            torch.set_num_threads(given.threads)
        device = given.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            directory, local_files_only=True, dtype=getattr(torch, given.dtype), device_map=device,
            attn_implementation=given.attention,
        ).eval()  # fmt: skip
        text = model.config.get_text_config()
        return cls(model, tokenizer, settings_of(given, text, model.dtype.itemsize, on_cpu=device == "cpu"))

    def evidence(self) -> Mapping[str, object]:
        """Return what the manager says of itself, with the sizes that it chose."""
        import torch
        import transformers

        cache, config = self._manager.batch_processor.cache, self._manager.continuous_batching_config
        return {
            "engine": "transformers ContinuousBatchingManager", "version": transformers.__version__,
            "torch": torch.__version__, "dtype": str(self._model.dtype).removeprefix("torch."),
            "quantisation": _quantised(self._model), "device": str(self._model.device),
            "kv_dtype": str(cache.dtype).removeprefix("torch."), "max_length": self._longest,
            "prefix_caching": bool(cache.use_prefix_sharing),
            "attention": self._model.config._attn_implementation, "kv_blocks": cache.num_blocks,
            "kv_block_tokens": cache.block_size, "max_batch_tokens": cache.max_batch_tokens,
            "max_sequences": config.max_requests_per_batch, "scheduler": config.scheduler_type,
            "asynchronous": bool(config.use_async_batching), "cuda_graphs": list(config.cuda_graph_booleans),
            "threads": torch.get_num_threads(),
        }  # fmt: skip

    @property
    def _longest(self) -> int:
        cache = self._manager.batch_processor.cache
        room = int(cache.num_blocks * cache.block_size)
        most = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        return min(room, most) if most else room

    def add(self, key: str, wanted: Wanted) -> None:
        """Hand a request to the manager. Raises Refused."""
        if wanted.distribution:
            raise Refused("transformers' continuous batching gives no log-probabilities of all tokens")
        must_fit(wanted, self._longest)
        end = -1 if wanted.whole else None
        self._lengths[key] = 0
        taken = self._manager.add_request(
            list(wanted.ids), request_id=key, max_new_tokens=wanted.most, streaming=True, eos_token_id=end
        )
        if taken is None:
            raise Refused(f"the engine takes no request any more: {self._why_ended()}")

    def cancel(self, key: str) -> None:
        """Drop a request before the next step."""
        self._manager.cancel_request(key)
        self._lengths.pop(key, None)

    def step(self) -> Step:
        """Return the next step that has ended. Raises RuntimeError if the manager's thread is gone."""
        try:
            return self._steps.get(timeout=IDLE_S)
        except queue.Empty:
            if not self._manager.is_running():
                raise RuntimeError(f"the manager of transformers ended: {self._why_ended()}") from None
            return Step(time.monotonic_ns())

    def _why_ended(self) -> str:
        fatal = self._manager.background_thread_status.fatal_error
        return "without a reason" if fatal is None else f"{type(fatal).__name__}: {fatal}"

    def _step_ended(self, outputs: Iterable[Any]) -> None:
        """Keep what a step made; called in the manager's thread."""
        now_ns = time.monotonic_ns()
        self._steps.put(Step(now_ns, tuple(self._made(one) for one in outputs)))

    def _made(self, output: Any) -> Made:
        key, so_far = output.request_id, output.generated_tokens
        known = self._lengths.get(key, 0)
        self._lengths[key] = len(so_far)
        failed, finish = "", None
        if output.is_finished():
            self._lengths.pop(key, None)
            failed = output.error or ""
            finish = None if failed else _finish(so_far, _ends(self._model))
        return Made(key, tuple(so_far[known:]), finish, failed)


def _finish(ids: Sequence[int], ends: Sequence[int]) -> str:
    return "stop" if ids and ids[-1] in ends else "length"


def _end_of(model: Any) -> Any:
    """Return the tokens that end a text, as the model's files say; −1 if they say none."""
    found = model.generation_config.eos_token_id
    found = model.config.get_text_config().eos_token_id if found is None else found
    return -1 if found is None else found


def _ends(model: Any) -> Sequence[int]:
    found = _end_of(model)
    return found if isinstance(found, list) else [found]


def _quantised(model: Any) -> str:
    found = getattr(model.config, "quantization_config", None)
    method = getattr(found, "quant_method", None)
    return "none" if method is None else str(getattr(method, "value", method))
