"""The OpenVINO engine and its schemes beside transformers, in the engine's own environment.

Run there by the first test; here, without the packages, most of the others are skipped.
"""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from engines import (
    Configs,
    decoded,
    own_cache,
    run_there,
    saved,
    told,
    toys,
    with_other_formats,
    without_a_tensor,
)

import bench
from bench import plugins
from bench.engine import Options
from bench.engine.evidence import Census
from bench.errors import NotApplied, Unsupported, VariantFailed
from bench.runtimes import _openvino, openvino
from bench.runtimes import transformers as reference
from bench.worker import session

MISSING = plugins.missing_packages(openvino)
inside = pytest.mark.skipif(bool(MISSING), reason="runs in the environment of the engine")
PROMPTS = ([5, 17, 200, 3, 44, 8, 8, 91, 30, 31, 32, 33], [9], [7, 300, 2])
WINDOW = [(7 * place) % 512 for place in range(40)]
SCHEMES = ("openvino-int8", "openvino-int4")
every_scheme = pytest.mark.parametrize("name", SCHEMES)
LAYERS = 14
MODELS: Configs = {
    **toys(128, sliding_window=8),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=512, n_positions=64, n_embd=64, n_layer=2, n_head=4, eos_token_id=2
    ),
}


@pytest.mark.skipif(not MISSING, reason="this is the environment of the engine")
def test_in_the_environment_of_the_engine() -> None:
    run_there("openvino", __file__)


_own_cache = own_cache(MISSING)


