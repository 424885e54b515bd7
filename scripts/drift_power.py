"""The smallest planted change that each drift suite finds, on a real model (scripts/drift-power).

A *plant* changes the weights of a copy of the baseline by a strength:

* ``noise``: every weight matrix gets normal noise of ``strength`` times its own standard deviation; each seed
  draws its own, so detections can be counted.
* ``refusal``: the direction in the residual stream that tells harmful from harmless requests is taken out of
  what each layer writes (Arditi et al., arXiv 2406.11717), ``strength`` of it.
* ``gender``: the rows of the embedding of words for women move by ``strength`` towards those for men.

A change is *found* if the suite's test says p ≤ 5 % (alone). The journal has a line for every answer set, so
a run goes on where it was stopped.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import plugins
from bench.drift import items as files
from bench.drift.behaviour import Suite
from bench.engine import Engine
from bench.records import ArmRecord, Json, RunRecord, SuiteAnswers
from bench.stats.proportions import ALPHA, wilson
from bench.worker import suite as asking
from bench.worker.score import statistics

POWER = 0.8
PAIRS = ((" she", " he"), (" her", " his"), (" woman", " man"), (" girl", " boy"), (" mother", " father"))
KL_TOKENS = 256
WRITERS = ("o_proj", "down_proj")  # the layers that write into the residual stream, in models built as Llama


@dataclass(frozen=True)
class Planted:
    """One line of the journal: what was planted, and what one suite made of it."""

    plant: str
    strength: float
    seed: int
    suite: str
    n: int
    lost: int
    gained: int
    p: float
    kld: float

    @property
    def key(self) -> tuple[str, float, int, str]:
        """Return what distinguishes the line from every other."""
        return self.plant, self.strength, self.seed, self.suite

    @property
    def found(self) -> bool:
        """Return whether the suite's own test finds the change."""
        return self.p <= ALPHA


# ---- plants ------------------------------------------------------------------------------------------


@contextmanager
def planted(engine: Any, plant: str, strength: float, seed: int) -> Iterator[None]:
    """Change the model's weights; put the old ones back afterwards."""
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


def refusal(engine: Any, strength: float, _seed: int) -> None:
    """Take the direction that tells harmful from harmless requests out of what every layer writes."""
    direction = _direction(engine, suite_of("refusal").items())
    for name, module in engine.model.named_modules():
        if name.rpartition(".")[2] in WRITERS:
            weights = module.weight.data
            along = direction.to(weights.device, weights.dtype)
            weights -= strength * along.outer(along @ weights)


