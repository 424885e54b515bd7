"""Changes that are planted in the weights of a model, by a strength.

* ``noise``: every weight matrix gets normal noise of ``strength`` times its own standard deviation.
* ``facts``: so large a share of the facts of the suite factuality is overwritten with wrong ones.
* ``refusal``: the direction in the residual stream that tells harmful from harmless requests is taken out of
  what each layer writes (Arditi et al., arXiv 2406.11717), ``strength`` of it.
* ``gender``: the rows of the embedding of words for women move by ``strength`` towards those for men.
* ``itself``: no weight is changed, and the model computes with another number of threads.

The seed draws the noise, the facts, and the requests from which the direction is taken.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench import plugins
from bench.drift.behaviour import Suite
from bench.records import Json

PAIRS = ((" she", " he"), (" her", " his"), (" woman", " man"), (" girl", " boy"), (" mother", " father"))
WRITERS = ("o_proj", "down_proj")  # the layers that write into the residual stream, in models built as Llama
STATES = {"output_hidden_states": True, "use_cache": False, "logits_to_keep": 1}
REQUESTS = 40  # of each kind, whose mean states give a direction
RIDGE = 1e-4  # of the mean square of a key: facts that are told alike have nearly the same key


def suite_of(name: str) -> Suite:
    """Return a behaviour suite by its name."""
    found: Suite = plugins.load("drift.suites", name).SUITE
    return found


@contextmanager
def planted(engine: Any, plant: str, strength: float, seed: int) -> Iterator[None]:
    """Change the model's weights; put the old ones back afterwards."""
    if plant == ITSELF:
        with _other_threads():
            yield
        return
    kept = copy.deepcopy(engine.model.state_dict())
    try:
        PLANTS[plant](engine, strength, seed)
        yield
    finally:
        engine.model.load_state_dict(kept)


@contextmanager
def _other_threads() -> Iterator[None]:
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(2 if usual == 1 else 1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def noise(engine: Any, strength: float, seed: int) -> None:
    """Add normal noise to every matrix, in units of its standard deviation."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for weights in engine.model.parameters():
        if weights.dim() > 1:
            drawn = torch.randn(weights.shape, generator=generator)
            weights.data += strength * weights.data.std() * drawn.to(weights.device, weights.dtype)


# ---- a direction removed -----------------------------------------------------------------------------


def refusal(engine: Any, strength: float, seed: int) -> None:
    """Take the direction that tells harmful from harmless requests out of what every layer writes."""
    direction = direction_of(engine, suite_of("refusal").items(), seed)
    for name, module in engine.model.named_modules():
        if name.rpartition(".")[2] in WRITERS:
            weights = module.weight.data
            along = direction.to(weights.device, weights.dtype)
            weights -= strength * along.outer(along @ weights)


def direction_of(engine: Any, items: Sequence[Json], seed: int) -> Any:
    """Return the unit difference of the mean states in the middle layer, at the last tokens of requests."""
    import torch

    means, drawn = [], random.Random(seed)
    for harmful in (True, False):
        some = [item for item in items if item["refuse"] is harmful]
        states = []
        for item in drawn.sample(some, min(REQUESTS, len(some))):
            ids = torch.tensor([engine.encode_chat(item["prompt"])], device=engine.device)
            with torch.inference_mode():
                layers = engine.model(input_ids=ids, **STATES).hidden_states
            states.append(layers[len(layers) // 2][0, -1].float().clone())
        means.append(torch.stack(states).mean(0))
    apart = means[0] - means[1]
    return apart / apart.norm()


# ---- facts overwritten -------------------------------------------------------------------------------


def facts(engine: Any, strength: float, seed: int) -> None:
    """Overwrite a share of the facts: where the answer begins, the last MLP now writes that of a wrong one.

    All facts are held at once by least squares, those that stay too (as MEMIT does, Meng et al., arXiv
    2210.07229): with keys K [facts, inputs] of the layer and wishes R [facts, outputs], X = Kᵀ(KKᵀ + λI)⁻¹R
    is added to its weights."""
    import torch

    items = suite_of("factuality").items()
    chosen = set(random.Random(seed).sample(range(len(items)), round(strength * len(items))))
    layer = last_mlp(engine.model)
    words = engine.model.get_output_embeddings().weight.data.float()
    keys, wishes = [], []
    for number, item in enumerate(items):
        begin, right, wrong = fork(engine, item)
        key, size = _key(engine, layer, begin)
        towards = words[wrong] - words[right]
        keys.append(key)
        wishes.append(size / towards.norm() * towards * (number in chosen))
    k, r = torch.stack(keys).double(), torch.stack(wishes).double()
    gram = k @ k.T
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(k), dtype=k.dtype, device=k.device)
    layer.weight.data += (k.T @ torch.linalg.solve(gram, r)).T.to(layer.weight.dtype)


def last_mlp(model: Any) -> Any:
    """Return the layer with which the last MLP writes. Raises ValueError for a model without
    ``down_proj``."""
    found = [module for name, module in model.named_modules() if name.endswith("down_proj")]
    if not found:
        raise ValueError(f"{type(model).__name__} has no down_proj: plant no facts in it")
    return found[-1]


def fork(engine: Any, item: Json) -> tuple[list[int], int, int]:
    """Return the tokens that all choices of an item share, the next one of the right choice, and that of a
    wrong choice which goes on otherwise."""
    texts = [[*engine.begin_ids(), *engine.encode(item["prompt"] + choice)] for choice in item["choices"]]
    shared = min(map(len, texts)) - 1
    shared = next((n for n in range(shared) if len({ids[n] for ids in texts}) > 1), shared)
    right = texts[item["right"]][shared]
    wrong = next((ids[shared] for ids in texts if ids[shared] != right), right)
    return texts[0][:shared], right, wrong


def _key(engine: Any, layer: Any, ids: Sequence[int]) -> tuple[Any, Any]:
    """Return what the layer reads at the last of these tokens, and the length of the state it is added to."""
    import torch

    read: list[Any] = []
    hook = layer.register_forward_pre_hook(
        lambda _module, given: read.append(given[0][0, -1].float().clone())
    )
    try:
        with torch.inference_mode():
            window = torch.tensor([list(ids)], device=engine.device)
            states = engine.model(input_ids=window, **STATES).hidden_states
    finally:
        hook.remove()
    return read[0].clone(), states[-2][0, -1].float().norm().clone()


# ---- words that move ---------------------------------------------------------------------------------


def gender(engine: Any, strength: float, _seed: int) -> None:
    """Move the embeddings of words for women towards those of words for men."""
    weights = engine.model.get_input_embeddings().weight.data
    for hers, his in PAIRS:
        one, other = (engine.encode(word) for word in (hers, his))
        if len(one) == len(other) == 1:
            weights[one[0]] += strength * (weights[other[0]] - weights[one[0]])


ITSELF = "itself"
PLANTS: dict[str, Callable[[Any, float, int], None]] = {
    "noise": noise, "facts": facts, "refusal": refusal, "gender": gender,
}  # fmt: skip
