"""``bench prices``: what is listed, what a page says, and what a check finds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import list_commands, price_pages  # noqa: F401 - list_commands registers the command
from bench.cli.main_commands import app
from bench.cli.price_pages import Wanted, as_data, check, listing, page
from bench.config.reader import read_config
from bench.errors import ConfigError, ExitCode, UsageError
from bench.pricing.book import default_book, price_called
from bench.pricing.hardware import parse_price
from tests.pricing.test_book import LIST

TODAY = "2026-11-27"
BOOK = default_book()


def ids(wanted: Wanted) -> list[str]:
    return [one["id"] for one in json.loads(listing(wanted, TODAY, as_json=True))]


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of prices of one's own, read before the shipped ones."""
    (tmp_path / "configs" / "prices").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "configs" / "prices"


def test_everything_is_listed_once() -> None:
    found = ids(Wanted())
    assert sorted(found) == sorted(BOOK)
    text = listing(Wanted(), TODAY, as_json=False)
    assert [line.split()[0] for line in text.splitlines()[1 : len(BOOK) + 1]] == found
    assert f"{len(BOOK)} prices" in text
    assert "older than 180 days (3)" in text


@pytest.mark.parametrize(
    ("wanted", "some", "none"),
    [
        (Wanted(kind="gpu"), "h100-80gb", "cloud-2vcpu-8gb"),
        (Wanted(provider="gcp"), "gcp-c4-standard-8", "h100-80gb"),
        (Wanted(term="spot"), "gcp-c4-standard-8-spot", "gcp-c4-standard-8"),
        (Wanted(term="on-demand"), "gcp-c4-standard-8", "gcp-c4-standard-8-spot"),
        (Wanted(device="h100"), "aws-p5-48xlarge", "aws-p5en-48xlarge"),
        (Wanted(device="L4"), "aws-g6-xlarge", "aws-g6e-xlarge"),
        (Wanted(device="A10"), "lambda-a10", "aws-g5-xlarge"),
        (Wanted(device="H100-80GB"), "h100-80gb", "azure-nc40ads-h100-v5"),
        (Wanted(device="m8g"), "aws-m8g-large", "aws-m7i-large"),
        (Wanted(kind="cpu", provider="aws", term="reserved"), "aws-m6a-xlarge-3y", "aws-m6a-xlarge"),
    ],
)
def test_a_choice(wanted: Wanted, some: str, none: str) -> None:
    found = ids(wanted)
    assert some in found
    assert none not in found


