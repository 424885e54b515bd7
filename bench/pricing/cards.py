"""Find the price of a GPU by the name that its driver gives it, such as ``NVIDIA H100 80GB HBM3``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from bench.pricing.hardware import HardwarePrice

# The price that is used for each kind of card. For other kinds it is the book's cheapest on-demand price.
USUAL: Final = {
    "H200": "h200-141gb",
    "H100": "h100-80gb",
    "A100": "a100-80gb",
    "L4": "l4-24gb",
    "RTX 4090": "rtx-4090",
    "RTX 3090": "rtx-3090",
}
_KIND: Final = re.compile(r"RTX (?:PRO )?[A-Z]?[0-9]{4}|MI[0-9]{3}X?|GB?[0-9]{3}|[ABHLTV][0-9]{1,3}S?\b")
NEAR: Final = 0.15  # relative difference of two memory sizes that count as equal, because names round them


def kind_of(card: str) -> str | None:
    """Return the kind of a card from its name (``H100``, ``L40S``, ``RTX 4090``), or None without one."""
    match = _KIND.search(card.replace("GeForce ", "").replace("-", " "))
    return match[0] if match else None


def price_of_card(card: str, memory_gib: float | None, book: Mapping[str, HardwarePrice]) -> str | None:
    """Return the id of the price for a card with this much memory, or None if the book has no such price."""
    kind = kind_of(card)
    usual = book.get(USUAL.get(kind or "", ""))
    if usual is not None and _same_size(usual, memory_gib):
        return usual.id
    fitting = [price for price in _of_kind(kind, book.values()) if _same_size(price, memory_gib)]
    return min(fitting, key=lambda price: price.hourly_usd).id if fitting else None


def misfit_of_card(price: HardwarePrice, card: str) -> str | None:
    """Return a warning if ``price`` is for another kind of card than ``card``.

    Returns None if the kinds agree, or if one of them is not known.
    """
    here, priced = kind_of(card), kind_of(price.device or "")
    if price.kind != "gpu" or here is None or priced is None or here == priced:
        return None
    return f"price {price.id} is of {price.device}, and the GPU here is {card}"


def _of_kind(kind: str | None, prices: Iterable[HardwarePrice]) -> list[HardwarePrice]:
    return [
        price
        for price in prices
        if kind and price.kind == "gpu" and price.term == "on_demand" and kind_of(price.device or "") == kind
    ]


def _same_size(price: HardwarePrice, memory_gib: float | None) -> bool:
    if memory_gib is None or price.memory_gib is None:
        return True
    return abs(price.memory_gib / memory_gib - 1) <= NEAR
