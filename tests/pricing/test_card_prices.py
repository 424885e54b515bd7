"""The price of a card by the name that its driver gives it, and the price of a slice of one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.pricing.book import default_book, price_called
from bench.pricing.cards import kind_of, misfit_of_card, price_of_card
from bench.pricing.cost import device_share
from bench.pricing.reprice import new_price, plain, price_block, slice_of

BOOK = default_book()


@pytest.mark.parametrize(
    ("card", "kind"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("Tesla T4", "T4"),
        ("AMD Instinct MI300X", "MI300X"),
        ("something else", None),
    ],
)
def test_the_kind_of_a_card(card: str, kind: str | None) -> None:
    assert kind_of(card) == kind


@pytest.mark.parametrize(
    ("card", "gib", "price"),
    [
        ("NVIDIA H100 80GB HBM3", 79.6, "h100-80gb"),
        ("NVIDIA H200", 139.8, "h200-141gb"),
        ("NVIDIA A100-SXM4-80GB", 79.3, "a100-80gb"),
        ("NVIDIA L4", 22.5, "l4-24gb"),
        ("NVIDIA GeForce RTX 4090", 23.5, "rtx-4090"),
        ("NVIDIA GeForce RTX 3090", 23.6, "rtx-3090"),
        ("something else", 8.0, None),
    ],
)
def test_the_price_of_a_card(card: str, gib: float, price: str | None) -> None:
    assert price_of_card(card, gib, BOOK) == price


@pytest.mark.parametrize("kind", ["L40S", "B200"])
def test_a_card_without_a_usual_price_has_the_cheapest_on_demand(kind: str) -> None:
    found = price_of_card(f"NVIDIA {kind}", None, BOOK)
    assert found is not None
    others = [one for one in BOOK.values() if one.term == "on_demand" and kind_of(one.device or "") == kind]
    assert BOOK[found].hourly_usd == min(one.hourly_usd for one in others)


def test_the_price_of_another_card_is_said() -> None:
    said = misfit_of_card(price_called("h100-80gb"), "NVIDIA L4")
    assert said == "price h100-80gb is of H100 80GB SXM, and the GPU here is NVIDIA L4"
    assert misfit_of_card(price_called("h100-80gb"), "NVIDIA H100 80GB HBM3") is None
    assert misfit_of_card(price_called("cloud-2vcpu-8gb"), "NVIDIA L4") is None


def test_a_slice_is_charged_its_share() -> None:
    whole = price_called("h100-80gb")
    assert device_share(whole, None) == 1.0
    assert device_share(replace(whole, share=0.25), None) == 0.25


@pytest.mark.parametrize(
    ("hardware", "dollars", "share", "kept"),
    [
        ("h100-80gb", None, 0.25, {"share": 0.25}),
        ("h100-80gb", None, 1.0, {}),
        ("h100-80gb", None, None, {}),
        ("cloud-2vcpu-8gb", None, 0.25, {}),
        (None, 1.5, 0.25, {}),  # the user's dollars are of what the user says
    ],
)
def test_which_prices_have_a_share(
    hardware: str | None, dollars: float | None, share: float | None, kept: dict[str, float]
) -> None:
    assert slice_of(price_block(hardware, dollars, 1.0, "2026-11-27"), share) == kept


def test_another_price_is_of_the_same_slice() -> None:
    old = {**plain(price_called("h100-80gb")), "share": 0.25, "utilisation": 0.5}
    assert new_price(old, "h200-141gb", None, None)["share"] == 0.25
    assert new_price(old, None, None, 0.7)["share"] == 0.25
    assert "share" not in new_price(old, None, 2.0, None)
