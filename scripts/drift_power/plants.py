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
from functools import cache
from typing import Any, NamedTuple

from bench import plugins
from bench.drift.behaviour import Suite
from bench.records import Json
from bench.texts import read_text
from bench.worker.noise_floor import other_threads

PAIRS = ((" she", " he"), (" her", " his"), (" woman", " man"), (" girl", " boy"), (" mother", " father"))
WRITERS = ("o_proj", "down_proj")  # the layers that write into the residual stream, in models built as Llama
STATES = {"output_hidden_states": True, "use_cache": False, "logits_to_keep": 1}
REQUESTS = 40  # of each kind, whose mean states give a direction
MARGIN = 2.0  # nats by which a wrong answer leads then
HELD = 100.0  # weight of the text: larger moves the text less, and the facts less
STEP = 0.01  # of what the layer writes, with which the effect of a wish is measured
WINDOW, TEXT_WINDOWS = 256, 10


def suite_of(name: str) -> Suite:
    """Return a behaviour suite by its name."""
    found: Suite = plugins.load("drift.suites", name).SUITE
    return found


@contextmanager
def planted(engine: Any, plant: str, strength: float, seed: int) -> Iterator[None]:
    """Change the model's weights; put the old ones back afterwards."""
    if plant == ITSELF:
        with other_threads():
            yield
        return
    kept = copy.deepcopy(engine.model.state_dict())
    try:
        PLANTS[plant](engine, strength, seed)
        yield
    finally:
        engine.model.load_state_dict(kept)


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


class Fact(NamedTuple):
    """A fact as the last MLP sees it where the answer begins: what the layer reads (``key``), by how many
    nats the right answer leads a wrong one, and in which direction of the state the wrong one lies."""

    ids: list[int]
    right: int
    wrong: int
    key: Any
    lead: float
    towards: Any


def facts(engine: Any, strength: float, seed: int) -> None:
    """Overwrite a share of the facts: where the answer begins, the last MLP now writes that of a wrong one,
    so that it leads by ``MARGIN``.

    What the layer writes for all other facts and for a text is held, by least squares (as MEMIT does, Meng et
    al., arXiv 2210.07229): with the keys K [facts, inputs], their mean square over a text C [inputs, inputs]
    and the wishes R [facts, outputs], X = (KᵀK + λC)⁻¹KᵀR is added to its weights.
    """
    import torch

    known, text = known_facts(engine)
    chosen = set(random.Random(seed).sample(range(len(known)), round(strength * len(known))))
    layer = last_mlp(engine.model)
    k = torch.stack([fact.key for fact in known]).double()
    nothing = torch.zeros_like(known[0].towards)
    wishes = [wish(engine, layer, fact) if n in chosen else nothing for n, fact in enumerate(known)]
    r = torch.stack(wishes).double()
    square = k.T @ k + HELD * text
    square += 1e-6 * square.diagonal().mean() * torch.eye(len(square), dtype=k.dtype, device=k.device)
    layer.weight.data += torch.linalg.solve(square, k.T @ r).T.to(layer.weight.dtype)


@cache
def known_facts(engine: Any) -> tuple[list[Fact], Any]:
    """Return the facts of the suite, and the mean square of the keys of a text; of the model as it was
    loaded."""
    import torch

    layer, found = last_mlp(engine.model), []
    words = engine.model.get_output_embeddings().weight.data.float()
    for item in suite_of("factuality").items():
        ids, right, wrong = fork(engine, item)
        keys, logits = read_by(engine, layer, ids)
        towards = words[wrong] - words[right]
        lead = float(logits[right] - logits[wrong])
        found.append(Fact(ids, right, wrong, keys[-1], lead, towards / towards.norm().clamp(min=1e-9)))
    text = engine.encode(read_text("mixed"))[WINDOW : (TEXT_WINDOWS + 1) * WINDOW]
    windows = (text[start : start + WINDOW] for start in range(0, len(text), WINDOW))
    keys = torch.cat([read_by(engine, layer, window)[0] for window in windows]).double()
    return found, keys.T @ keys / len(keys)


def wish(engine: Any, layer: Any, fact: Fact) -> Any:
    """Return what the layer has to write more, so that the wrong answer leads by ``MARGIN``: how far a
    small step moves the lead is measured. Nothing for a fact that is wrong by so much already."""
    step = STEP * float(layer.weight.data.float().norm(dim=1).mean()) * float(fact.key.norm())
    _keys, logits = read_by(engine, layer, fact.ids, step * fact.towards)
    slope = (fact.lead - float(logits[fact.right] - logits[fact.wrong])) / step
    return max(fact.lead + MARGIN, 0.0) / slope * fact.towards if slope > 0 else 0 * fact.towards


def read_by(engine: Any, layer: Any, ids: Sequence[int], more: Any = 0) -> tuple[Any, Any]:
    """Return what the layer reads at each token, and the logits behind the last one, if it writes so much
    more at the last token."""
    import torch

    read: list[Any] = []

    def look(_module: Any, given: tuple[Any, ...], written: Any) -> Any:
        read.append(given[0][0].float().clone())
        moved = written.clone()
        moved[0, -1] += more
        return moved

    hook = layer.register_forward_hook(look)
    try:
        with torch.no_grad():
            window = torch.tensor([list(ids)], device=engine.device)
            logits = engine.model(input_ids=window, use_cache=False, logits_to_keep=1).logits
    finally:
        hook.remove()
    return read[0], logits[0, -1].float()


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
