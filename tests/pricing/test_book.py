"""Shipped prices load, are dated and sourced; a wrong price file is refused with key, line and hint."""

import datetime as dt
import json
import math
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from bench.errors import ConfigError, ExitCode, UsageError
from bench.pricing.book import default_book, find_price, load_book, price_called, read_book
from bench.pricing.hardware import HardwarePrice, parse_price
from bench.pricing.reprice import plain

SHIPPED = Path(__file__).parents[2] / "configs" / "prices"
BOOK = load_book(SHIPPED)
IDS = sorted(BOOK)

RENTED: dict[str, object] = {
    "id": "box",
    "name": "A box",
    "kind": "cpu",
    "ownership": "rented",
    "date": "2026-01-31",
    "source": "somebody's price page",
    "currency": "USD",
    "includes_power": True,
    "usd_per_hour": 0.1,
    "vcpus": 2,
}
OWNED: dict[str, object] = {
    **{key: value for key, value in RENTED.items() if key not in ("usd_per_hour", "vcpus")},
    "kind": "gpu",
    "ownership": "owned",
    "includes_power": False,
    "gpus": 1,
    "purchase_usd": 1600.0,
    "overhead": 0.5,
    "life_hours": 24000.0,
    "usd_per_kwh": 0.2,
    "pue": 1.1,
    "average_watts": 400.0,
}


