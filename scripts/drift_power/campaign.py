"""Ask suites of a model with planted changes, and keep a line for each change and suite."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import plugins
from bench.drift import items as files
from bench.engine import Engine
from bench.records import ArmRecord, Json, RunRecord, SuiteAnswers
from bench.stats.proportions import ALPHA
from bench.worker import choices
from bench.worker import suite as asking
from bench.worker.score import statistics
from bench.worker.shared_beginnings import decoded
from drift_power.plants import ITSELF, planted, suite_of

KL_TOKENS = 256
TOGETHER = 40  # prompts in a pass
SUITES = {"facts": "factuality", "refusal": "refusal", "gender": "bias"}  # that should see a plant
Key = tuple[str, float, int, str]
Plan = Sequence[tuple[str, float, int]]  # (plant, strength, seed)


@dataclass(frozen=True)
class Planted:
    """One line of the journal: what was planted, and what the test of a suite made of it, or of its ``part``.

    ``least`` is the smallest loss, as a share of the items, that the suite is computed to find with 80 %;
    None at chance. ``cpu_s`` is the processor time of the answers."""

    plant: str
    strength: float
    seed: int
    suite: str
    n: int
    lost: int
    gained: int
    p: float
    kld: float
    least: float | None = None
    cpu_s: float = 0.0
    part: str = ""

    @property
    def key(self) -> Key:
        """Return what was asked."""
        return self.plant, self.strength, self.seed, self.suite

    @property
    def tested(self) -> str:
        """Return what the test is of, in words."""
        return self.part or self.suite

    @property
    def seed_of_draws(self) -> str:
        """Return what distinguishes the line from every other."""
        return f"{self.key} {self.part}" if self.part else str(self.key)

    @property
    def found(self) -> bool:
        """Return whether the suite's own test finds the change."""
        return self.p <= ALPHA

    @property
    def change(self) -> float:
        """Return (gained − lost) ÷ items."""
        return (self.gained - self.lost) / self.n


def answered(engine: Engine, name: str, most: int | None) -> SuiteAnswers:
    """Ask the model the items of a suite, or some of them, spread evenly."""
    suite = suite_of(name)
    items = suite.items()
    if most is not None and most < len(items):
        items = tuple(items[n * len(items) // most] for n in range(most))
    digest = files.digest(items)
    if suite.output_tokens:
        replies = tuple(together(engine, items, suite.output_tokens))
        return SuiteAnswers(digest, replies=replies, items=items)
    return SuiteAnswers(digest, scores=tuple(choices.scores(engine, items)), items=items)


def together(engine: Engine, items: Sequence[Json], tokens: int) -> list[str]:
    """Return the replies to items, many in a pass and padded: each step reads all weights, so it takes a
    fraction of the time. Two nearly equal tokens may change places, on both sides of a comparison alike."""
    prompts = [asking.prompt_of(engine, item) for item in items]
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    found: dict[int, str] = {}
    for start in range(0, len(order), TOGETHER):
        places = order[start : start + TOGETHER]
        replies = decoded(engine, [prompts[place] for place in places], tokens)
        found |= {place: engine.text(ids) for place, ids in zip(places, replies, strict=True)}
    return [found[place] for place in range(len(items))]


def judged(name: str, base: SuiteAnswers, variant: SuiteAnswers) -> Iterator[dict[str, Any]]:
    """Yield the counts and p of each figure of the suite that carries a test, and what it is computed to
    find."""
    arms = (
        ArmRecord("baseline", "", True, status="ok", suites={name: base}),
        ArmRecord("planted", "", False, status="ok", suites={name: variant}),
    )
    run = RunRecord("", "", 1, "", None, {}, {}, "", {}, {}, {}, arms)
    for figure in plugins.load("drift.suites", name).figures(arms[1], run).values():
        if figure is not None and "p" in figure.notes:
            least = None if figure.notes.get("at_chance") else figure.notes.get("least_change")
            found = {key: figure.notes[key] for key in ("n", "lost", "gained", "p")}
            yield {**found, "least": least, "part": figure.notes.get("suite", "")}


def mean_kl(base: Any, variant: Any, ids: Sequence[int]) -> float:
    """Return mean KL of two logits of one text."""
    return float(statistics(base[:-1], variant[:-1], ids[1:])[0].mean())


def plan_of(
    suites: Sequence[str], strengths: dict[str, Sequence[float]], seeds: int
) -> list[tuple[Plan, list[str]]]:
    """Return what is planted and which suites are asked: the baseline itself first, then each seed in turn,
    so that a campaign which is cut short has something of every plant."""
    parts: list[tuple[Plan, list[str]]] = [([(ITSELF, 0.0, 0)], list(suites))]
    for seed in range(seeds):
        for plant, values in strengths.items():
            asked = [name for name in suites if SUITES.get(plant, name) == name]
            if asked and (plant != "gender" or seed == 0):  # nothing of it is drawn
                parts.append(([(plant, strength, seed) for strength in values], asked))
    return parts


def campaign(
    engine: Any, plan: Plan, suites: Sequence[str], most: int | None, text: Sequence[int], done: set[Key],
    base: dict[str, SuiteAnswers], is_over: Callable[[], bool] = lambda: False,
) -> Iterator[Planted]:  # fmt: skip
    """Yield a line for each plant and suite that is not done yet, until it is over. ``base`` keeps what the
    baseline answered."""
    usual = engine.logits(text)
    for plant, strength, seed in plan:
        left = [name for name in suites if (plant, strength, seed, name) not in done]
        for name in left:
            if is_over():
                return
            if name not in base:
                base[name] = answered(engine, name, most)
        if not left:
            continue
        with planted(engine, plant, strength, seed):
            kld = mean_kl(usual, engine.logits(text), text)
            for name in left:
                if is_over():
                    return
                began = time.process_time()
                answers = answered(engine, name, most)
                cpu_s = round(time.process_time() - began, 1)
                for found in judged(name, base[name], answers):
                    yield Planted(plant, strength, seed, name, kld=round(kld, 9), cpu_s=cpu_s, **found)


def read(path: Path, head: Json) -> list[Planted]:
    """Return the lines of a journal; a last line that was cut off is removed. Raises ValueError if it is of
    another campaign."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(head) + "\n", encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    first, *lines = whole.splitlines() or ["{}"]
    if json.loads(first) != head:
        raise ValueError(f"{path} is of another machine, model or items; name another file with --to")
    return [Planted(**json.loads(line)) for line in lines]
