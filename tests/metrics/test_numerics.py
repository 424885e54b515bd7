"""Numeric health and repetition as figures, and the flags that they raise in a row's sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import arm_record, loaded, run_record, timed_batch, unit

from bench.metrics import numerics, repetition
from bench.records import Activations, ArmRecord, RunRecord, Sides, Together, UnitRecord
from bench.records.determinism import fingerprint
from bench.results.summarise import summarise
from bench.stats.figure import Figure

WORDS = list(range(10, 30))
LOOP = [10, 11, 12, 13, *[7, 8] * 8]


def arm(name: str, *replies: list[int], **more: object) -> ArmRecord:
    solo = tuple(timed_batch(0, range(1, len(reply) + 1), 99, [1], [reply]) for reply in replies)
    return arm_record(name, solo=solo, **more)


def said(number: int, base: list[str], variant: list[str]) -> UnitRecord:
    found = unit([[9, 9]] * len(base), [[9, 9]] * len(variant), number=number)
    return replace(found, replies=Sides(tuple(base), tuple(variant)))


def figures(module: object, run: RunRecord, place: int) -> dict[str, Figure]:
    found = module.figures(run.arms[place], run)  # type: ignore[attr-defined]
    return {key: figure for key, figure in found.items() if figure is not None}


# ---- the same again ----------------------------------------------------------------------------------


def test_a_fingerprint_is_of_all_tokens() -> None:
    assert fingerprint([[1, 2], [3]]) == fingerprint(((1, 2), (3,)))
    assert (
        len({fingerprint(one) for one in ([[1, 2], [3]], [[1], [2, 3]], [[12], [3]], [[1, 2, 3]], [])}) == 5
    )


def test_batches_that_another_process_answers_otherwise_are_counted() -> None:
    ours, theirs = [WORDS, LOOP], [WORDS, WORDS]
    same = [fingerprint([reply]) for reply in ours]
    units = (
        said(1, [fingerprint([WORDS])] * 2, same),
        said(2, [fingerprint([WORDS])] * 2, [same[0], "other"]),
    )
    run = run_record(arm("baseline", *theirs), arm("v", *ours), units=units)
    base, variant = (figures(numerics, run, place)["changed_between_runs"] for place in (0, 1))
    assert (base.value, base.notes["n"]) == (0, 4)
    assert (variant.value, variant.notes["n"]) == (1, 4)


def test_units_without_fingerprints_say_nothing() -> None:
    run = run_record(arm("baseline", WORDS), arm("v", WORDS), units=[unit([[9, 9]], [[9, 9]])])
    assert figures(numerics, run, 1) == {}


def test_requests_that_get_another_reply_in_a_batch() -> None:
    run = run_record(arm("baseline", WORDS, together=Together(0, 0, "one request")),
                     arm("v", WORDS, together=Together(4, 1)))  # fmt: skip
    assert figures(numerics, run, 0) == {}
    found = figures(numerics, run, 1)["changed_in_batch"]
    assert (found.value, found.notes["n"]) == (1, 4)


# ---- logits ------------------------------------------------------------------------------------------


def test_the_reach_of_the_logits() -> None:
    """Two calls of windows: ranges 10 and 12 here, 5 and 6 in the baseline, twice its reach."""
    parts = (Sides(((-2.0, 3.0),), ((-4.0, 6.0),)), Sides(((-1.0, 5.0),), ((0.0, 12.0),)))
    run = run_record(arm("baseline"), arm("v", logits=parts))
    base, variant = (figures(numerics, run, place) for place in (0, 1))
    assert base["logit_range"].value == 5.5
    assert "logit_range_ratio" not in base
    assert variant["logit_range"].value == 11
    assert variant["logit_range_ratio"].value == 2


def test_logits_that_are_all_equal_have_no_ratio() -> None:
    run = run_record(arm("baseline"), arm("v", logits=(Sides(((0.0, 0.0),), ((0.0, 1.0),)),)))
    assert "logit_range_ratio" not in figures(numerics, run, 1)


# ---- activations -------------------------------------------------------------------------------------


def read(looked: int, reach: float = 0.5, **layers: int) -> Activations:
    return Activations("float16", looked, reach, layers)


def test_activations_at_the_end_of_their_format_are_added_up() -> None:
    """Two calls of windows beside one variant, one beside another: the baseline's are those of the first."""
    first = (Sides(read(50), read(60, 1.0, a=3, b=1)), Sides(read(50, 0.75), read(60, 1.0, b=4)))
    other = (Sides(read(50), None),)
    run = run_record(arm("baseline"), arm("v", activations=first), arm("w", activations=other))
    base, variant, none = (figures(numerics, run, place) for place in (0, 1, 2))
    assert none == {}
    assert (base["activations_saturated"].value, base["activations_saturated"].notes["n"]) == (0, 100)
    assert base["activation_reach"].value == 0.75
    found = variant["activations_saturated"]
    assert (found.value, found.notes["n"], found.notes["format"]) == (8, 120, "float16")
    assert found.notes["layers"] == {"b": 5, "a": 3}
    assert variant["activation_reach"].value == 1


