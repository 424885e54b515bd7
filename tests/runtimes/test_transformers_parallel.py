"""One model in two processes beside the same model in one: the same logits, tokens, bytes and parameters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
import transformers
from engines import decoded, saved, sizes

from bench.engine import Options
from bench.engine.ranks import Op
from bench.errors import Unsupported
from bench.runtimes import transformers as whole
from bench.runtimes import transformers_parallel as parallel

ONE = Options(device="cpu", threads=1)
TWO = replace(ONE, own={"devices": 2})
PROMPTS = [[5, 6, 7, 8, 9], [11, 12, 13]]


def qwen() -> Any:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    return transformers.Qwen3MoeConfig(**sizes(96), **experts)


@pytest.fixture(scope="module", params=["llama", "qwen3-moe"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Any]]:
    config = transformers.LlamaConfig(**sizes(96)) if request.param == "llama" else qwen()
    directory = saved(config, tmp_path_factory.mktemp("model"))
    before = dict(os.environ)
    engine = parallel.load(directory, TWO)
    yield whole.load(directory, ONE), engine
    engine.ranks.close()
    torch.distributed.destroy_process_group()
    os.environ.clear()
    os.environ.update(before)


def test_logits_and_tokens_are_those_of_one_process(both: tuple[Any, Any]) -> None:
    one, two = both
    ids = list(range(3, 60))
    torch.testing.assert_close(two.logits(ids), one.logits(ids), atol=1e-4, rtol=1e-4)
    assert decoded(two, PROMPTS, 12) == decoded(one, PROMPTS, 12)


def test_steps_equal_a_whole_pass_and_a_padded_batch_its_rows(both: tuple[Any, Any]) -> None:
    checks, held = both[1].as_decoded()
    assert all(one.holds for one in (*checks, *both[1].as_batched()))
    assert held == both[0].as_decoded()[1]


def test_what_is_held_is_counted_over_both(both: tuple[Any, Any]) -> None:
    """Matrices are cut in two; what is not, such as embeddings, norms and routers, is held twice."""
    one, two = both
    assert two.parameters() == one.parameters()
    twice = sum(
        parameter.nbytes
        for name, parameter in one.model.named_parameters()
        if any(word in name for word in ("norm", "embed", "gate.weight")) or parameter.dim() < 2
    ) + sum(buffer.nbytes for buffer in one.model.buffers())
    weights = [engine.census(count_zeros=False).weights_bytes for engine in both]
    assert weights[1] == weights[0] + twice
    generations = [engine.prefill(PROMPTS, 4) for engine in both]
    assert two.cache_bytes(generations[1]) == one.cache_bytes(generations[0])


def test_that_the_model_is_split_is_read_back(both: tuple[Any, Any]) -> None:
    checks = {one.claim: one for one in both[1].as_asked(TWO)}
    assert all(one.holds for one in checks.values())
    assert checks["devices"].found == "2"
    both[1].ranks.size = 3
    assert not {one.claim: one for one in both[1].as_asked(TWO)}["devices"].holds
    both[1].ranks.size = 2


def test_the_other_process_says_its_memory_and_forgets_what_is_over(both: tuple[Any, Any]) -> None:
    generation = both[1].prefill(PROMPTS, 4)
    del generation
    assert both[1].ranks.ask(Op.RESET) == [{}]
    (peaks,) = both[1].ranks.ask(Op.PEAKS)
    assert peaks["peak_rss_bytes"] > 50_000_000


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num_attention_heads": 9, "num_key_value_heads": 3}, "num_attention_heads is 9"),
        ({"num_attention_heads": 4, "num_key_value_heads": 1}, "num_key_value_heads is 1"),
        ({"text_config": {"num_attention_heads": 5}}, "num_attention_heads is 5"),
        ({"quantization_config": {"quant_method": "gptq"}}, "was quantised before"),
        ({"num_attention_heads": 4, "num_key_value_heads": 2}, None),
    ],
)
def test_what_cannot_be_split_is_said_by_its_config(config: Any, words: str | None) -> None:
    said = parallel.refuse_model(config, 2)
    assert said is None if words is None else words in str(said)


@pytest.mark.parametrize("devices", [0, 1, 65])
def test_a_number_of_devices_that_means_nothing(devices: int) -> None:
    with pytest.raises(ValueError, match="devices must be from 2 to 64"):
        parallel.Params(devices)


@pytest.mark.parametrize(
    ("device", "there", "words"), [("cuda:1", 2, "the first GPUs"), ("cuda", 1, "sees 1 CUDA device")]
)
def test_gpus_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, there: int, words: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(Unsupported, match=words):
        parallel.load(tmp_path, replace(TWO, device=device))


DYING = """
    import os, signal, sys, time
    from pathlib import Path
    from bench.engine import Options
    from bench.runtimes import transformers_parallel as parallel

    if __name__ == "__main__":
        sys.excepthook = lambda kind, bad, _trace: print("SAID", bad.outcome, bad, flush=True)
        engine = parallel.load(Path(sys.argv[1]), Options(device="cpu", threads=1, own={"devices": 2}))
        os.kill(engine.ranks.pids[0], signal.SIGKILL)
        time.sleep(60)
"""


def test_a_process_that_dies_ends_the_worker_with_a_reason(tmp_path: Path) -> None:
    """The worker may wait in a collective for ever, so it must not be the one who finds out."""
    script = tmp_path / "dying.py"
    script.write_text(dedent(DYING))
    model = saved(transformers.LlamaConfig(**sizes(96)), tmp_path / "model")
    root = str(Path(parallel.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(script), str(model)], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "a process that holds a part of the model: it ended without a word" in done.stdout
