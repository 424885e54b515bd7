"""The drift figures of a run computed a second time: torch, transformers and each scheme's own library, in
float64, with no code of the harness.

    python -c "from bench.texts.mixed import read; print(read(), end='')" > mixed.txt
    python check_drift.py run.json mixed.txt MODEL_DIRECTORY

A row agrees when its mean KL is within 1e-5 nats or 0.1 % of the run's. Exit 1 where one does not.
"""

import hashlib
import json
import sys
import warnings
from pathlib import Path

import torch
import transformers

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
torch.set_num_threads(1)


def load(directory, dtype=torch.float32, **settings):
    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, **settings).eval()


def inner_linears(model):
    return [n for n, m in model.named_modules() if type(m) is torch.nn.Linear and n != "lm_head"]


def bnb_nf4(directory):
    settings = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    return load(directory, quantization_config=settings)


def torch_int8(directory):
    return torch.ao.quantization.quantize_dynamic(load(directory), {torch.nn.Linear}, dtype=torch.qint8)


def quanto_int8(directory):
    from optimum import quanto

    model = load(directory)
    quanto.quantize(model, weights=quanto.qint8, include=inner_linears(model))
    quanto.freeze(model)
    return model


def torchao_int8(directory):
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = load(directory)
    wanted = set(inner_linears(model))
    quantize_(model, Int8WeightOnlyConfig(), filter_fn=lambda _module, name: name in wanted)
    return model


ROWS = {
    "bf16": lambda directory: load(directory, torch.bfloat16),
    "fp16": lambda directory: load(directory, torch.float16),
    "bnb-nf4": bnb_nf4,
    "torch-int8": torch_int8,
    "quanto-int8": quanto_int8,
    "ao-int8": torchao_int8,
}


@torch.no_grad()
def log_probabilities(model, windows):
    return [
        model(torch.tensor([ids]), use_cache=False).logits[0, :-1].float().double().log_softmax(-1)
        for ids in windows
    ]


def main(run_file, text_file, directory):
    run = json.loads(Path(run_file).read_text())
    text = Path(text_file).read_text(encoding="utf-8")
    if hashlib.sha256(text.encode()).hexdigest() != run["text"]["sha256"]:
        sys.exit("the text is not the one of the run: another Python version has another text")
    drift = run["spec"]["drift"]
    ids = transformers.AutoTokenizer.from_pretrained(directory)(text, add_special_tokens=False)["input_ids"]
    size, count = drift["window"], drift["tokens"] // drift["window"]
    starts = [round(i * (len(ids) - size) / (count - 1)) for i in range(count)]  # evenly over the text
    windows = [ids[start : start + size] for start in starts]
    base = log_probabilities(load(directory), windows)
    wrong = 0
    for name, make in ROWS.items():
        row = next(one for one in run["variants"] if one["name"] == name)
        theirs = row["drift"]["kld_mean"]["value"]
        model = make(directory)
        kl = [
            (p.exp() * (p - q)).sum(-1) for p, q in zip(base, log_probabilities(model, windows), strict=True)
        ]
        ours = float(torch.cat(kl).mean())
        agrees = abs(ours - theirs) <= max(1e-5, 1e-3 * abs(ours))
        wrong += not agrees
        print(f"{name:12} run {theirs:.7f}  here {ours:.7f}  {'agrees' if agrees else 'DIFFERS'}", flush=True)
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