def test_a_call_that_says_nothing_is_not_a_zero() -> None:
    parts = (Sides(None, read(60)), Sides(None, None))
    assert figures(numerics, run_record(arm("baseline"), arm("v", activations=parts)), 1) == {}


# ---- repetition --------------------------------------------------------------------------------------


def test_repetition_of_every_row() -> None:
    run = run_record(arm("baseline", WORDS, WORDS), arm("v", WORDS, LOOP))
    base, variant = (figures(repetition, run, place) for place in (0, 1))
    assert (base["repetition_rate"].value, base["collapsed_share"].value) == (0, 0)
    assert variant["repetition_rate"].value == pytest.approx(11 / 34)
    assert variant["collapsed_share"].value == 0.5
    assert (variant["collapsed_share"].notes["new"], variant["collapsed_share"].notes["gone"]) == (1, 0)


def test_what_is_no_reply_is_not_looked_at() -> None:
    random = arm("v", LOOP, loaded=loaded(random_weights=True))
    assert figures(repetition, run_record(arm("baseline", LOOP), random), 1) == {}
    short = arm("v", [1, 2, 3])
    assert figures(repetition, run_record(arm("baseline", [1, 2, 3]), short), 1) == {}


# ---- flags -------------------------------------------------------------------------------------------


def flags(run: RunRecord) -> tuple[str, ...]:
    return summarise(replace(run, arms=tuple(replace(one, loaded=None) for one in run.arms))).rows[1].flags


def test_a_sound_row_has_no_flag() -> None:
    rows = (arm(name, WORDS, together=Together(4, 0)) for name in ("baseline", "v"))
    same = [fingerprint([WORDS])]
    assert flags(run_record(*rows, units=[said(1, same, same)])) == ()


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        (arm("v", *[WORDS] * 6, together=Together(4, 2)), "2 of 4 requests get other replies in a batch"),
        (arm("v", *[LOOP] * 6), "6 of 6 replies end in a loop"),
        (
            arm("v", *[WORDS] * 6, activations=(Sides(None, read(90, 1.0, a=7)),)),
            "7 of 90 activations are at the end of float16",
        ),
        (arm("v", *[[*WORDS[:10], 2]] * 6, end_ids=(2,)), "0.50 times as long"),
        (arm("v", *[[2, *WORDS]] * 6, end_ids=(2,)), "every reply is empty: it ends at once"),
        (arm("v", *[WORDS] * 6, logits=(Sides(((0.0, 1.0),), ((0.0, 9.0),)),)), "reach 9 times as far"),
    ],
)
def test_each_doubt_is_a_flag(variant: ArmRecord, words: str) -> None:
    found = flags(run_record(arm("baseline", *[WORDS] * 6), variant))
    assert len(found) == 1
    assert words in found[0]


def test_a_row_that_is_not_deterministic() -> None:
    units = [said(1, [fingerprint([WORDS])], ["other"])]
    found = flags(run_record(arm("baseline", WORDS), arm("v", WORDS), units=units))
    assert found == ("not deterministic: 1 of 1 batches differ between two runs",)
