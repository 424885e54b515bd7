"""The packages that the tool brings to both sides of a gate."""

from __future__ import annotations

import pytest

from bench.sides import layer as layers


def test_a_checkout_that_is_not_installed_asks_by_its_project_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its packages are on PYTHONPATH; a side had none of them, and its worker could not begin."""
    installed = layers._installed
    monkeypatch.setattr(layers, "_installed", lambda name: None if name == layers.TOOL else installed(name))
    found = layers._closure.__wrapped__()
    assert {"torch", "transformers", "tokenizers", "threadpoolctl", "numpy"} <= set(found)
    assert not {"pytest", "hypothesis", "inference-cost-bench"} & set(found)
