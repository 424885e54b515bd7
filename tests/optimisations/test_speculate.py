"""Speculative decoding gives the model's own greedy text, whatever is drafted, and counts what it kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import transformers
from byte_tokenizer import write_tokenizer
from engines import decoded, saved, sizes, toys

from bench.engine import Changed, Options
from bench.engine.speculation import Drafter, Speculation, Speculator
from bench.errors import Unsupported
from bench.optimisations.shared.drafting import ModelDrafter
from bench.optimisations.speculate import draft_model, layer_skip, prompt_lookup
from bench.runtimes import transformers as runtime

TOKENS = 24
PROMPTS = ([5, 6, 7, 8, 5, 6, 7, 8, 5, 6], [9, 3, 11, 3, 9, 3, 11], list(range(40, 60)))


@pytest.fixture(params=sorted(toys(96, 8)))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every toy architecture; Mistral's window of 8 tokens is full long before the reply ends."""
    path = saved(toys(96, 8)[request.param](), tmp_path_factory.mktemp("m"))
    write_tokenizer(path)
    return path


def engine(path: Path, attention: str = "sdpa") -> Any:
    return runtime.load(path, Options(device="cpu", threads=1, attention=attention))


class Right(Drafter):
    """Drafts what the model itself will write, with a mistake at every ``wrong``-th token."""

    def __init__(self, texts: Sequence[Sequence[int]], wrong: int) -> None:
        self.texts, self.wrong, self.asked = [list(text) for text in texts], wrong, 0

    def begin(self) -> None:
        """Nothing is kept."""

    def propose(self, context: Sequence[int], most: int) -> list[int]:
        text = next(text for text in self.texts if text[: len(context)] == list(context))
        draft = text[len(context) : len(context) + min(5, most)]
        for place in range(len(draft)):
            self.asked += 1
            if self.wrong and self.asked % self.wrong == 0:
                draft[place] = (draft[place] + 1) % 500
        return draft


@pytest.mark.parametrize("wrong", [0, 1, 2, 3, 7])
def test_the_text_is_the_models_own(model: Path, wrong: int) -> None:
    alone = engine(model)
    expected = [decoded(alone, [prompt], TOKENS)[0] for prompt in PROMPTS]
    fast = engine(model)
    drafter = Right([[*p, *reply] for p, reply in zip(PROMPTS, expected, strict=True)], wrong)
    fast.change(Changed(fast.model, drafter=drafter))
    assert [decoded(fast, [prompt], TOKENS)[0] for prompt in PROMPTS] == expected
    found = fast.speculated()
    assert found.passes + found.accepted == len(PROMPTS) * (TOKENS - 1)
    if not wrong:
        assert found.accepted == found.drafted
        assert found.passes == len(PROMPTS) * 4  # 23 tokens in rounds of six
    if wrong == 1:
        assert found.accepted == 0
    assert fast.speculated().passes == 0  # counted anew


def drafters(model: Path) -> Iterator[tuple[str, Any]]:
    fast = engine(model)
    yield (
        "prompt lookup",
        fast.change(prompt_lookup.apply(fast.model, prompt_lookup.Params(shortest=1))) or fast,
    )
    fast = engine(model)
    yield "layer skip", fast.change(layer_skip.apply(fast.model, layer_skip.Params(layers=1))) or fast
    fast = engine(model)
    params = draft_model.Params(model=str(model), tokens=3)
    yield "itself", fast.change(draft_model.apply(fast.model, params)) or fast


def test_every_scheme_gives_the_models_own_text(model: Path) -> None:
    alone = engine(model)
    expected = [decoded(alone, [prompt], TOKENS)[0] for prompt in PROMPTS]
    for name, fast in drafters(model):
        assert [decoded(fast, [prompt], TOKENS)[0] for prompt in PROMPTS] == expected, name
        found = fast.speculated()
        assert found.drafted > 0, name
        assert found.drafting_ns > 0, name
        if name == "itself":
            assert found.accepted == found.drafted
            assert found.passes == len(PROMPTS) * 6  # 23 tokens in rounds of four
        assert fast.drafted([3, 4, 5] * 6, 4) == (4 if name == "layer skip" else 3), name
        checks, _held = fast.as_decoded()
        assert all(one.holds for one in checks), name


def test_a_drafting_model_is_counted_with_its_weights_and_cache(tmp_path: Path) -> None:
    path = saved(transformers.LlamaConfig(**sizes(96)), tmp_path)
    write_tokenizer(path)
    alone, fast = engine(path), engine(path)
    fast.change(draft_model.apply(fast.model, draft_model.Params(model=str(path))))
    assert fast.census().weights_bytes == 2 * alone.census().weights_bytes
    assert fast.parameters() == 2 * alone.parameters()
    generations = [one.prefill([list(PROMPTS[0])], 8) for one in (alone, fast)]
    for one, generation in zip((alone, fast), generations, strict=True):
        one.step(generation)
    assert fast.cache_bytes(generations[1]) > 1.5 * alone.cache_bytes(generations[0])


