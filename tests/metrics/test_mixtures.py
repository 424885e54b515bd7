"""Figures of a mixture of experts, by hand: what works on a token, what is read, how tokens are shared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import arm_record, loaded, run_record, timed_batch

from bench.metrics import expert_load, parameters, roofline
from bench.records import ArmRecord, Mixture, Sides
from bench.stats.figure import Figure

# Two layers of four experts, of which a token uses one: 600 of 1,000 parameters, 2,400 of 4,000 bytes.
MIXTURE = Mixture(layers=2, experts=8, chosen=1, parameters=600, stored_bytes=2400)
DENSE, MIXED = loaded(), replace(loaded(), mixture=MIXTURE)
PACKED = replace(MIXED, parameters=70, bytes_by_dtype={"uint8": 700}, weights_bytes=700)


def value(found: Figure | None) -> float | None:
    return None if found is None else found.value


def figures(arm: ArmRecord, base: ArmRecord | None = None) -> dict[str, float | None]:
    run = run_record(base or arm_record(loaded=MIXED), *([arm] if base else []))
    return {key: value(one) for key, one in parameters.figures(arm, run).items()}


def test_a_dense_model_uses_all_of_itself() -> None:
    found = figures(arm_record(loaded=DENSE))
    assert found == {
        "parameters": 1000, "active_parameters": 1000, "experts_bytes": None,
        "weights_read_bytes_per_token": 4000,
    }  # fmt: skip


def test_a_token_uses_one_expert_of_four() -> None:
    found = figures(arm_record(loaded=MIXED))
    assert found == {
        "parameters": 1000, "active_parameters": 400 + 150, "experts_bytes": 2400,
        "weights_read_bytes_per_token": 1600 + 600,
    }  # fmt: skip


def test_packed_weights_are_as_many_as_before() -> None:
    base = arm_record(loaded=MIXED)
    mixture = replace(MIXTURE, stored_bytes=420)
    found = figures(arm_record("v", loaded=replace(PACKED, mixture=mixture)), base)
    assert found["parameters"] == 1000
    assert found["active_parameters"] == 550
    assert found["weights_read_bytes_per_token"] == 280 + 105


def test_what_was_counted_before_packing_is_not_taken_from_another_model() -> None:
    """A row of another, smaller model; one that was pruned before it was packed; a packed baseline."""
    base, smaller = arm_record(loaded=MIXED), replace(PACKED, parameters=200, as_unpacked=True)
    for optimise in (("quantise: bnb-nf4",), ("prune: magnitude", "quantise: bnb-nf4")):
        row = arm_record("v", loaded=replace(smaller, mixture=None), optimise=optimise)
        assert figures(row, base)["parameters"] == figures(row, base)["active_parameters"] == 200
    assert figures(arm_record(loaded=replace(smaller, mixture=None)))["parameters"] == 200


def test_more_sequences_read_more_experts() -> None:
    """As if each chose at random: three of four are left out by one, 9 of 16 by both of two."""
    read = [parameters.read_bytes(MIXED, sequences) for sequences in (1, 2, 100)]
    assert read == pytest.approx([1600 + 2400 / 4, 1600 + 2400 * 7 / 16, 4000])


def test_a_row_without_a_model_has_no_figures() -> None:
    assert set(figures(arm_record(loaded=None)).values()) == {None}


def test_the_roofline_is_of_what_works() -> None:
    """Of a mixture a step reads fewer bytes, and a prompt multiplies with fewer parameters."""
    solo = (timed_batch(0, [1.0, 2.0], 2.0, [10], [[1, 2]]),)
    ceilings = {"memory_bytes_per_s": 1e6, "matmul_flop_per_s": 1e6}
    no_cache = {"kv_bytes_per_token": None}
    found = []
    for one in (loaded(**no_cache), replace(loaded(**no_cache), mixture=MIXTURE)):
        arm = arm_record(loaded=one, solo=solo, ceilings=ceilings)
        found.append({k: value(v) or 0.0 for k, v in roofline.figures(arm, run_record(arm)).items()})
    dense, mixed = found
    assert mixed["mbu"] / dense["mbu"] == pytest.approx(2200 / 4000)
    assert mixed["mfu"] / dense["mfu"] == pytest.approx(550 / 1000)


# ---- how tokens are shared ------------------------------------------------------------------------------

EVEN, UNEVEN = ((5, 5), (5, 5)), ((10, 0), (6, 4))


def load(arm: ArmRecord, *arms: ArmRecord) -> dict[str, float | None]:
    return {key: value(one) for key, one in expert_load.figures(arm, run_record(*arms)).items()}


def test_the_load_of_both_sides() -> None:
    """Parts of the text add up: (10, 0) twice and (6, 4) twice."""
    base = arm_record(loaded=MIXED)
    row = arm_record("v", loaded=MIXED, routed=(Sides(EVEN, UNEVEN), Sides(EVEN, UNEVEN)))
    assert load(row, base, row) == {
        "expert_load_max": pytest.approx((2.0 + 1.2) / 2),
        "experts_idle": 0.25,
        "expert_load_drift": pytest.approx((0.5 + 0.1) / 2),
    }
    assert load(base, base, row) == {"expert_load_max": 1.0, "experts_idle": 0.0, "expert_load_drift": None}


def test_other_experts_have_a_load_and_no_drift() -> None:
    base, row = arm_record(loaded=MIXED), arm_record("v", routed=(Sides(EVEN, ((10,), (10,))),))
    assert load(row, base, row) == {"expert_load_max": 1.0, "experts_idle": 0.0, "expert_load_drift": None}


@pytest.mark.parametrize("routed", [(), (Sides((), ()),), (Sides(EVEN, ((0, 0), (0, 0))),)])
def test_no_experts_no_load(routed: tuple[Sides[expert_load.Load], ...]) -> None:
    base, row = arm_record(loaded=DENSE), arm_record("v", loaded=DENSE, routed=routed)
    assert set(load(row, base, row).values()) == {None}
