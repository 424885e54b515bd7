"""Two runs that were measured by other code, or in another design, are compared; the heading says it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bench.results.measured_by import measured_otherwise


def run(code: str | None = "a" * 64, version: str = "1.0", design: str | None = None) -> Any:
    spec = {"measure": {"design": design}} if design else {}
    return SimpleNamespace(harness={"version": version, "source_sha256": code}, spec=spec)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (run(), []),
        (run(design="auto"), []),  # the default, which a config need not name
        (run("b" * 64), ["the code of bench differs", "1.0 (aaaaaaaa) and 1.0 (bbbbbbbb)"]),
        (run(None, "0.9"), ["the code of bench differs", "1.0 (aaaaaaaa) and 0.9 (unknown)"]),
        (run(design="abba"), ["measure.design differs", "auto and abba"]),
        (run("b" * 64, design="abba"), ["the code of bench", "measure.design"]),
    ],
)
def test_what_measured_two_runs(after: Any, said: list[str]) -> None:
    found = "\n".join(measured_otherwise(run(), after))
    assert bool(found) == bool(said)
    assert all(words in found for words in said)
