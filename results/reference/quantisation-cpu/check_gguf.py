"""The drift of the GGUF rows computed from llama.cpp's own logits, with no code of the harness.

Run with the interpreter of the llama-cpp engine (``bench env list``):

    PYTHON check_gguf.py run.json mixed.txt MODEL_DIRECTORY model-f32.gguf SCRATCH_DIRECTORY

``model-f32.gguf`` is the unquantised export; each type is quantised from it again, by llama.cpp. The mean of
KL(f32 ‖ type) over the run's windows, in float64, must be within 1 % of the run's figure (whose baseline is
transformers) or within 2e-5 nats, the drift between the two engines in float32.
"""

import ctypes
import hashlib
import json
import sys
from pathlib import Path

import llama_cpp
import numpy as np
import transformers

TYPES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K")
QUIET = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
llama_cpp.llama_log_set(QUIET, ctypes.c_void_p())


def log_probabilities(path, windows):
    """A fresh context a model, a window a call."""
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = 2
    context = llama_cpp.llama_init_from_model(model, params)
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    found = []
    for ids in windows:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for place, token in enumerate(ids):
            batch.token[place], batch.pos[place], batch.logits[place] = token, place, True
            batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
        if llama_cpp.llama_decode(context, batch):
            sys.exit(f"{path} does not decode")
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), shape=(len(ids), vocabulary))
        logits = logits[:-1].astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        found.append(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))
        llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return found


def quantised(source, name, scratch):
    out = Path(scratch) / f"{name}.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name}")
    if llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params)):
        sys.exit(f"llama.cpp does not quantise to {name}")
    return out


def main(run_file, text_file, directory, source, scratch):
    run = json.loads(Path(run_file).read_text())
    text = Path(text_file).read_text(encoding="utf-8")
    if hashlib.sha256(text.encode()).hexdigest() != run["text"]["sha256"]:
        sys.exit("the text is not the one of the run: another Python version has another text")
    drift = run["spec"]["drift"]
    ids = transformers.AutoTokenizer.from_pretrained(directory)(text, add_special_tokens=False)["input_ids"]
    size, count = drift["window"], drift["tokens"] // drift["window"]
    starts = [round(i * (len(ids) - size) / (count - 1)) for i in range(count)]  # evenly over the text
    windows = [ids[start : start + size] for start in starts]
    base = log_probabilities(source, windows)
    wrong = 0
    for name in TYPES:
        row = next(one for one in run["variants"] if one["name"] == f"gguf-{name[0].lower()}{name[1:]}")
        theirs = row["drift"]["kld_mean"]["value"]
        other = log_probabilities(quantised(source, name, scratch), windows)
        ours = float(
            np.concatenate([(np.exp(p) * (p - q)).sum(-1) for p, q in zip(base, other, strict=True)]).mean()
        )
        agrees = abs(ours - theirs) <= max(2e-5, 0.01 * abs(ours))
        wrong += not agrees
        print(
            f"{name:8} run {theirs:.6f}  llama.cpp {ours:.6f}  {'agrees' if agrees else 'DIFFERS'}",
            flush=True,
        )
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
