"""Weights moved off the grid of a 4-bit file: the same function, other numbers, or left alone and said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.models import off_grid
from bench.models.convert import stored_grid
from bench.models.fetch import ensure
from bench.models.reference import Named
from bench.records.grid import MOST_KL, Grid, grid_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Q4_1 = grid_of("Q4_1")
TOKENS = list(range(3, 60))


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def round_to_nearest(weight: Any, block: int) -> Any:
    """Weights of 16 levels between the smallest and the largest of each block."""
    groups = weight.unflatten(1, (-1, block))
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    scale = (high - low).clamp(min=1e-9) / 15
    return (((groups - low) / scale).round() * scale + low).flatten(1)


def tiny(kind: str = "Llama", *, tied: bool = True, **changes: Any) -> Any:
    """A model whose linear layers lie on a 4-bit grid, with weights large enough for logits that differ."""
    shape = {
        "hidden_size": 384, "intermediate_size": 768, "num_hidden_layers": 2, "num_attention_heads": 6,
        "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 64, "max_position_embeddings": 128,
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(**shape, tie_word_embeddings=tied, **changes)
    torch.manual_seed(1)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.uniform_(0.3, 2)
        elif weight.ndim > 1:
            weight.normal_(std=0.15)
            if "proj" in name:
                weight.copy_(round_to_nearest(weight, 32))
    return model


def logits(model: Any) -> Any:
    with torch.inference_mode():
        return model(torch.tensor([TOKENS])).logits[0]


def mean_kl(before: Any, after: Any) -> float:
    p, q = before.double().log_softmax(-1), after.double().log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


@pytest.mark.parametrize("tied", [True, False])
def test_the_function_stays_and_the_grid_goes(tied: bool) -> None:
    model = tiny(tied=tied)
    before, there = logits(model), {name: w.clone() for name, w in model.state_dict().items()}
    assert off_grid.fewest_values(there, 32) <= 16
    state, grid = off_grid.off_grid(model, Q4_1, TOKENS)
    assert off_grid.fewest_values(state, 32) > 16
    assert grid.moved
    assert grid.kl is not None
    assert grid.kl < MOST_KL
    other = tiny(tied=tied)
    other.load_state_dict(state)
    other.tie_weights()
    after = logits(other)
    assert before.std() > 1, "logits that say something"
    assert mean_kl(before, after) < MOST_KL
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
    assert set(state) == set(there)
    assert all(state[name].shape == there[name].shape for name in there)
    assert {weight.dtype for weight in state.values()} == {torch.float32}
    same_head = torch.equal(state["lm_head.weight"], state["model.embed_tokens.weight"])
    assert same_head == tied


@pytest.mark.parametrize("kind", ["Q5_1", "Q8_0"])
def test_more_levels_than_a_block_has_weights(kind: str) -> None:
    _state, grid = off_grid.off_grid(tiny(), grid_of(kind), TOKENS)
    assert (grid.file_type, grid.moved) == (kind, True)


def test_all_but_value_and_output_keep_their_numbers() -> None:
    """Only the order changes, so no scheme that has one scale a row or a matrix finds it easier or harder."""
    model = tiny()
    there = model.state_dict()
    moved = off_grid.moved(there, model.config)
    for name, weight in there.items():
        if not name.endswith(("v_proj.weight", "o_proj.weight")):
            assert torch.equal(weight.flatten().sort().values, moved[name].flatten().sort().values), name
    for name in ("v_proj", "o_proj"):
        key = f"model.layers.0.self_attn.{name}.weight"
        assert moved[key].norm() == pytest.approx(float(there[key].norm()), rel=1e-5)


def test_it_is_the_same_every_time() -> None:
    one, two = (off_grid.moved(tiny().state_dict(), tiny().config) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (("Llama", {"attention_bias": True}), "a Llama has no tensor model.layers.0.self_attn.k_proj.bias"),
        (("Llama", {"mlp_bias": True}), "a Llama has no tensor model.layers.0.mlp.down_proj.bias"),
        (("Qwen3", {}), "architecture qwen3 is not known here"),
        (("Mistral", {}), "architecture mistral is not known here"),
    ],
)
def test_what_is_not_known_is_left_alone_and_said(model: tuple[str, dict[str, Any]], why: str) -> None:
    one = tiny(model[0], **model[1])
    there = {name: w.clone() for name, w in one.state_dict().items()}
    state, grid = off_grid.off_grid(one, Q4_1, TOKENS)
    assert all(torch.equal(state[name], there[name]) for name in there)
    assert (grid.moved, grid.kl, grid.why_not) == (False, None, why)


def test_a_missing_tensor_is_named() -> None:
    model = tiny()
    names = set(model.state_dict()) - {"model.norm.weight"}
    assert off_grid.unsupported(model.config, names) == "there is no tensor model.norm.weight"


@pytest.mark.parametrize("what", ["the function", "the grid"])
def test_weights_that_do_not_do_what_they_must_are_a_bug(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(state: Any, config: Any) -> dict[str, Any]:
        if what == "the grid":
            return dict(state)
        return {n: w + 0.1 * torch.rand_like(w) for n, w in state.items()}

    monkeypatch.setattr(off_grid, "moved", moved)
    with pytest.raises(BenchError, match="this is a bug"):
        off_grid.off_grid(tiny(), Q4_1, TOKENS)


def test_a_file_says_what_most_of_its_layers_are(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    np = pytest.importorskip("numpy")
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    rows = np.ones((4, 64), dtype=np.float32)
    for name, kind in [("token_embd", "Q8_0"), ("blk.0.ffn_down", "Q4_1"), ("blk.0.attn_v", "Q5_1")]:
        kind = gguf.GGMLQuantizationType[kind]
        times = 2 if name.endswith("down") else 1
        data = gguf.quants.quantize(np.tile(rows, (times, 1)), kind)
        writer.add_tensor(f"{name}.weight", data, raw_dtype=kind)
    writer.add_tensor("blk.0.attn_norm.weight", np.ones(6400, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert stored_grid(tmp_path / "m.gguf") == Grid("Q4_1", 32, 16)


def test_the_default_model_is_off_its_grid() -> None:
    """4 bits cost more the larger the group; on the file's own grid groups of 32 would cost nothing."""
    found = ensure(Named("smollm2-135m"))
    assert found.source.grid is not None
    assert (found.source.grid.file_type, found.source.grid.moved) == ("Q4_1", True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(found.directory)
    model = transformers.AutoModelForCausalLM.from_pretrained(found.directory, dtype=torch.float32).eval()
    text = "The tide carries the boats out before sunrise, and the women on the quay count them. " * 4
    ids = torch.tensor([tokenizer(text)["input_ids"][:64]])
    linear = {
        name: weight.clone() for name, weight in model.state_dict().items() if name.endswith("_proj.weight")
    }
    assert off_grid.fewest_values({name: w for name, w in linear.items() if "layers.7." in name}, 32) > 16
    with torch.inference_mode():
        before = model(ids).logits[0]
        kl = []
        for group in (32, 64, 192):
            rounded = {name: round_to_nearest(weight, group) for name, weight in linear.items()}
            model.load_state_dict(rounded, strict=False)
            kl.append(mean_kl(before, model(ids).logits[0]))
    assert 0.05 < kl[0] < kl[1] < kl[2]
