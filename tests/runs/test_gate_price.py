"""By which prices a gate on commits charges: nothing that a branch declares makes it cheaper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.config.settings import RuntimeBlock, WorkloadBlock
from bench.config.spec import Arm, Group, Optimisation
from bench.models.reference import Named
from bench.optimisations.shared.cascading import Cloud, Edge
from bench.runs.gate_price import at_base_prices, charged_threads


def arm(engine: str, threads: int | None, *steps: Optimisation) -> Arm:
    runtime = RuntimeBlock(name=engine, threads=threads)
    return Arm("candidate", False, Named("smollm2-135m"), runtime, WorkloadBlock(), steps)


@pytest.mark.parametrize(
    ("engine", "base", "candidate", "charged"),
    [
        ("callable", None, 1, {"row": None}),
        ("command", 2, 1, {"row": 2}),
        ("callable", 1, 1, {}),
        ("callable", 1, 2, {}),  # more of the machine costs more
        ("callable", 2, None, {}),
        ("transformers", 2, 1, {}),  # which keeps to them
    ],
)
def test_own_code_is_charged_at_least_the_threads_of_its_base(
    engine: str, base: int | None, candidate: int | None, charged: dict[str, int | None]
) -> None:
    group = Group("row", arm(engine, base), (arm(engine, candidate),))
    assert charged_threads([group]) == charged


CLOUD = Cloud("https://a.example", "m", usd_per_1m_input=1.0, usd_per_1m_output=4.0)
EDGE = Edge("smollm2-135m", watts=10.0, usd_per_kwh=0.4, usd_per_hour=0.1)


def cascade(**params: Any) -> Optimisation:
    known = {"edge": EDGE, "threshold": 0.5, "egress_usd_per_gb": 0.1, "cloud": CLOUD, **params}
    return Optimisation("cascade", "margin", tuple(known.items()))


@pytest.mark.parametrize(
    ("cheaper", "counts"),
    [
        ({"egress_usd_per_gb": 0.0}, {}),
        ({"egress_usd_per_gb": 0.2}, {"egress_usd_per_gb": 0.2}),
        ({"edge": replace(EDGE, usd_per_hour=0.05)}, {}),
        ({"edge": replace(EDGE, watts=1.0)}, {}),
        ({"edge": replace(EDGE, model="other", usd_per_hour=0.05)}, {"edge": replace(EDGE, model="other")}),
        ({"edge": replace(EDGE, usd_per_hour=0.3)}, {"edge": replace(EDGE, usd_per_hour=0.3)}),
        (
            {"cloud": replace(CLOUD, usd_per_1m_input=2.0, usd_per_1m_output=1.0)},
            {"cloud": replace(CLOUD, usd_per_1m_input=2.0)},
        ),
        ({"cloud": replace(CLOUD, model="small", usd_per_1m_input=0.5)},
         {"cloud": replace(CLOUD, model="small", usd_per_1m_input=0.5)}),
        ({"threshold": 0.1, "egress_usd_per_gb": 0.0}, {"threshold": 0.1}),
    ],
)  # fmt: skip
def test_a_cascade_is_charged_the_prices_of_its_base_unless_its_own_are_higher(
    cheaper: dict[str, Any], counts: dict[str, Any]
) -> None:
    group = Group("row", arm("transformers", 1, cascade()), (arm("transformers", 1, cascade(**cheaper)),))
    (found,) = at_base_prices([group])
    assert found.variants[0].optimise == (cascade(**counts),)
    alone = Group("row", arm("transformers", 1), group.variants)
    assert at_base_prices([alone]) == (alone,), "without a cascade at the base there is no price to keep"