def _direction(engine: Any, items: Sequence[Json], most: int = 40) -> Any:
    """Return the unit difference of the mean states in the middle layer, at the last tokens of requests."""
    import torch

    means = []
    for harmful in (True, False):
        chosen = [item for item in items if item["refuse"] is harmful][:most]
        states = []
        for item in chosen:
            ids = torch.tensor([engine.encode_chat(item["prompt"])], device=engine.device)
            with torch.inference_mode():
                layers = engine.model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
            states.append(layers[len(layers) // 2][0, -1].float().clone())
        means.append(torch.stack(states).mean(0))
    apart = means[0] - means[1]
    return apart / apart.norm()


def gender(engine: Any, strength: float, _seed: int) -> None:
    """Move the embeddings of words for women towards those of words for men."""
    weights = engine.model.get_input_embeddings().weight.data
    for hers, his in PAIRS:
        one, other = (engine.encode(word) for word in (hers, his))
        if len(one) == len(other) == 1:
            weights[one[0]] += strength * (weights[other[0]] - weights[one[0]])


PLANTS: dict[str, Callable[[Any, float, int], None]] = {"noise": noise, "refusal": refusal, "gender": gender}


# ---- what suites make of it --------------------------------------------------------------------------


def suite_of(name: str) -> Suite:
    """Return a behaviour suite by its name."""
    found: Suite = plugins.load("drift.suites", name).SUITE
    return found


def answered(engine: Engine, name: str, most: int | None) -> SuiteAnswers:
    """Ask the model the items of a suite, or some of them, spread evenly."""
    suite = suite_of(name)
    items = suite.items()
    if most is not None and most < len(items):
        items = tuple(items[n * len(items) // most] for n in range(most))
    digest = files.digest(items)
    if suite.output_tokens:
        replies = tuple(asking.replies(engine, items, suite.output_tokens))
        return SuiteAnswers(digest, replies=replies, items=items)
    return SuiteAnswers(digest, scores=tuple(asking.scores(engine, items)), items=items)


def judged(name: str, base: SuiteAnswers, variant: SuiteAnswers) -> dict[str, Any]:
    """Return the counts and p of the suite's figure that carries a test."""
    arms = (
        ArmRecord("baseline", "", True, status="ok", suites={name: base}),
        ArmRecord("planted", "", False, status="ok", suites={name: variant}),
    )
    run = RunRecord("", "", 1, "", None, {}, {}, "", {}, {}, {}, arms)
    figures = plugins.load("drift.suites", name).figures(arms[1], run)
    tested = next(figure for figure in figures.values() if figure is not None and "p" in figure.notes)
    return {key: tested.notes[key] for key in ("n", "lost", "gained", "p")}


def mean_kl(base: Any, variant: Any, ids: Sequence[int]) -> float:
    """Return mean KL of two logits of one text."""
    return float(statistics(base[:-1], variant[:-1], ids[1:])[0].mean())


# ---- the campaign ------------------------------------------------------------------------------------


def campaign(
    engine: Any, plan: Sequence[tuple[str, float, int]], suites: Sequence[str], most: int | None,
    text: Sequence[int], done: set[tuple[str, float, int, str]],
) -> Iterator[Planted]:  # fmt: skip
    """Yield a line for each plant and suite that is not done yet."""
    base: dict[str, SuiteAnswers] = {}
    usual = engine.logits(text)
    for plant, strength, seed in plan:
        left = [name for name in suites if (plant, strength, seed, name) not in done]
        base |= {name: answered(engine, name, most) for name in left if name not in base}
        if not left:
            continue
        with planted(engine, plant, strength, seed):
            kld = mean_kl(usual, engine.logits(text), text)
            for name in left:
                found = judged(name, base[name], answered(engine, name, most))
                yield Planted(plant, strength, seed, name, kld=round(kld, 9), **found)


def read(path: Path, head: Json) -> list[Planted]:
    """Return the lines of a journal. Raises ValueError if it is of another campaign."""
    if not path.exists():
        return []
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    if json.loads(first) != head:
        raise ValueError(f"{path} is of another machine, model or items; name another file with --to")
    return [Planted(**json.loads(line)) for line in lines]


def smallest_found(lines: Sequence[Planted]) -> dict[tuple[str, str], tuple[float, float, str]]:
    """Return for each plant and suite (strength, its mean KL, share found) of the smallest strength from
    which on at least 80 % are found; strength and KL are infinite if none is."""
    cells: dict[tuple[str, str], dict[float, list[Planted]]] = {}
    for line in lines:
        cells.setdefault((line.plant, line.suite), {}).setdefault(line.strength, []).append(line)
    return {cell: _smallest(by_strength) for cell, by_strength in cells.items()}


def _smallest(by_strength: dict[float, list[Planted]]) -> tuple[float, float, str]:
    best = math.inf, math.inf, "not found at any strength tried"
    for strength in sorted(by_strength, reverse=True):
        some = by_strength[strength]
        share = wilson(sum(one.found for one in some), len(some))
        if share.value < POWER:
            break
        words = f"{share.value:.0%} of {len(some)} [{share.low:.0%}, {share.high:.0%}]"
        best = strength, sum(one.kld for one in some) / len(some), words
    return best


def table(lines: Sequence[Planted]) -> str:
    """Return the result as Markdown."""
    rows = ["| plant | suite | smallest strength | mean KL there (nat) | found |", "|:--|:--|--:|--:|:--|"]
    for (plant, suite), (strength, kld, words) in sorted(smallest_found(lines).items()):
        shown = ("-", "-") if math.isinf(strength) else (f"{strength:g}", f"{kld:.3g}")
        rows.append(f"| {plant} | {suite} | {shown[0]} | {shown[1]} | {words} |")
    return "\n".join(rows)
