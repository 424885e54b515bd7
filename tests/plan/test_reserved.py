"""A reserved price is only that of machines of the plan: the hours of two machines were added up as one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.errors import UsageError
from bench.plan.fleet import Slo, Stream
from bench.plan.option_cost import pays_from, planned
from bench.plan.options import Option
from bench.plan.pass_times import MeasuredSteps
from bench.plan.plan_result import Plan
from bench.plan.reserved import must_be_reserved, must_fit, same_machine
from bench.pricing.book import price_called
from bench.pricing.hardware import parse_price
from bench.pricing.reprice import own_price

DAY = Stream(1e6, 40, 16)


def option(title: str, price_id: str) -> Option:
    price = price_called(price_id)
    steps = MeasuredSteps(0.001, ((1, 0.03),))
    return Option(title, price_id, steps, price.hourly_usd, 1.0, "not measured", price=price)


@pytest.mark.parametrize(
    ("reserved", "other", "fits"),
    [
        ("digitalocean-h200-1y", "h200-141gb", True),  # H200 141GB SXM, and H200 141GB
        ("gcp-a3-highgpu-8g-3y", "h100-80gb", True),
        ("gcp-a3-highgpu-8g-3y", "scaleway-h100-pcie", False),
        ("gcp-g2-standard-4-3y", "h100-80gb", False),  # an L4
        ("gcp-g2-standard-4-3y", "cloud-2vcpu-8gb", False),
        ("alibaba-cn-c9i-large", "cloud-2vcpu-8gb", True),  # both 2 vCPU of Intel
        ("alibaba-cn-c9i-xlarge", "cloud-2vcpu-8gb", False),  # 4 vCPU
        ("aws-m6a-xlarge-3y", "cloud-4vcpu-16gb", False),  # AMD beside Intel
        ("aws-m6a-xlarge-3y", "aws-m6a-xlarge", True),
    ],
)
def test_which_machines_stand_beside_each_other(reserved: str, other: str, fits: bool) -> None:
    price, beside = price_called(reserved), price_called(other)
    assert same_machine(price, beside) == fits
    if fits:
        must_fit(price, [beside])
        return
    with pytest.raises(UsageError, match="must be of one kind"):
        must_fit(price, [beside])


def test_a_price_of_a_user_fits_any_of_its_kind() -> None:
    given = parse_price(own_price(0.2, "2026-11-20", 4), "given")
    assert same_machine(price_called("aws-m6a-xlarge-3y"), given)
    assert not same_machine(price_called("aws-m6a-2xlarge-3y"), given)


def test_a_price_by_the_hour_is_not_reserved() -> None:
    for price_id in ("h100-80gb", "gcp-a3-highgpu-8g-spot", "own-2core-desktop"):
        with pytest.raises(UsageError, match="is no reserved price"):
            must_be_reserved(price_called(price_id))
    must_be_reserved(price_called("aws-m6a-xlarge-3y"))


def test_only_options_on_such_a_machine_are_reserved() -> None:
    options = (option("large", "h100-80gb"), option("small", "l4-24gb"))
    plan = Plan("a plan", ("a price",), DAY, Slo(), options, (), ())
    cheap = replace(price_called("gcp-a3-highgpu-8g-3y"), usd_per_hour=1.0)
    large, small = plan.reserving(cheap).options
    assert (large.reserved_usd, small.reserved_usd) == (1.0, None)
    with pytest.raises(UsageError, match="aws-m6a-xlarge-3y is a price of 4 vCPU"):
        plan.reserving(price_called("aws-m6a-xlarge-3y"))


def test_the_first_server_that_beats_an_api_has_the_reserved_price() -> None:
    """One that is dearer than the price by the hour changes nothing."""
    by_the_hour = option("large", "h100-80gb")

    def volume(reserved_usd: float | None) -> float | None:
        return pays_from(planned(replace(by_the_hour, reserved_usd=reserved_usd), DAY, Slo()), DAY, 1e-2)

    dollars = by_the_hour.machine_usd
    assert volume(None) == volume(2 * dollars) == pytest.approx(dollars * 24 / 1e-2)
    assert volume(dollars / 4) == pytest.approx(dollars / 4 * 24 / 1e-2)