@pytest.mark.parametrize(("ours", "theirs"), [(300, 400), (400, 300)])
def test_only_tokens_that_both_models_know_are_drafted(tmp_path: Path, ours: int, theirs: int) -> None:
    """The tables of two sizes of a model are often padded to two lengths."""
    for size in (ours, theirs):
        saved(transformers.LlamaConfig(**{**sizes(96), "vocab_size": size}), tmp_path / str(size))
        write_tokenizer(tmp_path / str(size))
    alone, fast = engine(tmp_path / str(ours)), engine(tmp_path / str(ours))
    fast.change(draft_model.apply(fast.model, draft_model.Params(model=str(tmp_path / str(theirs)))))
    prompt = [5, 6, ours - 1]
    assert decoded(fast, [prompt], TOKENS) == decoded(alone, [prompt], TOKENS)


def test_shared_layers_are_not_counted_again(tmp_path: Path) -> None:
    path = saved(transformers.LlamaConfig(**sizes(96)), tmp_path)
    fast = engine(path)
    before = fast.census().weights_bytes
    fast.change(layer_skip.apply(fast.model, layer_skip.Params(layers=1)))
    assert fast.census().weights_bytes == before
    assert len(fast.model.model.layers) == 2


# ---- what is refused ---------------------------------------------------------------------------------


def test_a_batch_is_refused(tmp_path: Path) -> None:
    fast = engine(saved(transformers.LlamaConfig(**sizes(96)), tmp_path))
    fast.change(prompt_lookup.apply(fast.model, prompt_lookup.Params()))
    with pytest.raises(Unsupported, match="set batch_size to 1"):
        fast.prefill([[3, 4], [5, 6]], 4)


def test_a_cache_from_which_nothing_can_be_taken_is_refused(tmp_path: Path) -> None:
    config = transformers.MambaConfig(
        hidden_size=32, num_hidden_layers=2, vocab_size=128, state_size=4, intermediate_size=64
    )
    fast = engine(saved(config, tmp_path), "eager")
    fast.change(prompt_lookup.apply(fast.model, prompt_lookup.Params()))
    with pytest.raises(Unsupported, match="no token can be taken out of the cache of MambaForCausalLM"):
        fast.prefill([[3, 4, 5]], 4)


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    ours, theirs = (saved(transformers.LlamaConfig(**sizes(96)), tmp_path / name) for name in "ab")
    write_tokenizer(ours)
    write_tokenizer(theirs, ("more",))
    fast = engine(ours)
    with pytest.raises(Unsupported, match="another tokenizer"):
        draft_model.apply(fast.model, draft_model.Params(model=str(theirs)))


def test_too_many_layers_are_refused(tmp_path: Path) -> None:
    fast = engine(saved(transformers.LlamaConfig(**sizes(96)), tmp_path))
    with pytest.raises(Unsupported, match="the model has 2; the nearest is 1"):
        layer_skip.apply(fast.model, layer_skip.Params(layers=2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: prompt_lookup.Params(tokens=0),
        lambda: prompt_lookup.Params(shortest=4, longest=3),
        lambda: layer_skip.Params(layers=0),
        lambda: draft_model.Params(model="x", tokens=65),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"must (be|hold)|≤"):
        make()


# ---- the parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "most", "draft"),
    [
        ([1, 2, 3, 4, 5, 1, 2, 3], 9, [4, 5, 1, 2]),  # the longest match, four tokens at most
        ([1, 2, 3, 4, 5, 1, 2, 3], 2, [4, 5]),
        ([7, 2, 3, 9, 8, 2, 3, 5, 2, 3], 9, [5, 2, 3]),  # the latest of two places
        ([1, 2, 3, 4], 9, []),
        ([4], 9, []),
    ],
)
def test_what_followed_before_is_drafted(context: list[int], most: int, draft: list[int]) -> None:
    assert prompt_lookup.Lookup(prompt_lookup.Params()).propose(context, most) == draft


def test_nothing_is_drafted_beyond_the_reply() -> None:
    asked: list[int] = []

    class Counting(Drafter):
        def begin(self) -> None:
            """Nothing is kept."""

        def propose(self, context: Sequence[int], most: int) -> list[int]:
            asked.append(most)
            return [1] * most

    def verify(ids: Sequence[int]) -> list[int]:
        return [1] * len(ids)

    one, speculator = Speculation([0], 4), Speculator(Counting())
    assert [one.next(speculator, verify, lambda count: None) for _ in range(4)] == [1, 1, 1, 1]
    assert asked == [3]
    assert isinstance(ModelDrafter(None, 2, own_weights=False), Drafter)
