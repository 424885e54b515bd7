"""What a compiled step is given: shapes that stay the same, and a cache whose tensors no graph has made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from bench.engine import Changed, Options
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.optimisations.compile import inductor
from bench.runtimes import transformers as runtime

TOY = ensure(Random("tiny-llama")).directory


def prompt(length: int) -> list[int]:
    return [3 + (7 * place + length) % 500 for place in range(length)]


def decoded(engine: Any, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:
    generation = engine.prefill(prompts, new_tokens)
    for _ in range(1, new_tokens):
        engine.step(generation)
    return engine.tokens(generation)  # type: ignore[no-any-return]


def compiled(seen: list[Any]) -> Any:
    """An engine whose step is traced as inductor's is; ``seen`` gets the graphs instead of a compiler."""

    def keep(graph: Any, inputs: Any) -> Any:
        seen.append((graph, inputs))
        return graph.forward

    engine = runtime.load(TOY, Options(random=True, device="cpu"))
    torch._dynamo.reset()
    made = inductor.apply(engine.model, inductor.Params(least_tokens=32))
    engine.change(Changed(engine.model, made.make_cache, torch.compile(engine.model, backend=keep)))
    return engine


@pytest.fixture(scope="module")
def plain() -> Any:
    return runtime.load(TOY, Options(random=True, device="cpu"))


def test_the_tensors_of_a_static_cache_are_there_before_its_first_compiled_step() -> None:
    """Else a CUDA graph makes them, and the next step overwrites them: a prompt of one token shows it, and a
    text that is scored with another room than any request."""
    engine = compiled([])
    for sequences, tokens in ((1, 20), (3, 40)):
        cache = engine._new_cache(sequences, tokens)
        assert all(layer.is_initialized for layer in cache.layers)
        assert [layer.keys.shape[0] for layer in cache.layers] == [sequences] * len(cache.layers)
        assert not any(layer.keys.any() or int(layer.cumulative_length) for layer in cache.layers)
        again = engine._new_cache(sequences, tokens)
        assert all(one.keys is other.keys for one, other in zip(cache.layers, again.layers, strict=True))


def test_the_same_text_and_logits_as_without_a_graph(plain: Any) -> None:
    engine = compiled([])
    for prompts in ([[5]], [prompt(9)], [prompt(4), prompt(11), prompt(7)]):
        assert decoded(engine, prompts, 8) == decoded(plain, prompts, 8)
    assert torch.allclose(engine.logits(prompt(12)), plain.logits(prompt(12)), atol=1e-4)


def test_one_graph_for_each_shape_and_none_for_the_logits() -> None:
    seen: list[Any] = []
    engine = compiled(seen)
    for prompts in ([prompt(9)], [prompt(20)], [[5]]):
        decoded(engine, prompts, 6)
    engine.logits(prompt(30))
    assert len(seen) == 1
    decoded(engine, [prompt(9)] * 3, 6)
    decoded(engine, [prompt(5), prompt(9), prompt(12)], 6)  # a mask for the padding
    decoded(engine, [prompt(8), prompt(9), prompt(15)], 6)
    assert len(seen) == 3


def test_a_graph_has_the_sizes_of_its_batch() -> None:
    """After the probe of one sequence, a batch must not get a graph for batches of any size."""
    seen: list[Any] = []
    engine = compiled(seen)
    decoded(engine, [prompt(9)], 3)
    decoded(engine, [prompt(9)] * 3, 3)
    graph, _inputs = seen[-1]
    sizes = [size for node in graph.graph.nodes for size in _sizes(node)]
    assert sizes
    assert not any(isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None for size in sizes)


def _sizes(node: Any) -> list[Any]:
    value = node.meta.get("example_value")
    return list(value.shape) if isinstance(value, torch.Tensor) else []


def test_another_cache_of_a_scheme_is_left_as_it_is() -> None:
    engine = runtime.load(TOY, Options(random=True, device="cpu"))
    model = engine.model
    engine.change(Changed(model, lambda *_: DynamicCache(config=model.config), model.forward))
    assert engine._new_cache(1, 8).get_seq_length() == 0


def test_there_is_room_for_a_graph_of_each_shape() -> None:
    compiled([])
    assert torch._dynamo.config.recompile_limit == inductor.MOST_GRAPHS > 8
