"""Shipped prices load, are dated and sourced; a wrong price file is refused with key, line and hint."""

import datetime as dt
import math
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from bench.errors import ConfigError, ExitCode, UsageError
from bench.pricing.book import HardwarePrice, find_price, load_book, parse_price

SHIPPED = Path(__file__).parents[2] / "configs" / "prices"
IDS = sorted(path.stem for path in SHIPPED.glob("*.yaml"))

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
        price = load_book(SHIPPED)[price_id]
        assert dt.date(2020, 1, 1) <= price.date <= dt.date.today()
        assert "http" in price.source or price.source.startswith("Declared by this project")
        assert price.note
        assert 0 < price.hourly_usd < 20

    @pytest.mark.parametrize("price_id", IDS)
    def test_an_owned_machine_says_its_watts_are_declared(self, price_id: str) -> None:
        price = load_book(SHIPPED)[price_id]
        if price.ownership == "owned":
            assert not price.includes_power
            assert "declared, not measured" in price.note

    @pytest.mark.parametrize("price_id", IDS)
    def test_the_block_kept_in_a_result_reads_back(self, price_id: str) -> None:
        price = load_book(SHIPPED)[price_id]
        kept = {**asdict(price), "date": price.date.isoformat()}
        assert parse_price(kept, "run.json") == price


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

    def test_pue_below_one(self) -> None:
        assert refusal({**OWNED, "pue": 0.9}).key == "pue"

    def test_a_rent_per_month_is_recognised(self) -> None:
        assert "per month" in str(refusal({**RENTED, "usd_per_hour": 2912.7}))

    def test_the_largest_rent_is_still_a_rent(self) -> None:
        assert parse_price({**RENTED, "usd_per_hour": 1000}, "box.yaml").hourly_usd == 1000

    @pytest.mark.parametrize("currency", ["EUR", "usd", "", 1])
    def test_another_currency(self, currency: object) -> None:
        error = refusal({**RENTED, "currency": currency})
        assert error.key == "currency"
        assert "convert to USD" in error.hint

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
            (GOOD + "\nvcpus: 4", "box.yaml:11: vcpus: given twice (first on line 10)"),
            (GOOD.replace("2026-01-31", "2026-02-30"), "box.yaml:5: date: not a day"),
            (GOOD.replace("usd_per_hour: 0.1", "usd_per_hour: .nan"), "box.yaml:9: usd_per_hour: "),
            (GOOD.replace("id: box", "id: bax"), "box.yaml:1: id: is 'bax', the file 'box'"),
            ("a: [1]", "box.yaml:1: a: not a single value"),
            ("- a list", "not a mapping"),
            ("", "not a mapping"),
            ("a: [", "box.yaml:1: not readable"),
            ("a: !!python/name:os.system x", "box.yaml:1: not readable"),
            ("a: !!int x", "not readable"),
            ("a: " + "[" * 20_000, "not readable"),
            ("#" * 70_000, "larger than"),
        ],
    )
    def test_a_bad_file_is_named_with_its_line(self, tmp_path: Path, text: str, where: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load_book(write(tmp_path, "box.yaml", text))
        assert where in str(caught.value)

    def test_a_directory_without_prices(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no price files"):
            load_book(tmp_path / "nowhere")

    def test_an_unknown_id_is_told_its_nearest(self) -> None:
        with pytest.raises(UsageError, match=r"no price called 'h100' \(did you mean 'h100-80gb'\?\)"):
            find_price({"h100-80gb": parse_price(RENTED, "x"), "a": parse_price(RENTED, "x")}, "h100")

    def test_an_id_like_no_other_is_told_them_all(self) -> None:
        with pytest.raises(UsageError, match="known: b, box"):
            find_price({"box": parse_price(RENTED, "x"), "b": parse_price(RENTED, "x")}, "quantum")

    def test_a_known_id(self) -> None:
        price = parse_price(RENTED, "x")
        assert find_price({"box": price}, "box") is price


def test_importing_the_book_imports_neither_pydantic_nor_yaml_nor_torch() -> None:
    code = "import sys, bench.pricing.book; print({'pydantic', 'yaml', 'torch'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
