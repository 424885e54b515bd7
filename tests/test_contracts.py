"""Every optimisation through its whole contract, found by name: a new scheme is tested by being there.

It must load, be borne out by its evidence, generate, and score finitely; and it must fail as ``not_applied``
when it does nothing, and when it leaves one layer out.
"""

from __future__ import annotations

import atexit
import copy
import dataclasses
import inspect
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from bitsandbytes.functional import has_avx512bf16

from bench import plugins
from bench.engine import census
from bench.engine.evidence import Census
from bench.errors import NotApplied, Outcome, Unsupported
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.optimisations import verbs
from bench.worker import kernels, passes, session
from bench.worker.score import noise_floor

SCHEMES = [(verb, name) for verb in verbs() for name in plugins.names(f"optimisations.{verb}")]
every_scheme = pytest.mark.parametrize(("verb", "name"), SCHEMES, ids=[f"{v} {n}" for v, n in SCHEMES])
DTYPES = ("float32", "bfloat16", "float16")
LEFT_OUT = "model.layers.1.mlp.down_proj"


def module_of(verb: str, name: str) -> ModuleType:
    return plugins.load(f"optimisations.{verb}", name)


# A training of seconds, and something to be trained: a student that is not its own teacher.
A_LITTLE = {"steps": 2, "batch": 1, "tokens": 32, "held_out": 1, "evaluate_every": 1, "precision": "float32"}
PRUNED = {"verb": "prune", "scheme": "magnitude", "params": {"sparsity": 0.3}}


def message(verb: str, name: str, dtype: str = "float32", **params: object) -> dict[str, Any]:
    """What the harness sends to a worker for this scheme alone, or after what it needs before it."""
    module = module_of(verb, name)
    small = A_LITTLE if verb == "distil" else {}
    settings = {**dataclasses.asdict(module.Params()), **small, **params}
    directory = tiny_mixture() if name == "experts" else ensure(Random("tiny-llama")).directory
    return {
        "directory": str(directory),
        "runtime": "transformers",
        "options": {"device": "cpu", "dtype": dtype, "threads": None, "attention": "sdpa", "random": True},
        "optimise": [
            *([PRUNED] if verb == "distil" else []),
            {"verb": verb, "scheme": name, "params": settings},
        ],
    }


