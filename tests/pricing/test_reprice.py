"""The price a result keeps, and another for the same run: what stays, what changes, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench.errors import ConfigError, UsageError
from bench.pricing.book import default_book, price_called
from bench.pricing.cost import price_of
from bench.pricing.hardware import parse_price
from bench.pricing.reprice import misfit, new_price, own_price, price_block
from bench.store.blocks import Price

TODAY = "2026-01-31"
BOOK = default_book()
OLD = price_block("cloud-2vcpu-8gb", None, 0.6, "2020-01-01")
FILE = """\
id: box
name: A box
kind: cpu
ownership: rented
date: 2026-01-31
source: somebody's price page
currency: USD
includes_power: true
usd_per_hour: 0.1
vcpus: 2
"""


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of prices of one's own, asked before the shipped ones."""
    (tmp_path / "configs" / "prices").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "configs" / "prices"


# ---- one price by its id -------------------------------------------------------------------------


@pytest.mark.parametrize("price_id", sorted(BOOK))
def test_reading_one_file_gives_what_the_whole_book_has(price_id: str) -> None:
    assert price_called(price_id) == BOOK[price_id]


def test_ones_own_directory_comes_first(prices: Path) -> None:
    (prices / "box.yaml").write_text(FILE)
    assert price_called("box").usd_per_hour == 0.1
    (prices / "l4-24gb.yaml").write_text(FILE.replace("id: box", "id: l4-24gb"))
    assert price_called("l4-24gb").name == "A box"


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'cloud-2vcpu-8gb'"):
        price_called("cloud-2vcpu-8g")


def test_an_id_is_a_name_and_not_a_path(prices: Path) -> None:
    (prices / "box.yaml").write_text(FILE)
    for name in ("../prices/box", "./box", str(prices / "box"), "box.yaml", "", "x" * 300, "\0"):
        with pytest.raises(UsageError, match="no price called"):
            price_called(name)


def test_a_wrong_file_is_named_with_its_line(prices: Path) -> None:
    (prices / "box.yaml").write_text(FILE.replace("usd_per_hour: 0.1", "usd_per_hour: -1"))
    with pytest.raises(ConfigError) as caught:
        price_called("box")
    assert (caught.value.line, caught.value.key) == (9, "usd_per_hour")
    (prices / "box.yaml").write_text(FILE.replace("id: box", "id: bag"))
    with pytest.raises(ConfigError, match="is 'bag', the file 'box'"):
        price_called("box")


# ---- the block -----------------------------------------------------------------------------------


def test_the_block_holds_the_whole_price_and_is_plain_data() -> None:
    assert OLD["utilisation"] == 0.6
    assert json.loads(json.dumps(OLD)) == OLD
    kept = {key: value for key, value in OLD.items() if key != "utilisation"}
    assert parse_price(kept, "run.json") == price_called("cloud-2vcpu-8gb")


def test_dollars_given_on_the_spot_are_a_price_of_their_own() -> None:
    block = price_block(None, 2.5, 1.0, TODAY)
    assert (block["id"], block["usd_per_hour"], block["date"]) == ("given", 2.5, TODAY)
    assert {**own_price(2.5, TODAY), "utilisation": 1.0} == block
    price = parse_price({key: value for key, value in block.items() if key != "utilisation"}, "run.json")
    assert (price.hourly_usd, price.gpus, price.includes_power) == (2.5, 1, True)


def test_dollars_for_some_vcpus_cost_what_a_price_file_of_them_does() -> None:
    book = price_called("cloud-2vcpu-8gb")
    block = price_block(None, book.usd_per_hour, 1.0, TODAY, vcpus=2)
    own = parse_price({key: value for key, value in block.items() if key != "utilisation"}, "run.json")
    for threads in (1, 2, 8, None):
        assert price_of(own, threads) == price_of(book, threads)
    assert "2 vCPU" in block["name"]
    assert "whole machine" in price_block(None, 1.0, 1.0, TODAY)["name"]
    assert new_price(OLD, None, 0.1, None, TODAY, vcpus=4)["vcpus"] == 4


def test_one_vcpu_is_enough() -> None:
    assert price_block(None, 1.0, 1.0, TODAY, vcpus=1)["vcpus"] == 1


def test_vcpus_without_dollars() -> None:
    with pytest.raises(UsageError, match="has its own"):
        price_block("cloud-2vcpu-8gb", None, 1.0, TODAY, vcpus=2)
    with pytest.raises(UsageError, match="give both"):
        new_price(OLD, None, None, 0.5, TODAY, vcpus=2)
    with pytest.raises(UsageError, match="from 1 to 4096"):
        price_block(None, 1.0, 1.0, TODAY, vcpus=0)


@pytest.mark.parametrize(
    ("price_id", "devices", "words"),
    [
        ("cloud-2vcpu-8gb", ["cpu", "cpu"], None),
        ("cloud-2vcpu-8gb", ["cuda:0"], "priced as a CPU (AWS"),
        ("cloud-2vcpu-8gb", ["cpu", "cuda:0"], "measured on a GPU"),
        ("l4-24gb", ["cuda"], None),
        ("l4-24gb", ["cpu"], "measured on a CPU"),
        ("l4-24gb", [], None),
    ],
)
def test_a_price_for_other_hardware_than_was_measured(
    price_id: str, devices: list[str], words: str | None
) -> None:
    found = misfit(price_block(price_id, None, 1.0, TODAY), devices)
    assert found is None if words is None else words in str(found)
    assert misfit(price_block(None, 1.0, 1.0, TODAY), devices) is None


