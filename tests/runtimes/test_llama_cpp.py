"""The llama.cpp engine given files that do not fit together, in the engine's own environment.

Run there by the first test; here, without the packages, the others are skipped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from engines import own_cache, run_there, saved, sizes, toys, without_a_tensor

from bench import plugins
from bench.engine import Options
from bench.errors import Outcome, VariantFailed
from bench.measure.worker_environment import worker_environment
from bench.models.gguf_parts import check_parts
from bench.runtimes import _gguf, llama_cpp

MISSING = plugins.missing_packages(llama_cpp)
inside = pytest.mark.skipif(bool(MISSING), reason="runs in the environment of the engine")


@pytest.mark.skipif(not MISSING, reason="this is the environment of the engine")
def test_in_the_environment_of_the_engine() -> None:
    run_there("llama-cpp", __file__)


_own_cache = own_cache(MISSING)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(toys(96, None)["llama"](), tmp_path_factory.mktemp("llama"))


@inside
def test_a_tensor_that_is_missing_is_named(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(VariantFailed, match=r"made up by the loader: model\.layers\.1\.mlp\.down_proj"):
        llama_cpp.load(without_a_tensor(llama, tmp_path / "model"), Options(device="cpu", threads=1))


Change = Callable[[Any], object]


def about(writer: Any, *, layers: int = 1, width: int = 32, key: str = "") -> None:
    """The header of a Llama of one layer, of which some numbers may be others than those of its weights."""
    writer.add_block_count(layers)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(16)
    writer.add_tokenizer_model("no_vocab")
    if key:
        writer.add_uint32(key, 4)


TENSORS = {
    "token_embd.weight": (16, 32), "output_norm.weight": (32,), "blk.0.attn_norm.weight": (32,),
    "blk.0.attn_q.weight": (32, 32), "blk.0.attn_k.weight": (32, 32), "blk.0.attn_v.weight": (32, 32),
    "blk.0.attn_output.weight": (32, 32), "blk.0.ffn_norm.weight": (32,), "blk.0.ffn_gate.weight": (64, 32),
    "blk.0.ffn_up.weight": (64, 32), "blk.0.ffn_down.weight": (32, 64),
}  # fmt: skip


def written(path: Path, architecture: str = "llama", tensors: dict[str, Any] = TENSORS, **more: Any) -> Path:
    import gguf

    writer = gguf.GGUFWriter(path, architecture)
    about(writer, **more)
    for name, shape in tensors.items():
        writer.add_tensor(name, np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@inside
def test_the_file_without_a_fault_loads(tmp_path: Path) -> None:
    check_parts(written(tmp_path / "m.gguf"))
    assert llama_cpp.Model(tmp_path / "m.gguf", tmp_path).tensor_bytes == 4 * sum(
        int(np.prod(shape)) for shape in TENSORS.values()
    )


@inside
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"architecture": "no-such-model"}, "unknown model architecture"),
        ({"tensors": {**TENSORS, "blk.0.ffn_up.weight": (64, 64)}}, "wrong shape"),
        (
            {"tensors": {name: TENSORS[name] for name in list(TENSORS)[:-1]}},
            "tensor 'blk.0.ffn_down.weight' not found",
        ),
        ({"width": 64}, "wrong shape"),
    ],
    ids=["architecture", "shape", "missing", "width"],
)
def test_what_llama_cpp_says_of_a_file_is_the_reason(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    """Our check of the header lets each pass: only an engine knows which tensors it wants."""
    path = written(tmp_path / "m.gguf", **wrong)
    check_parts(path)
    began = time.monotonic()
    with pytest.raises(VariantFailed, match=f"does not load m.gguf .*{said}") as caught:
        llama_cpp.Model(path, tmp_path)
    assert (caught.value.outcome, "\n" in str(caught.value)) == (Outcome.LOAD_ERROR, False)
    assert time.monotonic() - began < 2


@inside
@pytest.mark.parametrize("key", ["llama.expert_count", "llama.expert_used_count"])
def test_a_file_at_which_llama_cpp_gives_up_starts_no_debugger(tmp_path: Path, key: str) -> None:
    """Its last words are its own, too: those of gdb would be the reason of the row."""
    for name in ("gdb", "lldb"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        (tmp_path / name).chmod(0o755)
    check_parts(path := written(tmp_path / "m.gguf", key=key))
    load = "import sys, pathlib, bench.runtimes.llama_cpp as cpp; cpp.Model(pathlib.Path(sys.argv[1]), None)"
    variables = worker_environment(1)
    done = subprocess.run(
        [sys.executable, "-c", load, path], capture_output=True, text=True, check=False,
        env=variables | {"PATH": f"{tmp_path}{os.pathsep}{variables['PATH']}"},
    )  # fmt: skip
    assert done.returncode == -signal.SIGABRT
    assert "GGML_ASSERT" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "started").exists()


@inside
@pytest.mark.parametrize("width", [16, 48])
def test_the_cache_has_the_width_of_a_head_that_the_model_has(tmp_path: Path, width: int) -> None:
    """Four heads of a state of 64 need not have 16 numbers each: those of Qwen3-0.6B have twice as many."""
    config = transformers.Qwen3Config(**{**sizes(96), "head_dim": width})
    facts = llama_cpp.load(saved(config, tmp_path / "model"), Options(device="cpu", threads=1)).facts()
    layers, kv_heads, key_and_value, float16 = 2, 2, 2, 2
    assert facts.kv_bytes_per_token == layers * kv_heads * key_and_value * width * float16


@inside
def test_a_file_that_does_not_say_how_wide_a_head_is(tmp_path: Path) -> None:
    model = llama_cpp.Model(written(tmp_path / "m.gguf"), tmp_path)
    assert _gguf.kv_bytes_per_token(model.handle) == 2 * 32 * 2, "two heads share a state of 32"


@inside
@pytest.mark.parametrize("threads", [None, 1])
def test_it_takes_as_many_threads_as_the_other_engines(llama: Path, threads: int | None) -> None:
    facts = llama_cpp.load(llama, Options(device="cpu", threads=threads)).facts()
    assert facts.threads == (threads or torch.get_num_threads())
