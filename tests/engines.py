"""What the tests of engines with an environment of their own share: toys on disk, a file run in there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bench import environments, plugins

Configs = dict[str, Callable[[], Any]]


def run_there(engine: str, file: str) -> None:
    """All tests of ``file`` with the interpreter of the engine; skipped where it has none."""
    if missing := environments.missing_environment(engine):
        pytest.skip(missing)
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [str(environments.interpreter(engine, None)), "-m", "pytest", "-p", "no:cacheprovider", file],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def own_cache(missing: str | None) -> Any:
    """A fixture for a file of tests: exports and packed files of toys are not for keeping. Where the engine
    is ``missing``, the cache stays, because its environment is looked for there."""

    @pytest.fixture(scope="module", autouse=True)
    def kept_nowhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            if not missing:
                patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
            yield

    return kept_nowhere


def told(verb: str, scheme: str, params: Mapping[str, object]) -> dict[str, Any]:
    """One optimisation as a worker is told of it."""
    module = plugins.module_name(f"optimisations.{verb}", scheme)
    return {"label": f"{verb}: {scheme}", "module": module, "params": dict(params)}


def sizes(intermediate: int) -> dict[str, Any]:
    """Two layers of width 64, an MLP of ``intermediate``."""
    return {
        "hidden_size": 64, "intermediate_size": intermediate, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 512,
        "eos_token_id": 2,
    }  # fmt: skip


def toys(intermediate: int, sliding_window: int | None) -> Configs:
    """Architectures that every engine must get right, by name; ``sliding_window`` is Mistral's."""
    shape = sizes(intermediate)
    return {
        "llama": lambda: transformers.LlamaConfig(**shape, tie_word_embeddings=True),
        "llama untied": lambda: transformers.LlamaConfig(
            **shape, rope_parameters={"rope_type": "default", "rope_theta": 100000.0}
        ),
        "mistral": lambda: transformers.MistralConfig(**shape, sliding_window=sliding_window),
        "qwen2": lambda: transformers.Qwen2Config(**shape),
        "qwen3": lambda: transformers.Qwen3Config(**shape),
    }


def small_configs() -> Configs:
    """A plain cache, one that keeps the last 64 tokens only, and one with layers of both kinds."""
    small = {**sizes(96), "max_position_embeddings": 1024}
    return {
        "llama": lambda: transformers.LlamaConfig(**small),
        "mistral": lambda: transformers.MistralConfig(**small, sliding_window=64),
        "gemma3": lambda: transformers.Gemma3TextConfig(
            **{**small, "head_dim": 16, "num_hidden_layers": 2}, sliding_window=64,
            layer_types=["sliding_attention", "full_attention"],
        ),
    }  # fmt: skip


def saved(config: Any, path: Path) -> Path:
    """A model with weights and biases large enough to have opinions, as transformers saves it."""
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 or name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.2)
        else:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    model.save_pretrained(path)
    return path


def decoded(engine: Any, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:
    """Token ids, [prompts, new_tokens]."""
    generation = engine.prefill(prompts, new_tokens)
    for _ in range(1, new_tokens):
        engine.step(generation)
    return engine.tokens(generation)  # type: ignore[no-any-return]


def greedy(engine: Any, prompt: Sequence[int], tokens: int) -> str:
    """The greedy reply to one prompt by calls of the model itself, which read everything again."""
    ids = list(prompt)
    begin = len(ids)
    with torch.inference_mode():
        for _ in range(tokens):
            ids.append(int(engine.model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] in engine.end_ids():
                return str(engine.text(ids[begin:-1]))
    return str(engine.text(ids[begin:]))


def without_a_tensor(model: Path, to: Path) -> Path:
    """A copy of a model that lacks the last tensor of its second layer."""
    from safetensors.torch import load_file, save_file

    path = Path(shutil.copytree(model, to)) / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, path, {"format": "pt"})
    return to


def with_other_formats(model: Path, to: Path) -> Path:
    """A copy of a model with files beside it that other loaders know: none of them can be read."""
    shutil.copytree(model, to)
    for name in (
        "model.onnx", "openvino_model.xml", "openvino_model.bin", "pytorch_model.bin", "tf_model.h5",
        "model.gguf", "custom_ops.so", "modeling_mine.py",
    ):  # fmt: skip
        (to / name).write_bytes(b"no engine reads this")
    os.mkfifo(to / "model.onnx.data")
    return to
