"""Words on the way: seldom, and passed on by the harness without being taken for an answer."""

from __future__ import annotations

import pytest

from bench.engine import progress


def test_said_seldom_unless_it_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 101.0, 104.9, 105.1, 105.2, 105.3])
    monkeypatch.setattr(progress, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress, "_last", float("-inf"))
    said: list[str] = []
    monkeypatch.setattr(progress, "_sink", said.append)
    for text in ("a", "b", "c", "d"):
        progress.say(text)
    progress.say("e", now=True)
    assert said == ["a", "d", "e"]


@pytest.mark.parametrize(("share", "full"), [(0, 0), (0.5, 10), (1, 20), (2, 20), (-1, 0)])
def test_a_bar(share: float, full: int) -> None:
    assert progress.bar(share) == "█" * full + "░" * (20 - full)