@pytest.fixture(scope="module", params=MODELS)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(MODELS[request.param](), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(MODELS["llama"](), tmp_path_factory.mktemp("llama"))


def both(directory: Path, **options: Any) -> tuple[Any, Any]:
    asked = Options(**{"device": "cpu", "threads": 1, **options})
    return openvino.load(directory, asked), reference.load(directory, asked)


def divergence(theirs: Any, ours: Any) -> float:
    """Mean KL in nats of our logits from theirs."""
    expected, found = theirs.log_softmax(-1), ours.log_softmax(-1)
    return float((expected.exp() * (expected - found)).sum(-1).mean())


def _computes_in_float16() -> bool:
    if MISSING:
        return False
    return "FP16" in _openvino.library().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


# ---- the engine ----------------------------------------------------------------------------------


@inside
def test_logits_and_tokens(directory: Path) -> None:
    """Of one window, of a batch of unequal prompts, and of each of them alone."""
    ours, theirs = both(directory)
    logits = ours.logits(WINDOW)
    assert logits.dtype == torch.float32
    assert logits.shape == (len(WINDOW), 512)
    assert torch.allclose(logits, theirs.logits(WINDOW), rtol=1e-4, atol=1e-4)
    together = decoded(ours, PROMPTS, 12)
    assert together == decoded(theirs, PROMPTS, 12)
    assert together == [decoded(ours, [prompt], 12)[0] for prompt in PROMPTS]


@inside
def test_a_graph_of_another_model_is_refused(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trace that took one path through the model, as through experts, gives other logits than the model."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    plain = openvino.OpenVinoEngine.logits
    monkeypatch.setattr(openvino.OpenVinoEngine, "logits", lambda self, ids: plain(self, ids).roll(1, -1))
    with pytest.raises(Unsupported, match=r"exports another model: its logits are 1\.\d+ sd from those"):
        openvino.load(llama, Options(device="cpu", threads=1))
    assert not list(tmp_path.rglob("model.xml")), "what was refused is not kept"


@inside
def test_what_was_loaded(directory: Path) -> None:
    ours, theirs = both(directory)
    assert ours.parameters() == sum(one.numel() for one in theirs.model.parameters())
    matrices = ours.census().of("FullyConnected")
    assert len(matrices) == len({one.name for one in matrices})
    assert ["lm_head" in one.name for one in matrices] == [one.is_head for one in matrices]
    assert sum(one.is_head for one in matrices) == 1
    weights = {name: one.numel() for name, one in theirs.model.named_parameters() if one.dim() == 2}
    layers = sum(elements for name, elements in weights.items() if ".layers." in name or ".h." in name)
    assert sum(one.elements for one in matrices if not one.is_head) == layers
    assert {one.dtype for one in ours.census().matrices} == {"f32"}
    assert 4 * ours.parameters() <= ours.census().weights_bytes < 4.2 * ours.parameters()


@inside
def test_facts(llama: Path) -> None:
    ours, theirs = both(llama)
    found = ours.facts()
    assert found.engine.startswith("OpenVINO ")
    said = "f32, attention of one operator, KV cache f32, activations not quantised"
    assert found == dataclasses.replace(theirs.facts(), engine=found.engine, attention="", loaded=said)
    assert openvino.load(llama, Options(device="cpu", threads=2)).facts().threads == 2


@pytest.fixture(scope="module")
def in_bfloat16(llama: Path) -> Path:
    """A model that compiles in bfloat16. On one virtual processor with AMX the library divides by zero."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(bench.__file__).parents[1])!r})\n"
        "from bench.engine import Options; from bench.runtimes import openvino; from pathlib import Path\n"
        "openvino.load(Path(sys.argv[1]), Options(device='cpu', threads=1, dtype='bfloat16'))"
    )
    done = subprocess.run([sys.executable, "-c", code, llama], capture_output=True, check=False)
    if done.returncode < 0:
        pytest.skip(f"OpenVINO dies of {signal.Signals(-done.returncode).name} on this processor")
    return llama


@inside
def test_bfloat16(in_bfloat16: Path) -> None:
    """In weights, arithmetic and cache; where the processor has it."""
    try:
        ours, theirs = both(in_bfloat16, dtype="bfloat16")
    except Unsupported as here:
        pytest.skip(here.reason)
    assert {one.dtype for one in ours.census().matrices} == {"bf16"}
    assert ours.facts().dtype == "bfloat16"
    assert ours.facts().kv_bytes_per_token == theirs.facts().kv_bytes_per_token
    whole = reference.load(in_bfloat16, Options(device="cpu")).logits(WINDOW)
    assert 0 < divergence(whole, ours.logits(WINDOW)) < 2 * divergence(whole, theirs.logits(WINDOW))


@inside
def test_the_cache(llama: Path) -> None:
    ours, _theirs = both(llama)
    generation = ours.prefill(PROMPTS, 5)
    a_token = ours.facts().kv_bytes_per_token
    assert ours.cache_bytes(generation) == 3 * 12 * a_token
    ours.step(generation)
    assert ours.cache_bytes(generation) == 3 * 13 * a_token


@inside
def test_two_batches_at_once(llama: Path) -> None:
    ours, _theirs = both(llama)
    first, second = ours.prefill(PROMPTS, 6), ours.prefill(PROMPTS[:1], 6)
    for _ in range(5):
        ours.step(first)
        ours.logits(WINDOW)
        ours.step(second)
    assert ours.tokens(first) == decoded(ours, PROMPTS, 6)
    assert ours.tokens(second) == decoded(ours, PROMPTS[:1], 6)


@inside
@pytest.mark.skipif(_computes_in_float16(), reason="this processor has float16")
def test_a_setting_that_the_plugin_does_not_follow(llama: Path) -> None:
    """Asked for float16, it computes in another precision where the processor has none."""
    with pytest.raises(Unsupported, match="does not compute in float16"):
        openvino.load(llama, Options(dtype="float16"))
    ours, _theirs = both(llama)
    with pytest.raises(Unsupported, match="where f16 was asked for"):
        openvino.Model(ours.model.path, {**ours.model.settings, "INFERENCE_PRECISION_HINT": "f16"})


@inside
def test_nothing_is_reported_to_its_makers(llama: Path) -> None:
    import sys

    session.load(message(llama, "openvino-int8"))
    assert sys.modules["openvino_telemetry"] is None


@inside
def test_an_architecture_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(Unsupported, match="does not export no-such-model"):
        openvino.load(tmp_path, Options())


@inside
@pytest.mark.parametrize("place", ['"quantization_config": {}', '"text_config": {"quantization_config": {}}'])
def test_a_packed_checkpoint(tmp_path: Path, place: str) -> None:
    said = place.replace("{}", '{"quant_method": "gptq"}')
    (tmp_path / "config.json").write_text(f'{{"model_type": "llama", {said}}}')
    with pytest.raises(Unsupported, match="not packed ones"):
        openvino.load(tmp_path, Options())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (Options(device="cuda"), "runs on the CPU"),
        (Options(random=True), "not random ones"),
        (Options(attention="eager"), "not eager"),
    ],
)
def test_what_it_does_not_do(options: Options, reason: str, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=reason):
        openvino.load(tmp_path, options)


@inside
def test_a_tensor_that_is_missing_is_not_made_up(llama: Path, tmp_path: Path) -> None:
    """The exporter made it up and logged that, and the drift of the row was that of random numbers."""
    with pytest.raises(VariantFailed, match=r"made up by the loader: model\.layers\.1\.mlp\.down_proj"):
        openvino.load(without_a_tensor(llama, tmp_path / "model"), Options(device="cpu", threads=1))


@inside
def test_files_of_other_formats_beside_the_weights_are_not_read(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, window = Options(device="cpu", threads=1), [5, 17, 200, 3]
    before = openvino.load(llama, options).logits(window)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))  # it is exported again
    planted = with_other_formats(llama, tmp_path / "model")
    assert torch.equal(openvino.load(planted, options).logits(window), before)


# ---- the schemes ---------------------------------------------------------------------------------


def message(directory: Path, name: str, **params: object) -> dict[str, Any]:
    settings = {**dataclasses.asdict(plugins.load("optimisations.quantise", name).Params()), **params}
    return {
        "directory": str(directory),
        "runtime": "bench.runtimes.openvino",
        "options": {"device": "cpu", "dtype": "float32", "threads": 1, "attention": "sdpa", "random": False},
        "optimise": [told("quantise", name, settings)],
    }


@inside
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("openvino-int8", {}),
        ("openvino-int8", {"mode": "INT8_SYM", "activations": "int8"}),
        ("openvino-int4", {}),
        ("openvino-int4", {"mode": "INT4_SYM", "group_size": 32, "activations": "int8"}),
        ("openvino-int4", {"group_size": -1}),
        ("openvino-int4", {"ratio": 0.5}),
    ],
)
def test_a_scheme_that_works(llama: Path, name: str, params: dict[str, object]) -> None:
    """Evidence, tokens, and logits that are those of the whole model with noise on them."""
    plain, _theirs = both(llama)
    engine, found = session.load(message(llama, name, **params))
    step = found.evidence[1]
    assert all(one["holds"] for one in step["checks"])
    assert step["one_off"][0]["what"] == name
    assert found.parameters == plain.parameters()
    assert found.weights_bytes < plain.census().weights_bytes / 2
    distance = (engine.logits(WINDOW) - plain.logits(WINDOW)).abs().mean() / plain.logits(WINDOW).std()
    assert 0 < distance < 0.5
    assert engine.finite(WINDOW)
    assert [len(row) for row in decoded(engine, PROMPTS, 5)] == [5, 5, 5]


@inside
@every_scheme
def test_on_bfloat16(in_bfloat16: Path, name: str) -> None:
    asked = message(in_bfloat16, name)
    asked["options"]["dtype"] = "bfloat16"
    try:
        engine, _found = session.load(asked)
    except Unsupported as here:
        pytest.skip(here.reason)
    assert engine.finite(WINDOW)
    assert str(engine.facts().loaded).startswith("bf16, attention of one operator, KV cache bf16")


@inside
@every_scheme
def test_what_is_multiplied(llama: Path, name: str) -> None:
    """The same weights; with int8 activations the facts say so."""
    floats, integers = (session.load(message(llama, name, activations=one))[0] for one in ("float", "int8"))
    assert str(floats.facts().loaded).endswith("activations not quantised")
    assert str(integers.facts().loaded).endswith("activations in int8 by groups of 32")
    weights = [
        [dataclasses.replace(m, scalars={}) for m in one.census().matrices] for one in (floats, integers)
    ]
    assert weights[0] == weights[1]


@inside
@every_scheme
def test_activations_other_than_asked(llama: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO's own default, had it been left alone."""
    monkeypatch.setitem(_openvino.ACTIVATION_GROUPS, "float", 32)
    with pytest.raises(NotApplied, match="activations in products: expected float, found int8"):
        session.load(message(llama, name))


@inside
@every_scheme
def test_nothing_is_packed_twice(llama: Path, name: str) -> None:
    """The second run has the file of the first, and says what it had cost."""
    bills = [session.load(message(llama, name))[1].evidence[1]["one_off"][0] for _ in range(2)]
    assert bills[1] == {**bills[0], "reused": True}


@inside
@every_scheme
def test_a_scheme_that_does_nothing(llama: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = plugins.load("optimisations.quantise", name)
    monkeypatch.setattr(scheme, "apply", lambda model, params: model)
    with pytest.raises(NotApplied, match=f"expected {LAYERS}, found 0"):
        session.load(message(llama, name))


@inside
@every_scheme
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_a_scheme_that_leaves_one_layer_out(
    llama: Path, name: str, ratio: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """NNCF is told to ignore one."""
    packed = openvino.compressed

    def all_but_one(*given: Any, **options: Any) -> None:
        import nncf

        left_out = nncf.IgnoredScope(patterns=[".*layers.1.mlp.down_proj.*"])
        packed(*given, **options, ignored_scope=left_out)

    monkeypatch.setattr(openvino, "compressed", all_but_one)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    with pytest.raises(NotApplied, match=f"expected {LAYERS}, found {LAYERS - 1}"):
        session.load(message(llama, name, **({"ratio": ratio} if name == "openvino-int4" else {})))


@inside
def test_less_in_four_bits_than_asked(llama: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packed = openvino.compressed
    monkeypatch.setattr(
        openvino, "compressed", lambda *given, **more: packed(*given, **{**more, "ratio": 0.4})
    )
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    with pytest.raises(NotApplied, match="share of weights in u4"):
        session.load(message(llama, "openvino-int4", ratio=0.9))


@inside
def test_rows_that_do_not_divide_into_groups(llama: Path) -> None:
    with pytest.raises(Unsupported, match="do not divide into groups of 128"):
        session.load(message(llama, "openvino-int4", group_size=128))


@every_scheme
def test_evidence_about_an_empty_model_does_not_hold(name: str) -> None:
    scheme = plugins.load("optimisations.quantise", name)
    empty = Census((), 0, {})
    assert not any(one.holds for one in scheme.evidence(empty, empty, scheme.Params()))


@every_scheme
def test_a_scheme_says_where_it_runs(name: str) -> None:
    scheme = plugins.load("optimisations.quantise", name)
    assert scheme.RUNTIMES == ("openvino",)
    assert scheme.unsupported("cpu", "float32") is None
    assert "CPU" in scheme.unsupported("cuda", "float32")


@pytest.mark.parametrize("ratio", [0.0, 1.1, -1.0])
def test_a_ratio_that_is_none(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratio must be above 0"):
        plugins.load("optimisations.quantise", "openvino-int4").Params(ratio=ratio)