@cache
def tiny_mixture() -> Path:
    """The shape of a mixture of experts."""
    directory = Path(tempfile.mkdtemp(prefix="tiny-mixture-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    transformers.MixtralConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=8, vocab_size=512, sliding_window=None,
    ).save_pretrained(directory)  # fmt: skip
    return directory


def runnable(verb: str, name: str) -> str:
    """The first dtype the scheme takes on a CPU; the test is skipped where it needs what is not here."""
    module = module_of(verb, name)
    if missing := plugins.missing_packages(module):
        pytest.skip(f"needs {missing[0]}")
    for dtype in DTYPES:
        if module.unsupported("cpu", dtype) is None:
            return dtype
    pytest.skip("has no CPU kernels")


@pytest.fixture
def applied(verb: str, name: str) -> Iterator[Any]:
    """The scheme's ``apply``, to be replaced by a test."""
    module = module_of(verb, name)
    real = module.apply
    yield real
    module.apply = real


@every_scheme
def test_a_scheme_says_what_it_is(verb: str, name: str) -> None:
    module = module_of(verb, name)
    assert 10 < len(plugins.describe(module)) < 110
    assert all(isinstance(package, str) for package in module.REQUIRES)
    assert dataclasses.is_dataclass(module.Params)
    assert module.Params.__doc__
    with pytest.raises(dataclasses.FrozenInstanceError):
        module.Params().something = 1
    for function, arguments in (
        ("unsupported", ["device", "dtype"]),
        ("apply", ["model", "params"]),
        ("evidence", ["before", "after", "params"]),
    ):
        assert list(inspect.signature(getattr(module, function)).parameters) == arguments
        assert getattr(module, function).__doc__


@every_scheme
def test_a_scheme_refuses_with_a_reason_or_not_at_all(verb: str, name: str) -> None:
    module = module_of(verb, name)
    for device in ("cpu", "cuda"):
        for dtype in DTYPES:
            reason = module.unsupported(device, dtype)
            assert reason is None or len(reason) > 10
    assert any(module.unsupported(d, t) is None for d in ("cpu", "cuda") for t in DTYPES)


@every_scheme
def test_a_scheme_that_works(verb: str, name: str) -> None:
    """Load, apply, evidence, kernels of a step, generate, score."""
    engine, found = session.load(message(verb, name, runnable(verb, name)))
    step = found["evidence"][-1]
    assert step["step"] == f"{verb}: {name}"
    assert step["checks"]
    assert all(one["holds"] for one in step["checks"])
    assert step["weights_bytes_after"] == found["weights_bytes"] == census.take(engine.model).weights_bytes
    assert not any(module.training for module in engine.model.modules())
    assert found["load_s"] > 0
    assert found["optimise_s"] > 0
    found_kernels = kernels.of_a_step(engine, [1, 2, 3], found["evidence"])
    assert found_kernels
    assert all(0 <= row["share"] <= 1 for row in found_kernels)
    load = [[[5, 6, 7], [8]], [[9] * 20]]
    passes.compile_all(engine, load, 6)
    batches = passes.solo(engine, load, 6)["batches"]
    assert [[len(row) for row in one["tokens"]] for one in batches] == [[6, 6], [6]]
    assert all(0 <= token < 512 for one in batches for row in one["tokens"] for token in row)
    drift = noise_floor(engine, [list(range(40))], [1])["windows"][0]
    assert len(drift["kld"]) == 39
    assert all(0 <= value < 1 for value in drift["kld"])


@every_scheme
def test_a_scheme_that_does_nothing_is_caught(verb: str, name: str, applied: Any) -> None:
    dtype = runnable(verb, name)
    module_of(verb, name).apply = lambda model, params: model
    with pytest.raises(NotApplied, match=f"{verb}: {name}: .*: expected .*, found") as caught:
        session.load(message(verb, name, dtype))
    assert caught.value.outcome == Outcome.NOT_APPLIED


@every_scheme
def test_a_scheme_that_leaves_one_layer_out_is_caught(verb: str, name: str, applied: Any) -> None:
    """The layer is put back as it was, whatever the scheme made of it."""
    dtype = runnable(verb, name)
    parent, _dot, child = LEFT_OUT.rpartition(".")
    touched = []

    def all_but_one(model: Any, params: Any) -> Any:
        try:
            original = copy.deepcopy(model.get_submodule(LEFT_OUT))
            changed = applied(model, params)
            changed.get_submodule(LEFT_OUT)
        except AttributeError:
            pytest.skip("the layer is not there, or not any more")
        touched.append(not same(original, changed.get_submodule(LEFT_OUT)))
        setattr(changed.get_submodule(parent), child, original)
        return changed

    module_of(verb, name).apply = all_but_one
    if (outcome := raised(message(verb, name, dtype))) is None:
        assert touched == [False], "one layer is as it was, and the evidence holds"
        pytest.skip("does not work layer by layer")
    assert outcome == Outcome.NOT_APPLIED


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(type(a) is type(b) and a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def raised(load: dict[str, Any]) -> str | None:
    try:
        session.load(load)
    except NotApplied as caught:
        return caught.outcome
    return None


@every_scheme
def test_a_scheme_without_evidence_is_not_believed(
    verb: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dtype = runnable(verb, name)
    monkeypatch.setattr(module_of(verb, name), "evidence", lambda before, after, params: [])
    with pytest.raises(NotApplied, match="offers no evidence"):
        session.load(message(verb, name, dtype))


@every_scheme
def test_evidence_about_an_empty_model_does_not_hold(verb: str, name: str) -> None:
    module = module_of(verb, name)
    empty = Census((), 0, {})
    assert not all(one.holds for one in module.evidence(empty, empty, module.Params()))


@pytest.mark.parametrize(
    ("verb", "name", "params"),
    [
        ("prune", "magnitude", {"sparsity": 0.25}),
        ("prune", "magnitude", {"sparsity": 0.9}),
        pytest.param(
            "quantise", "bnb-nf4", {"double_quant": True},
            marks=pytest.mark.skipif(has_avx512bf16(), reason="this CPU's kernel undoes it: refused"),
        ),
        ("quantise", "bnb-nf4", {"compute_dtype": "bfloat16"}),
        ("quantise", "bnb-int8", {"threshold": 0.0}),
    ],
)  # fmt: skip
def test_settings_that_change_something(verb: str, name: str, params: dict[str, object]) -> None:
    engine, found = session.load(message(verb, name, runnable(verb, name), **params))
    assert all(one["holds"] for one in found["evidence"][1]["checks"])
    assert engine.logits([1, 2, 3]).isfinite().all()


def test_pruning_takes_the_smallest_weights_of_each_matrix() -> None:
    plain, _found = session.load({**message("prune", "magnitude"), "optimise": []})
    pruned, _found = session.load(message("prune", "magnitude", sparsity=0.25))
    for name, module in plain.model.named_modules():
        if type(module) is torch.nn.Linear and module is not plain.model.get_output_embeddings():
            before, after = module.weight, pruned.model.get_submodule(name).weight
            gone = after == 0
            assert int(gone.sum()) == round(0.25 * before.numel())
            assert before.abs()[gone].max() <= before.abs()[~gone].min()
            assert torch.equal(before[~gone], after[~gone])
    assert torch.equal(plain.model.lm_head.weight, pruned.model.lm_head.weight)


def test_two_steps_one_after_the_other() -> None:
    """Pruned, then packed: each is checked against the model as the other left it."""
    steps = [message(*scheme)["optimise"][0] for scheme in (("prune", "magnitude"), ("quantise", "bnb-nf4"))]
    _engine, found = session.load({**message("prune", "magnitude"), "optimise": steps})
    assert [one["step"] for one in found["evidence"]] == ["runtime", "prune: magnitude", "quantise: bnb-nf4"]


def test_two_steps_in_the_wrong_order() -> None:
    """Nothing is left to prune once the weights are packed: that is said, not passed over."""
    steps = [message(*scheme)["optimise"][0] for scheme in (("quantise", "bnb-nf4"), ("prune", "magnitude"))]
    with pytest.raises(NotApplied, match="prune: magnitude: zero fraction"):
        session.load({**message("prune", "magnitude"), "optimise": steps})


def test_two_quantisations_of_the_weights() -> None:
    steps = [message("quantise", name)["optimise"][0] for name in ("bnb-nf4", "torch-int8-dynamic")]
    with pytest.raises(NotApplied, match="expected some, but no layer was dense before this step, found 0"):
        session.load({**message("quantise", "bnb-nf4"), "optimise": steps})


def test_what_cannot_run_here_says_so_before_it_is_applied() -> None:
    with pytest.raises(Unsupported, match=r"needs runtime\.dtype float32, not bfloat16"):
        session.load(message("quantise", "torch-int8-dynamic", "bfloat16"))


def test_a_runtime_that_loads_something_else_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.runtimes import transformers as runtime

    real = runtime.load
    ignoring = lambda directory, options: real(directory, dataclasses.replace(options, dtype="float32"))  # noqa: E731
    monkeypatch.setattr(runtime, "load", ignoring)
    with pytest.raises(NotApplied, match="runtime: dtype: expected bfloat16, found float32"):
        session.load({**message("prune", "magnitude", "bfloat16"), "optimise": []})


def test_a_kernel_that_did_not_run_is_caught() -> None:
    engine, _found = session.load({**message("prune", "magnitude"), "optimise": []})
    claim = [{"step": "quantise: pretended", "kernel_pattern": "bitsandbytes::"}]
    with pytest.raises(NotApplied, match="no operator of a decode step matches"):
        kernels.of_a_step(engine, [1, 2, 3], claim)
