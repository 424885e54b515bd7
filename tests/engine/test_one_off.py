"""Work done once: timed, kept by what it depends on, and billed at what it took whenever it is used again."""

from __future__ import annotations

import json
import time
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from bench.engine import one_off

PACKAGES = ("torch",)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    one_off.take_bill()
    return tmp_path


class Maker:
    """Counts how often it worked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, torch.Tensor]:
        self.calls += 1
        time.sleep(0.05)
        return {"scale": torch.tensor([1.5, 2.5])}


def model() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(4, 3)


def test_time_and_memory_of_what_is_done_inside() -> None:
    with one_off.spent("training"):
        time.sleep(0.05)
    (bill,) = one_off.take_bill()
    assert bill["what"] == "training"
    assert 0.05 <= float(str(bill["took_s"])) < 60
    assert int(str(bill["peak_bytes"])) > 1e6
    assert bill["reused"] is False
    assert 0 <= float(str(bill["others"])) <= 1
    assert one_off.take_bill() == []


def test_what_others_took_and_what_was_read_are_kept_with_the_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine had other work while this was made, and has none when it is used again."""
    monkeypatch.setattr(one_off.noise, "others", lambda _before, _after: 0.71)

    def make() -> dict[str, torch.Tensor]:
        one_off.has_read("mine.txt", "ab" * 32)
        return {"scale": torch.ones(1)}

    one_off.kept("gptq", model(), {}, PACKAGES, make)
    monkeypatch.setattr(one_off.noise, "others", lambda _before, _after: 0.0)
    one_off.kept("gptq", model(), {}, PACKAGES, make)
    with one_off.spent("training"):
        pass
    made, reused, other = one_off.take_bill()
    assert (made["others"], reused["others"], other["others"]) == (0.71, 0.71, 0.0)
    assert made["texts"] == reused["texts"] == {"mine.txt": "ab" * 32}
    assert other["texts"] == {}


def test_a_bill_that_an_earlier_version_kept_is_read(cache: Path) -> None:
    one_off.kept("gptq", model(), {}, PACKAGES, Maker())
    (file,) = cache.rglob(one_off.BILL)
    earlier = {
        key: one for key, one in json.loads(file.read_text()).items() if key not in ("others", "texts")
    }
    file.write_text(json.dumps(earlier).ljust(file.stat().st_size))
    one_off.take_bill()
    one_off.kept("gptq", model(), {}, PACKAGES, Maker())
    (bill,) = one_off.take_bill()
    assert (bill["reused"], bill["others"], bill["texts"]) == (True, None, {})


def test_made_once_and_billed_the_same_every_time() -> None:
    make = Maker()
    first = one_off.kept("gptq", model(), {"samples": 4}, PACKAGES, make)
    second = one_off.kept("gptq", model(), {"samples": 4}, PACKAGES, make)
    assert make.calls == 1
    assert torch.equal(first["scale"], second["scale"])
    made, reused = one_off.take_bill()
    assert (made["what"], made["reused"], reused["reused"]) == ("gptq", False, True)
    assert made["took_s"] == reused["took_s"]
    assert made["peak_bytes"] == reused["peak_bytes"]


def test_another_recipe_or_another_weight_is_another_result() -> None:
    make = Maker()
    one_off.kept("gptq", model(), {"samples": 4}, PACKAGES, make)
    one_off.kept("gptq", model(), {"samples": 8}, PACKAGES, make)
    changed = model()
    with torch.no_grad():
        changed.bias[0] += 1
    one_off.kept("gptq", changed, {"samples": 4}, PACKAGES, make)
    assert make.calls == 3


def test_what_fails_leaves_nothing_behind(cache: Path) -> None:
    def fails() -> dict[str, torch.Tensor]:
        raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        one_off.kept("gptq", model(), {}, PACKAGES, fails)
    make = Maker()
    one_off.kept("gptq", model(), {}, PACKAGES, make)
    assert make.calls == 1
    assert not [
        path for path in cache.rglob("*.safetensors") if "scale" not in path.read_bytes().decode("latin-1")
    ]


def test_a_file_and_a_directory_are_kept_too() -> None:
    written = []

    def write(path: Path) -> None:
        written.append(path)
        path.write_text("x")

    assert one_off.kept_file("gguf a", "model.gguf", write).read_text() == "x"
    assert one_off.kept_file("gguf a", "model.gguf", write).name == "model.gguf"
    assert len(written) == 1
    directory = one_off.kept_directory("onnx a", lambda staging: write(staging / "a"))
    assert (directory / "a").read_text() == "x"
    assert [bill["what"] for bill in one_off.take_bill()] == ["gguf", "gguf", "onnx"]


def test_the_same_weights_in_another_config_are_another_model() -> None:
    """What was calibrated for one rotary embedding was used for another."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    one = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, vocab_size=16))
    other, elsewhere = deepcopy(one), deepcopy(one)
    other.config.rope_parameters["rope_theta"] = 7.0
    elsewhere.config.name_or_path = "/another/directory"
    assert one_off.digest(other, {}) != one_off.digest(one, {})
    assert one_off.digest(elsewhere, {}) == one_off.digest(one, {})
