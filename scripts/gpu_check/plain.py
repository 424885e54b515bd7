"""The plain loop that the harness is held against: torch, transformers, a synchronisation after each token.

As a program it loads one model, warms up, prints ``ready``, and then decodes one request for each line that
it reads, and prints the milliseconds of its steps; before a line ``profile`` it decodes one under torch's
profiler. It imports nothing of the package.

    python scripts/gpu_check/plain.py DIRECTORY DTYPE DEVICE MODE BATCH INPUT OUTPUT

MODE is eager, compiled or nf4.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from time import perf_counter

import torch
import transformers


def main(directory: str, dtype: str, device: str, mode: str, *sizes: str) -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    transformers.logging.set_verbosity_error()
    request = decoder(directory, dtype, device, mode, *map(int, sizes))
    for _ in range(3):
        request()
    print("ready", file=answers)
    for line in sys.stdin:
        if line.strip() == "profile":
            activities = [torch.profiler.ProfilerActivity.CPU]
            activities += [torch.profiler.ProfilerActivity.CUDA] if device != "cpu" else []
            with torch.profiler.profile(activities=activities):
                request()
        print(json.dumps(request()), file=answers)


def loaded(directory: str, dtype: str, device: str, mode: str) -> transformers.PreTrainedModel:
    """Return a model with random weights, which are always the same."""
    config = transformers.AutoConfig.from_pretrained(directory)
    torch.manual_seed(0)
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, dtype), attn_implementation="sdpa"
        )
    model.eval().requires_grad_(False)
    if mode == "nf4":
        four_bits(model)
    return model


def decoder(
    directory: str, dtype: str, device: str, mode: str, batch: int, given: int, new: int
) -> Callable[[], list[float]]:
    """Load the model; return the function that decodes a request and gives the milliseconds of its steps."""
    model = loaded(directory, dtype, device, mode)
    room = max(256, 1 << (given + new - 1).bit_length())
    static = transformers.StaticCache(config=model.config, max_cache_len=room) if mode == "compiled" else None
    graph = None if device == "cpu" else "reduce-overhead"
    step = torch.compile(model, mode=graph) if mode == "compiled" else model
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    prompt = torch.randint(0, model.config.vocab_size, (batch, given), device=device)

    def request() -> list[float]:
        cache = static or transformers.DynamicCache(config=model.config)
        if static is not None:
            static.reset()
        took = []
        with torch.inference_mode(mode != "compiled"), torch.no_grad():
            token = (
                model(prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
                .logits[:, -1]
                .argmax(-1, True)
            )
            wait()
            for _ in range(new - 1):
                start = perf_counter()
                out = step(input_ids=token, past_key_values=cache, use_cache=True, logits_to_keep=1)
                token = out.logits[:, -1].argmax(-1, True)
                wait()
                took.append(1e3 * (perf_counter() - start))
        return took

    return request


def four_bits(model: torch.nn.Module) -> None:
    """Replace every linear layer but the head by bitsandbytes' own, in NF4 with bfloat16 products."""
    import bitsandbytes as bnb

    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name:
            parent, _, last = name.rpartition(".")
            packed = bnb.nn.Linear4bit(
                module.in_features, module.out_features, bias=module.bias is not None,
                compute_dtype=module.weight.dtype, quant_type="nf4", compress_statistics=True,
            )  # fmt: skip
            packed.weight = bnb.nn.Params4bit(
                module.weight.data.cpu(), requires_grad=False, quant_type="nf4", compress_statistics=True
            )
            packed.bias = module.bias
            setattr(model.get_submodule(parent), last, packed.to(module.weight.device))


if __name__ == "__main__":
    main(*sys.argv[1:])
