"""Hold vLLM's ``LLMEngine`` in this process: requests are added between two steps."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.serving.inside.engine import Made, Step, Wanted
from bench.serving.inside.words import Words, must_fit

IDLE_S = 0.2


class Vllm(Words):
    """The engine, and what is to be done before its next step."""

    def __init__(self, engine: Any) -> None:
        self._engine, self._tokenizer = engine, engine.get_tokenizer()
        self._before = queue.SimpleQueue[Callable[[], Made | None]]()

    @classmethod
    def loaded(cls, directory: str, arguments: Sequence[str]) -> Vllm:
        """Load a model from its directory, with the arguments of vLLM's server that are its engine's."""
        from vllm import EngineArgs, LLMEngine
        from vllm.utils.argparse_utils import FlexibleArgumentParser

        parser = EngineArgs.add_cli_args(FlexibleArgumentParser(prog="vllm-offline"))
        given = parser.parse_args(["--model", directory, *arguments])
        return cls(LLMEngine.from_engine_args(EngineArgs.from_cli_args(given)))

    def evidence(self) -> Mapping[str, object]:
        """Return what the engine says of itself, as it filled in what was not given."""
        import torch
        import vllm

        whole = self._engine.vllm_config
        model, cache, scheduler = whole.model_config, whole.cache_config, whole.scheduler_config
        dtype = str(model.dtype).removeprefix("torch.")
        kv = str(cache.cache_dtype)
        return {
            "engine": "vLLM LLMEngine", "version": vllm.__version__, "torch": torch.__version__,
            "dtype": dtype, "quantisation": str(model.quantization or "none"),
            "device": str(whole.device_config.device_type), "kv_dtype": dtype if kv == "auto" else kv,
            "max_length": model.max_model_len, "prefix_caching": bool(cache.enable_prefix_caching),
            "attention": _attention(whole), "kv_blocks": cache.num_gpu_blocks,
            "kv_block_tokens": cache.block_size, "max_batch_tokens": scheduler.max_num_batched_tokens,
            "max_sequences": scheduler.max_num_seqs, "eager": bool(model.enforce_eager),
            "threads": torch.get_num_threads(),
        }  # fmt: skip

    def add(self, key: str, wanted: Wanted) -> None:
        """Take a request, which the engine gets before its next step. Raises Refused."""
        must_fit(wanted, self._engine.vllm_config.model_config.max_model_len)
        self._before.put(lambda: self._added(key, wanted))

    def cancel(self, key: str) -> None:
        """Drop a request before the next step."""
        self._before.put(lambda: self._engine.abort_request([key]))

    def step(self) -> Step:
        """Do what is to be done first, and then let the engine make a step."""
        failed: list[Made] = []
        waits = not self._engine.has_unfinished_requests()
        try:
            while True:
                made = self._before.get(block=waits, timeout=IDLE_S)()
                waits = False
                failed += [made] if made is not None else []
        except queue.Empty:
            pass
        outputs = self._engine.step() if self._engine.has_unfinished_requests() else []
        return Step(time.monotonic_ns(), (*failed, *map(_made, outputs)))

    def _added(self, key: str, wanted: Wanted) -> Made | None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            temperature=0.0, max_tokens=wanted.most, ignore_eos=wanted.whole, detokenize=False,
            output_kind=RequestOutputKind.DELTA, logprobs=-1 if wanted.distribution else None,
        )  # fmt: skip
        try:
            self._engine.add_request(key, {"prompt_token_ids": list(wanted.ids)}, params)
        except ValueError as bad:  # of this request: the engine checks what it is asked
            return Made(key, failed=str(bad), refused=True)
        return None


def _made(output: Any) -> Made:
    one = output.outputs[0]
    finish = str(one.finish_reason) if output.finished else None
    row = one.logprobs[0] if one.logprobs else None
    ln_p = None if row is None else {int(token): float(value.logprob) for token, value in row.items()}
    failed = "the engine dropped it" if finish in ("abort", "error") else ""
    ids = tuple(one.token_ids)
    return Made(output.request_id, ids, finish, failed, cached=output.num_cached_tokens, distribution=ln_p)


def _attention(whole: Any) -> str:
    found = getattr(getattr(whole, "attention_config", None), "backend", None)
    return "chosen by the engine" if found is None else str(getattr(found, "name", found))
