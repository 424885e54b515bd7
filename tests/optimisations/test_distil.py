"""Distillation on a small model: it learns, it is kept, it goes on where it was cut off, and it says when it
diverges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import pytest
import torch
import transformers
from accelerate.state import AcceleratorState

from bench.engine import Teacher, bfloat16, census, one_off, processors, progress
from bench.errors import NonFiniteOutput, NotApplied, Outcome, Unsupported
from bench.optimisations.distil import logits, sequence
from bench.optimisations.prune import depth
from bench.optimisations.shared import calibration, training

SMALL: dict[str, Any] = {
    "steps": 12, "batch": 2, "tokens": 32, "held_out": 2, "evaluate_every": 4, "learning_rate": 3e-3,
    "precision": "float32",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(processors, "COUNT", 1)  # the other processor has tests of its own to run
    one_off.take_bill()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=300, tie_word_embeddings=True, initializer_range=0.3,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("teacher")
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(path)
    return path


def loaded(directory: Path) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(directory)
    return model.eval().requires_grad_(False)


def student(directory: Path) -> Any:
    """The teacher without its second layer."""
    model = depth.apply(loaded(directory), depth.Params(drop=(1,)))
    one_off.take_bill()
    return model


def teacher(directory: Path) -> Teacher:
    return Teacher(directory, lambda: loaded(directory))


def weights(model: Any) -> list[torch.Tensor]:
    return [one.clone() for one in model.parameters()]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(
    "more", [{}, {"direction": "reverse"}, {"temperature": 2.0, "hidden": 0.5}, {"lora_rank": 4}]
)
def test_the_student_comes_closer_to_the_baseline(directory: Path, more: dict[str, Any]) -> None:
    model = student(directory)
    before, ends = census.take(model), model.lm_head.weight.clone()
    params = logits.Params(**SMALL, **more)
    changed = logits.apply(model, params, teacher(directory))
    (bill,) = one_off.take_bill()
    details: Any = bill["details"]
    assert details["held_out_kl_after"] < 0.97 * details["held_out_kl_before"]
    assert details["steps"] == 12
    assert all(one.holds for one in logits.evidence(before, census.take(changed), params))
    assert type(changed.model.layers[0].mlp.up_proj) is torch.nn.Linear
    assert torch.equal(changed.lm_head.weight, ends)
    assert not any(one.requires_grad for one in changed.parameters())


def test_the_second_time_costs_only_the_load(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = logits.Params(**SMALL)
    first = weights(logits.apply(student(directory), params, teacher(directory)))
    (made,) = one_off.take_bill()
    monkeypatch.setattr(training.Training, "run", lambda self: pytest.fail("trained again"))
    again = weights(logits.apply(student(directory), params, teacher(directory)))
    assert same(first, again)
    (reused,) = one_off.take_bill()
    assert reused["reused"]
    assert reused["took_s"] == made["took_s"]
    assert reused["details"] == made["details"]


@pytest.fixture
def _other_products() -> Iterator[None]:
    """accelerate allows one precision in a process; a worker trains once, and this process trains often."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("_other_products")
@pytest.mark.parametrize(("there", "precision", "bits"), [(True, "bfloat16", 16), (False, "float32", 32)])
def test_products_are_in_bfloat16_where_the_processor_has_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch, there: bool, precision: str, bits: int
) -> None:
    """A student of ``auto`` is that of the precision which it stands for, and is trained once for both."""
    monkeypatch.setattr(bfloat16, "multiplies", lambda _device: there)
    chosen = weights(
        logits.apply(student(directory), logits.Params(**SMALL | {"precision": "auto"}), teacher(directory))
    )
    (made,) = one_off.take_bill()
    assert cast(dict[str, object], made["details"])["product_bits"] == bits
    monkeypatch.setattr(training.Training, "run", lambda self: pytest.fail("trained again"))
    named = logits.Params(**SMALL | {"precision": precision})
    assert same(chosen, weights(logits.apply(student(directory), named, teacher(directory))))


def test_another_seed_is_another_student(directory: Path) -> None:
    one = weights(logits.apply(student(directory), logits.Params(**SMALL), teacher(directory)))
    other = weights(logits.apply(student(directory), logits.Params(**SMALL, seed=1), teacher(directory)))
    assert not same(one, other)


