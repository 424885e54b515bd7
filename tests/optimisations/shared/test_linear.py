"""Which layers a scheme works on, and a model that has none of them."""

from __future__ import annotations

from typing import Any

import pytest
import transformers
from engines import told

from bench.errors import Outcome, Unsupported, VariantFailed
from bench.optimisations.quantise import torch_int8_dynamic
from bench.optimisations.shared.linear import must_be_there, named_linears
from bench.worker import session


def gpt2() -> Any:
    config = transformers.GPT2Config(vocab_size=300, n_positions=64, n_embd=32, n_layer=1, n_head=2)
    return transformers.GPT2LMHeadModel(config)


def llama() -> Any:
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    return transformers.LlamaForCausalLM(config)


def test_the_head_is_left_out() -> None:
    names = [name for name, _layer in named_linears(llama())]
    assert len(names) == 7
    assert "lm_head" not in names


def test_matrices_of_another_class_are_named() -> None:
    must_be_there(llama())
    with pytest.raises(Unsupported, match=r"GPT2LMHeadModel has no linear layers of torch.* are in Conv1D"):
        must_be_there(gpt2())


def test_layers_that_are_packed_are_no_matrices_of_another_class() -> None:
    """What packs them a second time is told so by its evidence."""
    must_be_there(torch_int8_dynamic.apply(llama().eval(), torch_int8_dynamic.Params()))


def message(directory: Any, verb: str, name: str, **params: object) -> dict[str, Any]:
    options = {"device": "cpu", "dtype": "float32", "threads": 1, "attention": "sdpa", "random": True}
    return {
        "directory": str(directory), "runtime": "bench.runtimes.transformers", "options": options,
        "optimise": [told(verb, name, params)],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "name", "params"),
    [
        ("quantise", "torch-int8-dynamic", {}),
        ("quantise", "bnb-nf4", {}),
        ("quantise", "hqq", {}),
        ("quantise", "quanto-int8", {}),
        ("quantise", "torchao-int8", {}),
        ("prune", "magnitude", {}),
    ],
)
def test_a_scheme_says_what_it_misses(verb: str, name: str, params: dict[str, Any], tmp_path: Any) -> None:
    gpt2().config.save_pretrained(tmp_path)
    with pytest.raises(Unsupported, match="its matrices are in Conv1D"):
        session.load(message(tmp_path, verb, name, **params))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (IndexError("list index\nout of range"), "(IndexError: list index out of range)"),
        (AttributeError("no attribute 'o_proj'"), "(AttributeError: no attribute 'o_proj')"),
    ],
)
def test_what_a_library_says_becomes_a_sentence_of_scheme_and_model(
    fault: Exception, words: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    llama().config.save_pretrained(tmp_path)

    def fails(model: Any, params: Any) -> Any:
        raise fault

    monkeypatch.setattr(torch_int8_dynamic, "apply", fails)
    with pytest.raises(VariantFailed) as caught:
        session.load(message(tmp_path, "quantise", "torch-int8-dynamic"))
    assert caught.value.outcome == Outcome.LOAD_ERROR
    assert caught.value.reason == (
        f"quantise: torch-int8-dynamic cannot be applied to LlamaForCausalLM {words}"
    )
    assert caught.value.__cause__ is fault


def test_too_little_memory_stays_what_it_is(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llama().config.save_pretrained(tmp_path)

    def fails(model: Any, params: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch_int8_dynamic, "apply", fails)
    with pytest.raises(RuntimeError, match="can't allocate"):
        session.load(message(tmp_path, "quantise", "torch-int8-dynamic"))