def refusal(mapping: dict[str, object]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_price(mapping, "box.yaml")
    return caught.value


def without(mapping: dict[str, object], key: str) -> dict[str, object]:
    return {name: value for name, value in mapping.items() if name != key}


def write(directory: Path, name: str, text: str) -> Path:
    (directory / name).write_text(text, encoding="utf-8")
    return directory


class TestShipped:
    def test_the_ids_the_docs_promise(self) -> None:
        promised = "cloud-2vcpu-8gb cloud-4vcpu-16gb cloud-8vcpu-32gb h100-80gb h200-141gb a100-80gb l4-24gb"
        owned = "rtx-4090 rtx-3090 own-2core-desktop own-gpu-workstation"
        assert {*promised.split(), *owned.split()} <= load_book(SHIPPED).keys()

    @pytest.mark.parametrize("price_id", IDS)
    def test_is_dated_and_sourced(self, price_id: str) -> None:
        price = BOOK[price_id]
        assert dt.date(2020, 1, 1) <= price.date <= dt.date.today()
        assert "http" in price.source or price.source.startswith("Declared by this project")
        assert price.note
        assert 0 < price.unit_usd < 20
        assert price.rate_date is None or price.rate_date <= dt.date.today()

    @pytest.mark.parametrize("price_id", IDS)
    def test_an_owned_machine_says_its_watts_are_declared(self, price_id: str) -> None:
        price = BOOK[price_id]
        if price.ownership == "owned":
            assert not price.includes_power
            assert "declared, not measured" in price.note

    @pytest.mark.parametrize("price_id", IDS)
    def test_the_block_kept_in_a_result_reads_back(self, price_id: str) -> None:
        price = BOOK[price_id]
        assert parse_price(json.loads(json.dumps(asdict(price), default=str)), "run.json") == price
        assert parse_price(json.loads(json.dumps(plain(price))), "run.json") == price

    @pytest.mark.parametrize(
        ("kind", "devices", "providers"),
        [
            ("cpu", {2, 4, 8, 16, 48, 96}, {"aws", "gcp", "azure"}),
            ("cpu", {2, 4, 8}, {"alibaba"}),
            ("gpu", {"H100 80GB SXM", "A100 80GB SXM"}, {"aws", "gcp", "azure", "runpod"}),
            ("gpu", {"H200 141GB SXM"}, {"aws", "azure", "nebius", "datacrunch"}),
            ("gpu", {"MI300X 192GB"}, {"azure", "runpod", "digitalocean"}),
        ],
    )
    def test_what_people_rent_is_in_the_book(
        self, kind: str, devices: set[object], providers: set[str]
    ) -> None:
        for provider in providers:
            found = {
                one.vcpus if kind == "cpu" else one.device
                for one in BOOK.values()
                if one.provider == provider
            }
            assert devices <= found

    def test_each_term_is_there_and_dearer_the_freer(self) -> None:
        """At one provider, on demand costs more than a year's commitment, and that more than three years'."""
        for inst in ("c4-standard-8", "c4a-standard-48", "a3-highgpu-8g", "g2-standard-4"):
            free, year, three, spot = (
                BOOK[f"gcp-{inst}{end}"].hourly_usd for end in ("", "-1y", "-3y", "-spot")
            )
            assert free > year > three > 0
            assert free > spot

    @pytest.mark.parametrize("price_id", [one for one in IDS if BOOK[one].instance_gpus])
    def test_a_gpu_of_an_instance_with_several_is_a_part_of_its_rent(self, price_id: str) -> None:
        price = BOOK[price_id]
        assert price.rent is not None
        assert price.instance_gpus is not None
        assert price.hourly_usd * price.instance_gpus == pytest.approx(price.rent)


class TestHourly:
    def test_rented(self) -> None:
        assert parse_price(RENTED, "box.yaml").hourly_usd == 0.1

    def test_owned_is_the_purchase_and_its_overhead_over_its_life(self) -> None:
        assert parse_price(OWNED, "box.yaml").hourly_usd == pytest.approx(1600 * 1.5 / 24000)

    def test_a_price_built_by_hand_without_either_is_refused(self) -> None:
        day = dt.date(2026, 1, 1)
        price = HardwarePrice("x", "x", "cpu", "owned", day, "me", "USD", includes_power=True, vcpus=2)
        with pytest.raises(UsageError, match="neither a rent nor a complete purchase"):
            _ = price.hourly_usd

    def test_whole_numbers_are_numbers(self) -> None:
        assert parse_price({**RENTED, "usd_per_hour": 2}, "box.yaml").hourly_usd == 2


class TestRefusals:
    @pytest.mark.parametrize("key", list(RENTED))
    def test_missing_in_a_rented_price(self, key: str) -> None:
        error = refusal(without(RENTED, key))
        assert (error.key, error.exit_code) == (key, ExitCode.USAGE)
        assert error.problem.startswith("missing")

    @pytest.mark.parametrize("key", list(OWNED))
    def test_missing_in_an_owned_price(self, key: str) -> None:
        assert refusal({**OWNED, key: None}).key == key

    @pytest.mark.parametrize(
        "key", ["purchase_usd", "life_hours", "usd_per_kwh", "pue", "average_watts", "gpus", "overhead"]
    )
    @pytest.mark.parametrize("value", [-1, math.nan, math.inf, -math.inf, "7", True, [1.0]])
    def test_numbers_out_of_range_or_not_numbers(self, key: str, value: object) -> None:
        assert refusal({**OWNED, key: value}).key == key

    @pytest.mark.parametrize("value", [0, 0.0, -0.1, math.nan, math.inf, "0.1", True])
    def test_rent_that_is_no_rent(self, value: object) -> None:
        assert refusal({**RENTED, "usd_per_hour": value}).key == "usd_per_hour"

    @pytest.mark.parametrize("key", ["purchase_usd", "life_hours", "usd_per_kwh", "average_watts", "gpus"])
    def test_zero_is_no_price(self, key: str) -> None:
        assert refusal({**OWNED, key: 0}).key == key

    @pytest.mark.parametrize(
        ("change", "key"),
        [
            ({"overhead": 1e300}, "overhead"),
            ({"life_hours": 1e-300}, "life_hours"),
            ({"life_hours": 2.0}, "purchase_usd"),
            ({"purchase_usd": 1e308}, "purchase_usd"),
            ({"purchase_usd": 5e-324}, "purchase_usd"),
            ({"pue": 1e9}, "pue"),
            ({"average_watts": 1e300}, "average_watts"),
            ({"idle_watts": 1e300}, "idle_watts"),
            ({"usd_per_kwh": 190.0}, "usd_per_kwh"),
        ],
    )
    def test_figures_that_no_machine_of_one_s_own_has(self, change: dict[str, object], key: str) -> None:
        """Their product is infinity or 0, and so would every cost be."""
        assert refusal({**OWNED, **change}).key == key

    def test_a_tariff_of_another_unit(self) -> None:
        rate = {"currency": "EUR", "usd_per_unit": 1.1, "rate_date": "2026-01-31", "rate_source": "a bank"}
        own = {**without(without(OWNED, "usd_per_kwh"), "purchase_usd"), **rate, "purchase_price": 1500.0}
        assert parse_price({**own, "price_per_kwh": 0.19}, "box.yaml").usd_per_kwh == pytest.approx(0.209)
        assert refusal({**own, "price_per_kwh": 190.0}).key == "price_per_kwh"

    def test_pue_below_one(self) -> None:
        assert refusal({**OWNED, "pue": 0.9}).key == "pue"

    def test_a_rent_per_month_is_recognised(self) -> None:
        assert "per month" in str(refusal({**RENTED, "usd_per_hour": 2912.7}))

    def test_the_largest_rent_is_still_a_rent(self) -> None:
        assert parse_price({**RENTED, "usd_per_hour": 1000}, "box.yaml").hourly_usd == 1000

    @pytest.mark.parametrize("currency", ["usd", "", 1, "EURO", "$", "XXX", "XTS", "XAU", "EUX"])
    @pytest.mark.bad_input(17)
    def test_a_currency_that_is_none(self, currency: object) -> None:
        assert refusal({**RENTED, "currency": currency}).key == "currency"

    def test_an_unknown_key_is_told_its_nearest(self) -> None:
        error = refusal({**RENTED, "usd_per_hr": 0.1})
        assert str(error) == "box.yaml: usd_per_hr: unknown key (did you mean 'usd_per_hour'?)"

    def test_a_key_like_no_other(self) -> None:
        assert refusal({**RENTED, "zzz": 1}).hint == ""

    @pytest.mark.parametrize("date", ["2026-02-30", "31.01.2026", "20260131", "2026", "", 2026, "2026-W05-6"])
    def test_a_day_that_is_none(self, date: object) -> None:
        assert refusal({**RENTED, "date": date}).key == "date"

    @pytest.mark.parametrize("key", ["usd_per_kwh", "pue", "average_watts"])
    def test_power_billed_on_top_of_a_price_that_holds_it(self, key: str) -> None:
        error = refusal({**RENTED, key: 1.0})
        assert error.key == key
        assert "count it twice" in error.hint

    @pytest.mark.parametrize("extra", [{"purchase_usd": 1.0}, {"gpus": 1}, {"life_hours": 5.0}])
    def test_keys_of_another_kind_of_price(self, extra: dict[str, object]) -> None:
        error = refusal({**RENTED, **extra})
        assert error.key == next(iter(extra))
        assert "no place here" in error.problem

    @pytest.mark.parametrize(("key", "value"), [("kind", "tpu"), ("ownership", "leased"), ("source", "")])
    def test_words_outside_the_vocabulary(self, key: str, value: str) -> None:
        assert refusal({**RENTED, key: value}).key == key

    @pytest.mark.parametrize("value", ["yes", 1])
    def test_a_flag_is_true_or_false(self, value: object) -> None:
        assert refusal({**RENTED, "includes_power": value}).key == "includes_power"


class TestFiles:
    GOOD = "\n".join(
        f"{key}: {str(value).lower() if value is True else value}" for key, value in RENTED.items()
    )

    def test_a_good_file(self, tmp_path: Path) -> None:
        book = load_book(write(tmp_path, "box.yaml", self.GOOD))
        assert book["box"].date == dt.date(2026, 1, 31)

    @pytest.mark.parametrize(
        ("text", "where"),
        [
            (GOOD + "\nusd_per_hr: 1", "box.yaml:11: usd_per_hr: unknown key"),
            (GOOD + "\nvcpus: 4", "box.yaml:11: vcpus: "),
            (GOOD.replace("2026-01-31", "2026-02-30"), "box.yaml:5: date: not a day"),
            (GOOD.replace("usd_per_hour: 0.1", "usd_per_hour: .nan"), "box.yaml:9: "),
            (GOOD.replace("id: box", "id: bax"), "box.yaml:1: id: is 'bax', the file 'box'"),
            (
                GOOD.replace("usd_per_hour: 0.1", "usd_per_hour: 300"),
                "box.yaml:9: usd_per_hour: 150 USD an hour",
            ),
            (GOOD.replace("usd_per_hour: 0.1", ""), "box.yaml:1: usd_per_hour: missing"),
            ("a: [1]", "box.yaml:1: id: missing"),
            ("prices: 1", "box.yaml:1: prices: not a list of prices"),
            ("prices: [1]", "prices[0]: not a mapping"),
            ("- a list", "must hold 'key: value' lines"),
            ("", "is empty"),
            ("a: [", "box.yaml:2: not valid YAML"),
            ("a: !!python/name:os.system x", "box.yaml:1: tags are not allowed"),
            ("a: !!int x", "tags are not allowed"),
            ("a: " + "[" * 20_000, "nested deeper than"),
            ("#" * 2_000_000, "larger than"),
        ],
    )
    def test_a_bad_file_is_named_with_its_line(self, tmp_path: Path, text: str, where: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load_book(write(tmp_path, "box.yaml", text))
        assert where in str(caught.value)

    @pytest.mark.parametrize("key", ["name", "source", "id", "date", "currency"])
    @pytest.mark.parametrize("text", ["x" * 1001, "a\nb", "a\u200bb"])
    def test_a_text_is_one_line_of_a_table(self, tmp_path: Path, key: str, text: str) -> None:
        (tmp_path / "box.yaml").write_text(yaml.safe_dump({**RENTED, "id": "box", key: text}))
        with pytest.raises(ConfigError, match="must be one line of at most 1000 letters") as bad:
            load_book(tmp_path)
        assert bad.value.key == key
        assert len(str(bad.value)) < 400

    def test_an_empty_directory_does_not_hide_the_prices_of_the_package(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "configs/prices").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        some = next(iter(BOOK))
        assert price_called(some) == BOOK[some]
        assert default_book()[some] == BOOK[some]

    def test_a_directory_without_prices(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no price files"):
            load_book(tmp_path / "nowhere")

    @pytest.mark.bad_input(18)
    def test_an_unknown_id_is_told_its_nearest(self) -> None:
        with pytest.raises(UsageError, match=r"no price called 'h100' \(did you mean 'h100-80gb'\?\)"):
            find_price({"h100-80gb": parse_price(RENTED, "x"), "a": parse_price(RENTED, "x")}, "h100")

    def test_an_id_like_no_other_is_told_them_all(self) -> None:
        with pytest.raises(UsageError, match="known: b, box"):
            find_price({"box": parse_price(RENTED, "x"), "b": parse_price(RENTED, "x")}, "quantum")

    def test_a_known_id(self) -> None:
        price = parse_price(RENTED, "x")
        assert find_price({"box": price}, "box") is price


FOREIGN: dict[str, object] = {
    **{key: value for key, value in RENTED.items() if key != "usd_per_hour"},
    "currency": "CNY",
    "price_per_hour": 3.2,
    "usd_per_unit": 0.15,
    "rate_date": "2026-01-30",
    "rate_source": "a bank",
}
GPUS: dict[str, object] = {**without(RENTED, "vcpus"), "kind": "gpu", "gpus": 1}


class TestOtherCurrencies:
    def test_by_hand(self) -> None:
        price = parse_price(FOREIGN, "box.yaml")
        assert price.hourly_usd == pytest.approx(0.48)
        assert price.unit_usd == pytest.approx(0.24)

    def test_a_month_has_730_hours(self) -> None:
        month = {**without(FOREIGN, "price_per_hour"), "price_per_month": 730.0}
        assert parse_price(month, "box.yaml").hourly_usd == pytest.approx(0.15)
        dollars = {**without(RENTED, "usd_per_hour"), "price_per_month": 73}
        assert parse_price(dollars, "box.yaml").hourly_usd == pytest.approx(0.1)

    def test_one_s_own_machine(self) -> None:
        own = {**without(without(OWNED, "purchase_usd"), "usd_per_kwh"), "currency": "EUR"}
        own |= {"purchase_price": 1000.0, "price_per_kwh": 0.3, "usd_per_unit": 1.1}
        own |= {"rate_date": "2026-01-30", "rate_source": "a bank"}
        price = parse_price(own, "box.yaml")
        assert price.hourly_usd == pytest.approx(1100 * 1.5 / 24000)
        assert price.usd_per_kwh == pytest.approx(0.33)

    @pytest.mark.parametrize("key", ["usd_per_unit", "rate_date", "rate_source"])
    def test_the_rate_its_day_and_its_source_are_needed(self, key: str) -> None:
        error = refusal(without(FOREIGN, key))
        assert error.key == key
        assert "CNY is converted" in error.problem

    @pytest.mark.parametrize("key", ["usd_per_unit", "rate_date", "rate_source"])
    def test_dollars_are_not_converted(self, key: str) -> None:
        assert refusal({**RENTED, key: FOREIGN[key]}).key == key

    @pytest.mark.parametrize("value", [0, -1, 6.7, math.nan, "0.15"])
    def test_a_rate_that_is_none(self, value: object) -> None:
        assert refusal({**FOREIGN, "usd_per_unit": value}).key == "usd_per_unit"

    def test_the_rate_of_the_other_way_round_is_named(self) -> None:
        assert "other way round" in refusal({**FOREIGN, "usd_per_unit": 6.7}).hint

    @pytest.mark.parametrize("day", ["2026-02-30", "yesterday", 20260130])
    def test_a_day_of_the_rate_that_is_none(self, day: object) -> None:
        assert refusal({**FOREIGN, "rate_date": day}).key == "rate_date"

    def test_dollars_beside_another_currency(self) -> None:
        error = refusal({**without(FOREIGN, "price_per_hour"), "usd_per_hour": 0.4})
        assert error.key == "usd_per_hour"
        assert "price_per_hour or price_per_month in CNY" in error.hint

    def test_dollars_that_are_other_ones(self) -> None:
        assert refusal({**FOREIGN, "usd_per_hour": 0.49}).key == "usd_per_hour"
        assert parse_price({**FOREIGN, "usd_per_hour": 0.48}, "run.json").hourly_usd == pytest.approx(0.48)


class TestTerms:
    @pytest.mark.parametrize("term", ["on_demand", "spot"])
    def test_only_a_reserved_price_has_a_commitment(self, term: str) -> None:
        assert parse_price({**RENTED, "term": term}, "box.yaml").term == term
        assert refusal({**RENTED, "term": term, "commitment_months": 12}).key == "commitment_months"
        assert refusal({**RENTED, "commitment_months": 12}).key == "commitment_months"

    def test_a_reserved_price_says_for_how_long(self) -> None:
        assert refusal({**RENTED, "term": "reserved"}).key == "commitment_months"
        reserved = parse_price({**RENTED, "term": "reserved", "commitment_months": 36}, "box.yaml")
        assert reserved.commitment_months == 36

    @pytest.mark.parametrize("months", [0, -12, 1.5, "12", 1200])
    def test_months_that_are_none(self, months: object) -> None:
        assert refusal({**RENTED, "term": "reserved", "commitment_months": months}).key == "commitment_months"

    @pytest.mark.parametrize("extra", [{"term": "spot"}, {"price_per_hour": 1.0}, {"instance_gpus": 8}])
    def test_what_one_owns_is_not_rented(self, extra: dict[str, object]) -> None:
        assert refusal({**OWNED, **extra}).key == next(iter(extra))

    def test_a_term_of_another_name(self) -> None:
        assert refusal({**RENTED, "term": "on-demand"}).key == "term"

    def test_a_rent_of_eight_gpus(self) -> None:
        eight = {**without(GPUS, "usd_per_hour"), "price_per_hour": 55.04, "instance_gpus": 8}
        assert parse_price(eight, "box.yaml").hourly_usd == pytest.approx(6.88)

    def test_dollars_of_one_gpu_are_not_divided(self) -> None:
        assert refusal({**GPUS, "instance_gpus": 8}).key == "instance_gpus"
        assert refusal({**FOREIGN, "instance_gpus": 8}).key == "instance_gpus"

    def test_one_rent_and_not_two(self) -> None:
        assert refusal({**FOREIGN, "price_per_month": 1.0}).key == "price_per_month"

    def test_idle_watts_are_for_a_machine_whose_power_is_billed(self) -> None:
        assert parse_price({**OWNED, "idle_watts": 0}, "box.yaml").idle_watts == 0
        assert "count it twice" in refusal({**RENTED, "idle_watts": 10.0}).hint
        assert refusal({**OWNED, "idle_watts": 401.0}).key == "idle_watts"


class TestRanges:
    @pytest.mark.parametrize(
        ("price", "usd", "cause"),
        [
            (RENTED, 73.0, "per month"),
            (RENTED, 2.01, "more vCPUs"),
            (RENTED, 0.0019, "1k or 1M tokens"),
            (RENTED, 0.1 / 3600, "per second"),
            (GPUS, 98.32, "more vCPUs or GPUs"),
            (GPUS, 0.049, "per second"),
        ],
    )
    def test_another_unit_is_recognised(
        self, tmp_path: Path, price: dict[str, object], usd: float, cause: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            load_book(write(tmp_path, "box.yaml", yaml.safe_dump({**price, "usd_per_hour": usd})))
        assert caught.value.key == "usd_per_hour"
        assert cause in caught.value.hint

    @pytest.mark.parametrize(("price", "usd"), [(RENTED, 0.002), (RENTED, 2.0), (GPUS, 0.05), (GPUS, 40.0)])
    def test_the_ends_are_prices(self, tmp_path: Path, price: dict[str, object], usd: float) -> None:
        text = yaml.safe_dump({**price, "usd_per_hour": usd})
        assert load_book(write(tmp_path, "box.yaml", text))["box"].hourly_usd == usd

    def test_a_block_of_an_old_run_may_be_outside(self) -> None:
        assert parse_price({**RENTED, "usd_per_hour": 900.0}, "run.json").hourly_usd == 900

    def test_a_cheap_machine_of_one_s_own_is_one(self, tmp_path: Path) -> None:
        text = yaml.safe_dump({**OWNED, "purchase_usd": 10.0})
        assert load_book(write(tmp_path, "box.yaml", text))["box"].hourly_usd < 0.001


LIST = """\
provider: some
region: eu-1
kind: gpu
gpus: 1
ownership: rented
includes_power: true
date: 2026-01-31
source: a page
currency: USD
device: H100 80GB
prices:
  - {id: some-h100, instance: big, memory_gib: 80, term: on_demand, price_per_hour: 24, instance_gpus: 8}
  - {id: some-h100-spot, instance: big, term: spot, usd_per_hour: 1.5, date: 2026-01-30}
"""


class TestLists:
    def test_an_entry_has_the_keys_beside_the_list_and_may_replace_them(self, tmp_path: Path) -> None:
        book = load_book(write(tmp_path, "some.yaml", LIST))
        first, spot = book["some-h100"], book["some-h100-spot"]
        assert (first.hourly_usd, first.provider, first.date) == (3.0, "some", dt.date(2026, 1, 31))
        assert first.name == "some big, one H100 80GB of 8, 80 GiB, eu-1, on demand"
        assert (spot.term, spot.date) == ("spot", dt.date(2026, 1, 30))

    @pytest.mark.parametrize(
        ("old", "new", "where"),
        [
            ("usd_per_hour: 1.5", "usd_per_hour: 99", "some.yaml:13: prices[1].usd_per_hour: 99 USD an hour"),
            ("term: spot", "trem: spot", "some.yaml:13: prices[1].trem: unknown key (did you mean 'term'?)"),
            (", usd_per_hour: 1.5", "", "some.yaml:13: prices[1].usd_per_hour: missing"),
            ("gpus: 1", "gpus: 0", "some.yaml:4: gpus: "),
            ("id: some-h100-spot", "id: Some H100", "some.yaml:13: prices[1].id: not an id"),
            ("id: some-h100-spot", "id: some-h100", "'some-h100' stands in some.yaml too"),
            ("2026-01-30", "2026-01-32", "some.yaml:13: prices[1].date: not a day"),
            ("currency: USD\n", "", "prices[0].currency: missing"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_line(
        self, tmp_path: Path, old: str, new: str, where: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            load_book(write(tmp_path, "some.yaml", LIST.replace(old, new)))
        assert where in str(caught.value)

    def test_an_id_stands_once_in_a_directory(self, tmp_path: Path) -> None:
        write(tmp_path, "some.yaml", LIST)
        one = yaml.safe_dump({**RENTED, "id": "some-h100"})
        with pytest.raises(ConfigError, match=r"'some-h100' stands in some-h100\.yaml too"):
            load_book(write(tmp_path, "some-h100.yaml", one))

    def test_one_wrong_price_hides_no_other(self, tmp_path: Path) -> None:
        write(tmp_path, "some.yaml", LIST.replace("usd_per_hour: 1.5", "usd_per_hour: 99"))
        book, errors = read_book(write(tmp_path, "box.yaml", "a: 1"))
        assert list(book) == ["some-h100"]
        assert len(errors) == 2


def test_importing_the_book_imports_neither_pydantic_nor_yaml_nor_torch() -> None:
    code = "import sys, bench.pricing.book; print({'pydantic', 'yaml', 'torch'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_examples_of_the_docs_are_prices(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "prices.md").read_text(encoding="utf-8")
    listed, owned = (block.partition("\n```")[0] for block in page.split("```yaml\n")[1:])
    book = load_book(write(tmp_path, "some-cloud.yaml", listed))
    assert f"{book['some-h100'].hourly_usd:.6g}" == "3.46332"
    assert book["some-h100-1y"].hourly_usd == pytest.approx(12410 / 730 * 1.1172 / 8)
    own = load_book(write(tmp_path, "my-workstation.yaml", owned))["my-workstation"]
    assert f"{own.hourly_usd:.4g} dollars, without power" in page
