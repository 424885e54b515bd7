"""A request of a cascade is paid to the edge device, to the cloud, and for what leaves the cloud."""

from __future__ import annotations

import pytest

from bench.pricing.cascade_cost import bill, rates
from bench.pricing.cost import Price
from bench.records import Cascaded

TERMS = {"edge_usd_per_hour": 0.018, "egress_usd_per_gb": 0.09}
STAYED = Cascaded(-0.1, escalated=False, edge_s=2.0)
WENT = Cascaded(-2.0, True, 2.0, cloud_s=4.0, link_s=0.1, sent_bytes=300, received_bytes=1000)
LOST = Cascaded(-2.0, True, 2.0, cloud_s=4.0, link_s=0.1, sent_bytes=300, offline=True)


@pytest.mark.parametrize(
    ("price", "per_s"),
    [
        (Price(0.36), 1e-4),
        (Price(0.36, devices=0.5, utilisation=0.25), 2e-4),
        (Price(0.36, usd_per_kwh=0.36, power_watts=1000, power_basis="declared"), 2e-4),
    ],
)
def test_each_is_paid_for_its_own_seconds(price: Price, per_s: float) -> None:
    by = rates(TERMS, price)
    assert by.cloud_usd_per_s == pytest.approx(per_s)
    found = bill([STAYED, WENT], by)
    assert found.edge_usd == pytest.approx(4 * 5e-6)
    assert found.cloud_usd == pytest.approx(4 * per_s)
    assert found.egress_usd == pytest.approx(1000 * 0.09 / 1e9)
    assert found.usd == pytest.approx(found.edge_usd + found.cloud_usd + found.egress_usd)


def test_an_answer_that_was_lost_is_paid_for() -> None:
    found = bill([LOST], rates(TERMS, Price(0.36)))
    assert found.cloud_usd == pytest.approx(4e-4)
    assert found.egress_usd == 0
