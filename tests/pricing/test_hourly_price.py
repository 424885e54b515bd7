"""How an hour is computed, in words and numbers; how old a price is; what to beware of."""

from __future__ import annotations

import pytest

from bench.pricing.book import default_book, price_called
from bench.pricing.hardware import HardwarePrice
from bench.pricing.hourly_price import (
    age_days,
    cautions,
    hour_formula,
    power_lines,
    share_words,
    term_words,
    whole_instance,
)
from bench.pricing.reprice import plain

BOOK = default_book()


@pytest.mark.parametrize("price_id", sorted(BOOK))
def test_the_numbers_of_a_formula_come_to_the_hour(price_id: str) -> None:
    price = BOOK[price_id]
    names, numbers = hour_formula(price)
    left, right = numbers.removesuffix(" USD/h").rsplit(" = ", 1)
    assert eval(left) == pytest.approx(float(right), rel=1e-5)
    assert float(right) == pytest.approx(price.hourly_usd, rel=1e-5)
    used = [word for word in names.replace("(", " ").replace(")", " ").split() if word[0].isalpha()][1:]
    assert all(getattr(price, key) is not None for key in used)


@pytest.mark.parametrize(
    ("price_id", "formula", "numbers"),
    [
        ("aws-p5-48xlarge", "R = price_per_hour / instance_gpus", "55.04 / 8 = 6.88 USD/h"),
        (
            "alibaba-cn-c9i-xlarge",
            "R = price_per_month / 730 * usd_per_unit",
            "391.82 / 730 * 0.14943 = 0.080205 USD/h",
        ),
        (
            "own-2core-desktop",
            "R = purchase_usd * (1 + overhead) / life_hours",
            "400 * (1 + 0) / 35040 = 0.0114155 USD/h",
        ),
        ("cloud-2vcpu-8gb", "R = usd_per_hour", "0.1008 = 0.1008 USD/h"),
    ],
)
def test_by_hand(price_id: str, formula: str, numbers: str) -> None:
    assert hour_formula(BOOK[price_id]) == (formula, numbers)


@pytest.mark.parametrize(
    ("price_id", "words"),
    [
        ("aws-m7i-24xlarge", "a run on 8 of 96 vCPUs is charged 8/96 of the hour, 0.4032 USD/h"),
        ("aws-m7i-large", "a run on 1 of 2 vCPUs is charged 1/2 of the hour, 0.0504 USD/h"),
        ("h100-80gb", "one GPU"),
    ],
)
def test_a_share_is_said_with_numbers(price_id: str, words: str) -> None:
    assert words in share_words(BOOK[price_id])


def test_power_by_hand() -> None:
    work, wait = power_lines(BOOK["own-2core-desktop"])
    assert work.endswith("45 / 1000 * 0.1872 * 1 = 0.008424 USD/h")
    assert wait.endswith("20 / 1000 * 0.1872 * 1 = 0.003744 USD/h")
    assert list(power_lines(BOOK["h100-80gb"])) == []


@pytest.mark.parametrize(
    ("term", "months", "words"),
    [
        (None, None, ""),
        ("on_demand", None, "on demand"),
        ("spot", None, "spot"),
        ("reserved", 1, "reserved 1 month"),
        ("reserved", 36, "reserved 36 months"),
    ],
)
def test_terms(term: str | None, months: int | None, words: str) -> None:
    assert term_words(term, months) == words


def warned(price: HardwarePrice, today: str) -> str:
    return "; ".join(cautions(plain(price), today))


def test_an_old_price_is_named_from_day_181() -> None:
    price = price_called("h100-80gb")
    assert str(price.date) == "2026-11-09"
    assert warned(price, "2027-05-08") == ""
    assert age_days(price.date, "2027-05-08") == 180
    assert "is 181 days old (2026-11-09)" in warned(price, "2027-05-09")


def test_a_price_of_a_later_day_is_told() -> None:
    """A mistyped year was found by ``bench prices --check`` alone."""
    assert "is of 2026-11-09, a day after 2026-01-01: is" in warned(price_called("h100-80gb"), "2026-01-01")
    assert warned(price_called("h100-80gb"), "2026-11-09") == ""


def test_a_spot_price_moves() -> None:
    assert "it moves" in warned(BOOK["gcp-c4-standard-8-spot"], "2026-08-01")


def test_a_conversion_is_said() -> None:
    found = warned(BOOK["scaleway-l40s"], "2026-08-10")
    assert found == "price scaleway-l40s is converted from EUR: 1 EUR = 1.1535 USD on 2026-08-07"


def test_the_block_of_an_old_run_has_none_of_the_new_keys() -> None:
    block = {"id": "x", "date": "2026-01-01", "currency": "USD", "kind": "cpu", "usd_per_hour": 0.1}
    assert list(cautions(block, "2026-02-01")) == []


def test_one_gpu_of_eight_is_not_to_be_had_alone() -> None:
    """A plan for one machine showed 5,022 dollars a month, and the instance costs 40,179."""
    (said,) = whole_instance(plain(price_called("aws-p5-48xlarge")))
    assert "is of one of 8 GPUs of an instance that is rented whole, for 55.04 USD an hour" in said
    for price_id in ("h100-80gb", "aws-p5-4xlarge", "cloud-2vcpu-8gb", "own-gpu-workstation"):
        assert list(whole_instance(plain(price_called(price_id)))) == []