@pytest.mark.parametrize("pair", [(None, None), ("cloud-2vcpu-8gb", 1.0)])
def test_a_block_needs_exactly_one_source(pair: tuple[str | None, float | None]) -> None:
    with pytest.raises(UsageError, match="either a hardware id"):
        price_block(*pair, 1.0, TODAY)


BAD_DOLLARS = (0.0, -1.0, 1000.01, 1e9, math.nan, math.inf, -math.inf)
BAD_SHARES = (0.0, -0.5, 1.01, 60.0, math.nan, math.inf)


@pytest.mark.parametrize("usd", BAD_DOLLARS)
def test_dollars_out_of_range(usd: float) -> None:
    with pytest.raises(UsageError, match="per month, or per 1k tokens"):
        price_block(None, usd, 1.0, TODAY)
    with pytest.raises(UsageError, match="dollars per hour"):
        new_price(OLD, None, usd, None, TODAY)


@pytest.mark.parametrize("share", BAD_SHARES)
def test_a_utilisation_out_of_range(share: float) -> None:
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        price_block("cloud-2vcpu-8gb", None, share, TODAY)
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        new_price(OLD, None, None, share, TODAY)
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        new_price(OLD, "l4-24gb", None, share, TODAY)


# ---- another price for the same run --------------------------------------------------------------


def test_other_hardware_keeps_the_utilisation() -> None:
    block = new_price(OLD, "l4-24gb", None, None, TODAY)
    assert block == price_block("l4-24gb", None, 0.6, TODAY)
    assert new_price(OLD, "l4-24gb", None, 0.9, TODAY)["utilisation"] == 0.9


def test_dollars_on_the_spot_are_dated_today_or_like_the_old_price() -> None:
    assert new_price(OLD, None, 3.0, None, TODAY) == price_block(None, 3.0, 0.6, TODAY)
    assert new_price(OLD, None, 3.0, None)["date"] == OLD["date"]


def test_a_utilisation_alone_changes_nothing_else() -> None:
    assert new_price(OLD, None, None, 0.25, TODAY) == {**OLD, "utilisation": 0.25}
    assert OLD["utilisation"] == 0.6


def test_an_old_block_without_a_utilisation_was_fully_used() -> None:
    bare = {key: value for key, value in OLD.items() if key != "utilisation"}
    assert new_price(bare, "l4-24gb", None, None, TODAY)["utilisation"] == 1.0


def test_nothing_to_change_and_two_prices_at_once() -> None:
    with pytest.raises(UsageError, match="nothing to change"):
        new_price(OLD, None, None, None, TODAY)
    with pytest.raises(UsageError, match="either a hardware id"):
        new_price(OLD, "l4-24gb", 1.0, None, TODAY)
    with pytest.raises(UsageError, match="no price called"):
        new_price(OLD, "l5", None, None, TODAY)


# ---- dollars of another unit ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usd", "vcpus", "words"),
    [
        (0.000328, None, "per 1k tokens"),
        (2912.7, None, "per month"),
        (73.0, 2, "36.5 per vCPU, outside 0.001 to 1; is it per month"),
        (0.0019, 2, "per vCPU, outside"),
        (math.nan, 2, "above 0"),
    ],
)
def test_dollars_of_another_unit_are_recognised(usd: float, vcpus: int | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        own_price(usd, TODAY, vcpus)


@pytest.mark.parametrize(("usd", "vcpus"), [(0.001, None), (1000.0, None), (0.002, 2), (2.0, 2)])
def test_the_ends_of_the_range_are_rents(usd: float, vcpus: int | None) -> None:
    assert own_price(usd, TODAY, vcpus)["usd_per_hour"] == usd


# ---- what is re-priced rests on the block alone --------------------------------------------------


def test_a_run_is_priced_by_its_block_and_not_by_the_book(prices: Path) -> None:
    """The file may be gone, or say something else, when a run is judged again."""
    (prices / "box.yaml").write_text(FILE)
    block = price_block("box", None, 0.5, TODAY)
    (prices / "box.yaml").unlink()
    again = new_price(block, None, None, 0.25)
    assert again == {**block, "utilisation": 0.25}
    kept = {key: value for key, value in again.items() if key != "utilisation"}
    assert price_of(parse_price(kept, "run.json"), 1, 0.25).hourly_usd == 0.1


@pytest.mark.parametrize("price_id", sorted(BOOK))
def test_each_price_of_the_book_can_be_kept_and_read_again(price_id: str) -> None:
    block = json.loads(json.dumps(price_block(price_id, None, 0.5, TODAY)))
    Price.model_validate(block)
    kept = {key: value for key, value in block.items() if key != "utilisation"}
    assert parse_price(kept, "run.json") == BOOK[price_id]
    assert None not in block.values()