def test_a_training_that_was_cut_off_goes_on(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after eight of twelve steps, it ends with the very weights of one that was not."""
    params = logits.Params(**SMALL)
    whole = weights(logits.apply(student(directory), params, teacher(directory)))
    for entry in (Path(training._checkpoints()).parent / "models").glob("distil*"):
        if entry.is_dir():
            entry.rename(entry.with_name("elsewhere"))
    real = training.Training._step

    def killed(self: Any, *arguments: Any) -> float:
        if self.state.step == 9:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(training.Training, "_step", killed)
    monkeypatch.setattr(one_off, "clock", lambda: 1000 * perf_counter())
    with pytest.raises(KeyboardInterrupt):
        logits.apply(student(directory), params, teacher(directory))
    monkeypatch.setattr(training.Training, "_step", real)
    monkeypatch.setattr(one_off, "clock", perf_counter)
    one_off.take_bill()
    said: list[str] = []
    monkeypatch.setattr(progress, "_sink", said.append)
    resumed = weights(logits.apply(student(directory), params, teacher(directory)))
    assert any("goes on from step 8" in text for text in said)
    assert same(whole, resumed)
    assert float(str(one_off.take_bill()[-1]["took_s"])) > 5, (
        "what it took before it was cut off is billed too"
    )
    assert not list(training._checkpoints().glob("*"))


def test_one_that_diverges_says_so_and_keeps_the_last_good_weights(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = training.Training._step

    def diverges(self: Any, *arguments: Any) -> float:
        return float("nan") if self.state.step == 5 else real(self, *arguments)

    monkeypatch.setattr(training.Training, "_step", diverges)
    with pytest.raises(
        NonFiniteOutput, match=r"diverged at step 6 .* is kept: try a lower learning_rate"
    ) as caught:
        logits.apply(student(directory), logits.Params(**SMALL), teacher(directory))
    assert caught.value.outcome == Outcome.NAN_OUTPUT
    assert list(training._checkpoints().glob("*/last.safetensors"))


def test_it_stops_when_it_no_longer_helps(directory: Path) -> None:
    params = logits.Params(**{**SMALL, "learning_rate": 0.9, "steps": 200, "patience": 2})
    with pytest.raises(NotApplied, match=r"no weights in 8 steps had a lower held-out KL than"):
        logits.apply(student(directory), params, teacher(directory))


def test_sequences_the_baseline_writes(directory: Path) -> None:
    model = student(directory)
    before = census.take(model)
    params = sequence.Params(**{**SMALL, "steps": 16})
    changed = sequence.apply(model, params, teacher(directory))
    assert all(one.holds for one in sequence.evidence(before, census.take(changed), params))
    prompt = torch.arange(8)[None]
    written = sequence._continued(loaded(directory), prompt, 20)
    assert written.shape == (1, 20)
    assert torch.equal(written[:, :8], prompt)


def test_another_vocabulary(directory: Path, tmp_path: Path) -> None:
    config = transformers.AutoConfig.from_pretrained(directory)
    config.vocab_size = 200
    other = transformers.AutoModelForCausalLM.from_config(config)
    with pytest.raises(Unsupported, match="vocabulary of 200, the baseline of 300"):
        logits.apply(other, logits.Params(**SMALL), teacher(directory))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"learning_rate": 0.0},
        {"lora_rank": 0},
        {"max_minutes": 0},
        {"temperature": 0},
        {"hidden": -1},
        {"batch": 0},
    ],
)
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        logits.Params(**wrong)


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [training._schedule(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[4] == rates[5] == 1.0
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.01


def test_a_held_out_text_is_never_trained_on(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []
    real = calibration.windows

    def seen(model: Any, params: Any, part: tuple[float, float] = (0.0, 1.0)) -> Any:
        parts.append(part)
        return real(model, params, part)

    monkeypatch.setattr(calibration, "windows", seen)
    logits.apply(student(directory), logits.Params(**{**SMALL, "steps": 1}), teacher(directory))
    assert parts == [(0.0, 0.95), (0.95, 1.0)]