def test_the_cheapest_comes_first() -> None:
    each = [BOOK[one].unit_usd for one in ids(Wanted(device="h100"))]
    assert each == sorted(each)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(kind="tpu"), r"no kind called 'tpu' \(did you mean '?"),
        (Wanted(provider="awz"), "did you mean 'aws'"),
        (Wanted(term="sport"), "did you mean 'spot'"),
        (Wanted(device="tpu v5"), "devices: .*H100 80GB SXM"),
        (Wanted(device="h100", provider="alibaba"), "no price is like that"),
    ],
)
def test_a_choice_of_nothing_says_what_there_is(wanted: Wanted, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        listing(wanted, TODAY, as_json=False)


@pytest.mark.parametrize("price_id", sorted(BOOK))
def test_a_page_has_every_key_the_source_and_the_hour(price_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a book that was read once: there are pages by the hundred."""
    monkeypatch.setattr(price_pages, "default_book", lambda: BOOK)
    text, data = page(price_id, TODAY, as_json=False), json.loads(page(price_id, TODAY, as_json=True))
    flat = " ".join(text.split())
    assert " ".join(BOOK[price_id].source.split()) in flat
    assert data["formula"] in flat
    assert data["numbers"] in flat
    for key in data.keys() & BOOK[price_id].__dataclass_fields__.keys() - {"id", "name"}:
        assert re.search(rf"(?m)^  {key} ", text), key
    assert data == as_data(BOOK[price_id], TODAY)
    assert f"{data['age_days']} days on {TODAY}" in flat


def test_a_price_without_a_note_has_no_empty_line_for_one(prices: Path) -> None:
    (prices / "some.yaml").write_text(LIST)
    assert not re.search(r"(?m)^  note\s*$", page("some-h100", TODAY, as_json=False))


def test_the_keys_of_the_json_are_a_price_again() -> None:
    data = as_data(BOOK["scaleway-l40s"], TODAY)
    kept = {key: value for key, value in data.items() if key in BOOK["scaleway-l40s"].__dataclass_fields__}
    assert parse_price(kept, "json") == BOOK["scaleway-l40s"]


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'aws-m7i-large'"):
        page("aws-m7i-lage", TODAY, as_json=False)


def test_a_check_of_what_is_shipped() -> None:
    assert f"{len(BOOK)} prices read" in check(TODAY)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("usd_per_hour: 1.5", "usd_per_hour: 99", "99 USD an hour per GPU"),
        ("date: 2026-01-31", "date: 2026-11-28", "date: 2026-11-28 is after today, 2026-11-27"),
        ("currency: USD", "currency: EUR", "usd_per_unit: missing"),
        ("id: some-h100-spot", "id: some-h100", "stands in some.yaml too"),
    ],
)
def test_a_check_finds_what_is_wrong(prices: Path, old: str, new: str, words: str) -> None:
    (prices / "some.yaml").write_text(LIST.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        check(TODAY)
    assert words in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_check_says_all_that_is_wrong(prices: Path) -> None:
    (prices / "some.yaml").write_text(LIST.replace("usd_per_hour: 1.5", "usd_per_hour: 99"))
    (prices / "other.yaml").write_text("a: 1")
    with pytest.raises(ConfigError) as caught:
        check(TODAY)
    assert len(str(caught.value).splitlines()) == 2


def test_a_wrong_file_is_in_the_way_of_its_own_prices_only(prices: Path) -> None:
    (prices / "some.yaml").write_text(LIST.replace("usd_per_hour: 1.5", "usd_per_hour: 99"))
    assert price_called("aws-m7i-large") == BOOK["aws-m7i-large"]
    with pytest.raises(ConfigError):
        price_called("some-h100")
    with pytest.raises(UsageError, match=r"no price called 'h10' \(did you mean.*broken: .*some.yaml"):
        price_called("h10")
    done = CliRunner().invoke(app, ["list", "prices"])
    assert done.exit_code == 0
    assert "some.yaml" in done.stderr
    assert "aws-m7i-large" in done.stdout
    assert CliRunner().invoke(app, ["schema"]).exit_code == 0


@pytest.mark.parametrize(
    "words", [["h100-80gb", "--kind", "gpu"], ["--check", "--json"], ["--check", "--term", "spot"]]
)
def test_one_thing_at_a_time(words: list[str]) -> None:
    done = CliRunner().invoke(app, ["prices", *words])
    assert isinstance(done.exception, UsageError)


def test_the_command_writes_what_the_functions_return() -> None:
    done = CliRunner().invoke(app, ["prices", "--device", "h200", "--json"])
    assert done.exit_code == 0
    assert {one["device"] for one in json.loads(done.stdout)} == {"H200 141GB SXM", "H200 141GB"}
    assert CliRunner().invoke(app, ["prices", "--check"]).exit_code == 0


def test_a_plan_warns_of_a_spot_price(tmp_path: Path) -> None:
    from bench.cli.check import describe

    (tmp_path / "x.yaml").write_text(
        "model: {random: smollm2-135m, layers: 1}\nprice: {hardware: gcp-c4-standard-8-spot}\n"
    )
    assert "it moves" in describe(read_config(tmp_path / "x.yaml"))


@pytest.mark.parametrize("words", ["['prices']", "['prices', 'h100-80gb']", "['list', 'prices']"])
def test_torch_is_never_imported(words: str) -> None:
    imports = "from bench.cli import list_commands; from bench.cli.main_commands import app"
    code = f"import sys; {imports}; app({words}, standalone_mode=False); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
