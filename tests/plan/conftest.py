"""Every card of models/, for tests that hold for all of them."""

from __future__ import annotations

import pytest

from bench.models.architecture import Architecture
from bench.models.registry import all_models

CARDS = [(card.name, card.architecture) for card in all_models() if card.kind != "encoder"]


@pytest.fixture(params=CARDS, ids=lambda card: card[0])
def every_card(request: pytest.FixtureRequest) -> tuple[str, Architecture]:
    """The name of a card and its facts."""
    found: tuple[str, Architecture] = request.param
    return found
