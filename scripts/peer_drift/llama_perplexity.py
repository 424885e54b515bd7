"""The statistics of ``llama-perplexity --kl-divergence``, computed from the logits of llama-cpp-python.

    python llama_perplexity.py BASE.gguf VARIANT.gguf THREADS IDS.json

Nothing of the harness is imported. The arithmetic is that of the program (llama.cpp, tools/perplexity), in
float32 as there: of the baseline it keeps log-probabilities in 16 bits, from the largest down to 16 nats
below it; tokens below e⁻¹⁶ are left out of a KL; the second half of each window is scored.
``kld_mean_exact`` is without both: all tokens, in float64.
"""

from __future__ import annotations

import ctypes
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SPAN, LEVELS = np.float32(16), np.float32(65535)
QUANTILES = {
    "kld_min": 0.0, "kld_p01": 0.01, "kld_p05": 0.05, "kld_p10": 0.1, "kld_median": 0.5, "kld_p90": 0.9,
    "kld_p95": 0.95, "kld_p99": 0.99, "kld_p999": 0.999, "kld_max": 1.0,
}  # fmt: skip


def main() -> None:
    """Score, print."""
    base, variant, threads, ids = sys.argv[1:]
    import llama_cpp

    quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p())
    windows = json.loads(Path(ids).read_text())
    contexts = [opened(llama_cpp, file, len(windows[0]), int(threads)) for file in (base, variant)]
    values = []
    for window in windows:
        first = len(window) // 2
        one, other = (logits(llama_cpp, context, window)[first:-1] for context in contexts)
        values.append(scored(one, other, window[first + 1 :]))
    tool = f"llama-perplexity's arithmetic, llama-cpp-python {llama_cpp.__version__}"
    print(json.dumps({"tool": tool, "windows": len(windows), "second_half": statistics(values)}))


def opened(llama_cpp: Any, file: str, tokens: int, threads: int) -> tuple[Any, Any, int]:
    """Return (model, context, vocabulary) of a GGUF file."""
    model = llama_cpp.llama_model_load_from_file(file.encode(), llama_cpp.llama_model_default_params())
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = tokens
    settings.n_threads = settings.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(model, settings)
    return model, context, llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))


def logits(llama_cpp: Any, opened_file: tuple[Any, Any, int], ids: Sequence[int]) -> Any:
    """Return the logits of a window, float32 [tokens, vocabulary], from one call."""
    _model, context, vocabulary = opened_file
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for place, token in enumerate(ids):
        batch.token[place], batch.pos[place], batch.logits[place] = token, place, True
        batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
    code = llama_cpp.llama_decode(context, batch)
    llama_cpp.llama_batch_free(batch)
    if code:
        raise SystemExit(f"llama.cpp could not decode {len(ids)} tokens (code {code})")
    rows = (llama_cpp.llama_get_logits_ith(context, place) for place in range(len(ids)))
    return np.stack([np.ctypeslib.as_array(row, shape=(vocabulary,)).copy() for row in rows])


def kept(base: Any) -> Any:
    """Return the baseline's log-probabilities as they come back from their 16 bits, float32."""
    high = base.max(-1, keepdims=True)
    low = np.maximum(base.min(-1, keepdims=True), high - SPAN)
    sums = np.exp(base - high).sum(-1, dtype=np.float64, keepdims=True)
    scale = (high - low) / LEVELS
    steps = np.divide(base - low, scale, out=np.zeros_like(base), where=(base > low) & (scale > 0))
    codes = np.rint(steps).astype(np.uint16)
    return scale * codes.astype(np.float32) + (low - high - np.log(sums).astype(np.float32))


def scored(base: Any, variant: Any, targets: Sequence[int]) -> dict[str, Any]:
    """Return the values of each position: KL, same top, and −ln p of the true next token in both models."""
    ln_p = kept(base)
    high = variant.max(-1, keepdims=True)
    sums = np.exp(variant - high).sum(-1, dtype=np.float64, keepdims=True)
    ln_q = variant - (high + np.log(sums).astype(np.float32))
    place = np.arange(len(targets)), np.array(targets)
    exact_p, exact_q = _log_softmax(base), _log_softmax(variant)
    terms = np.where(ln_p > -SPAN, np.exp(ln_p) * (ln_p - ln_q), np.float32(0))
    return {
        "kld": terms.sum(-1, dtype=np.float64), "same": ln_p.argmax(-1) == variant.argmax(-1),
        "exact": (np.exp(exact_p) * (exact_p - exact_q)).sum(-1),
        "nll_base": -ln_p[place].astype(np.float64), "nll": -ln_q[place].astype(np.float64),
    }  # fmt: skip


def _log_softmax(logits: Any) -> Any:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def statistics(parts: Sequence[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return what the program prints, with its standard errors, under the names that we use."""
    values = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    change = np.exp(-values["nll"]) - np.exp(-values["nll_base"])
    loss, same = values["nll"] - values["nll_base"], values["same"].astype(np.float64)
    squares, rms = change**2, math.sqrt((change**2).mean())
    found: dict[str, dict[str, float | None]] = {
        "kld_mean": {"value": float(values["kld"].mean()), "se": _error(values["kld"])},
        "kld_mean_exact": {"value": float(values["exact"].mean()), "se": _error(values["exact"])},
        "top1_agreement": {"value": float(same.mean()), "se": _error(same)},
        "ln_ppl_ratio": {"value": float(loss.mean()), "se": _error(loss)},
        "ppl_ratio": {"value": math.exp(loss.mean()), "se": math.exp(loss.mean()) * _error(loss)},
        "ppl": {"value": math.exp(values["nll"].mean()), "se": None},
        "delta_p_mean": {"value": float(change.mean()), "se": _error(change)},
        "rms_delta_p": {"value": rms, "se": _error(squares) / (2 * rms) if rms else None},
    }
    for key, at in QUANTILES.items():
        found[key] = {"value": float(np.quantile(values["kld"], at)), "se": None}
    return found


def _error(values: Any) -> float:
    """Return the standard error of a mean of independent values, as the program computes it."""
    return math.sqrt(max((values**2).mean() - values.mean() ** 2, 0.0) / (len(values) - 1))


if __name__ == "__main__":
    main()
