"""Seconds and peak memory of a pruning pass at 50 %, ours beside llm-compressor's on the same windows.

    python pass_time.py MODEL_DIRECTORY [ROUNDS [METHOD...]]

Each pass in a process of its own, in turns; memory is the growth of the peak over what the loaded model took.
Magnitude is the harness's own code; Wanda and SparseGPT are llm-compressor's inside it, so what is compared
is what the harness puts around them: a copy of the model, a digest, the cache. Its cache is a fresh directory
each time. Exit 1 where a median of ours is over 1.5 times theirs.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from time import perf_counter

METHODS = ("magnitude", "wanda", "sparsegpt")


def peak_bytes():
    status = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: line.split()[1] for line in status if line.startswith("Vm")}
    return 1024 * int(found["VmHWM"])


def ours(method, model, params):
    from bench import plugins

    scheme = plugins.load("optimisations.prune", method)
    settings = {} if method == "magnitude" else {"samples": params.samples, "tokens": params.tokens}
    return lambda: scheme.apply(model, scheme.Params(**settings))


def their_magnitude(model):
    """Its mask for each matrix. Its modifier is for training: in a one-shot pass it ends well and prunes
    nothing (0.14: zero fraction 0.0003)."""
    import torch
    from llmcompressor.modifiers.pruning.utils.pytorch import PruningMaskCreatorArgs, PruningMaskFactory

    create = PruningMaskFactory.create_mask_creator("unstructured")

    def run():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear) and "lm_head" not in name:
                scores = module.weight.data.abs()
                module.weight.data *= create(PruningMaskCreatorArgs(module.weight, 0.5, scores))

    return run


def theirs(method, model, params):
    import torch
    from llmcompressor import oneshot
    from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier

    from bench.optimisations.shared.calibration import windows

    if method == "magnitude":
        return their_magnitude(model)
    settings = {"sparsity": 0.5, "mask_structure": "0:0", "targets": ["Linear"], "ignore": ["re:.*lm_head"]}
    recipe = {"wanda": WandaPruningModifier, "sparsegpt": SparseGPTModifier}[method](**settings)
    rows = [{"input_ids": one, "attention_mask": torch.ones_like(one)} for one in windows(model, params)]
    data = torch.utils.data.DataLoader(rows, batch_size=None)

    def run():
        oneshot(
            model=model, recipe=recipe, dataset=data, num_calibration_samples=len(rows), processor=object()
        )

    return run


def child(method, who, directory):
    """One pass; prints seconds, bytes and the zero fraction of the linear layers."""
    warnings.filterwarnings("ignore")
    import torch
    import transformers

    from bench.optimisations.shared.calibration import CalibrationParams

    torch.set_num_threads(2)
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    model.requires_grad_(False)
    make = {"ours": ours, "theirs": theirs}[who]
    run = make(method, model, CalibrationParams(samples=64, tokens=256))
    before, started = peak_bytes(), perf_counter()
    run()
    took_s = perf_counter() - started
    zeros = [
        float((module.weight == 0).float().mean())
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name
    ]
    print(json.dumps([took_s, peak_bytes() - before, sum(zeros) / len(zeros)]))


def measure(method, who, directory):
    with tempfile.TemporaryDirectory() as cache:
        # The model's own tokenizer is used, so its directory is enough.
        done = subprocess.run(
            [sys.executable, __file__, "--child", method, who, directory],
            env={**os.environ, "BENCH_CACHE": cache}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        sys.exit(f"{method} {who}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(directory, rounds=3, *methods):
    slow = False
    print("method      who      seconds (median)  peak MiB  zero fraction")
    for method in methods or METHODS:
        found = {"ours": [], "theirs": []}
        for _round in range(int(rounds)):
            for who, passes in found.items():
                passes.append(measure(method, who, directory))
        medians = {who: statistics.median(one[0] for one in passes) for who, passes in found.items()}
        for who, passes in found.items():
            memory = statistics.median(one[1] for one in passes) / 2**20
            print(f"{method:10}  {who:7}  {medians[who]:16.2f}  {memory:8.0f}  {passes[-1][2]:.4f}")
        ratio = medians["ours"] / medians["theirs"]
        slow |= ratio > 1.5
        print(f"{method:10}  ours ÷ theirs {ratio:.2f}", flush=True)
    return slow


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        child(*sys.argv[2:])
    else:
        sys.exit(main(*sys.argv[1:]))
