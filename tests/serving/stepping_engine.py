"""An engine in process without a model: a step takes a known time and gives each sequence one token.

``stepping_engine.py PLACE [OPTIONS]`` serves it. A token of a prompt is a word; the reply counts on from the
length of the prompt.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.serving.inside.desk import Desk
from bench.serving.inside.engine import Made, Refused, Step, Wanted

VOCABULARY = 8
ROOM = 100


@dataclass
class Running:
    """A request that runs: what was wanted, and how many tokens it has."""

    wanted: Wanted
    made: int = 0


class Fake:
    """At most ``most_at_once`` sequences are in a step of ``step_s`` seconds; after ``steps`` it dies."""

    def __init__(self, step_s: float = 0.0, most_at_once: int = 100, steps: int = 10**9) -> None:
        self._step_s, self._most, self._left = step_s, most_at_once, steps
        self._open: dict[str, Running] = {}
        self._changing = threading.Condition()

    def evidence(self) -> Mapping[str, object]:
        return {"version": "fake-1", "dtype": "float32", "kv_dtype": "float32", "max_length": ROOM,
                "prefix_caching": False, "quantisation": "none"}  # fmt: skip

    def tokens(self, text: str, *, special: bool) -> Sequence[int]:
        return [len(word) % VOCABULARY for word in text.split()]

    def turn(self, text: str) -> Sequence[int]:
        return [0, *self.tokens(text, special=False)]

    def text(self, ids: Sequence[int]) -> str:
        return " ".join(f"t{one}" for one in ids)

    def add(self, key: str, wanted: Wanted) -> None:
        if len(wanted.ids) + wanted.most > ROOM:
            raise Refused(f"there is room for {ROOM} tokens")
        with self._changing:
            self._open[key] = Running(wanted)
            self._changing.notify()

    def cancel(self, key: str) -> None:
        with self._changing:
            self._open.pop(key, None)

    def step(self) -> Step:
        with self._changing:
            if not self._changing.wait_for(lambda: self._open, timeout=0.1):
                return Step(time.monotonic_ns())
            batch = list(self._open.items())[: self._most]
        time.sleep(self._step_s)
        if not self._left:
            raise RuntimeError("the fake engine has no memory left")
        self._left -= 1
        made = tuple(self._made(key, one) for key, one in batch)
        return Step(time.monotonic_ns(), made)

    def _made(self, key: str, one: Running) -> Made:
        token, one.made = (len(one.wanted.ids) + one.made) % VOCABULARY, one.made + 1
        row = {at: -float(at + 1) for at in range(VOCABULARY)} if one.wanted.distribution else None
        if one.made < one.wanted.most:
            return Made(key, (token,))
        self.cancel(key)
        return Made(key, (token,), "length", cached=1, distribution=row)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("place")
    parser.add_argument("--step-s", type=float, default=0.0)
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--steps", type=int, default=10**9)
    given = parser.parse_args()
    Desk(Fake(given.step_s, given.most, given.steps)).serve(given.place)
