"""A server of the OpenAI kind that is there already, or a hosted API, by its address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.runtimes._server import REQUIRES, check_times

__all__ = ["REQUIRES"]
SERVER = True
OPAQUE = True
DTYPES = ("float32", "bfloat16", "float16")
USES = ("name",)


@dataclass(frozen=True)
class Params:
    """``url``: the address. ``key_env``: the variable that holds the key, if it wants one. ``model``: its
    name in requests; it may be left out if the server has one only. ``ignore_eos``: ask for exactly as many
    tokens as the workload says (vLLM, SGLang, llama.cpp). The others are as in ``vllm``."""

    url: str
    key_env: str | None = None
    model: str | None = None
    api: Literal["completions", "chat"] = "completions"
    timeout_s: float = 600.0
    retries: int = 0
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        check_times(self.timeout_s)
        if not 0 <= self.retries <= 20:
            raise ValueError("retries must be from 0 to 20")
