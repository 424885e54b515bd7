"""``bench compare RUN --drift``: every kind of figure is there, and what was not measured is left out."""

from __future__ import annotations

from dataclasses import replace

from fakes import arm_record, drift_window, run_record, timed_batch, unit

from bench.records import ArmRecord, DriftWindow, RunRecord, Sides, SuiteAnswers, Together
from bench.report.drift_pages import NONE, render
from bench.results.summarise import summarise

WORDS = list(range(10, 40))


def window(number: int) -> DriftWindow:
    kld = [0.01 * (number + place) for place in range(8)]
    plain = drift_window(
        kld,
        [1, 0] * 4,
        [-1.0 - 0.1 * place for place in range(8)],
        [-1.2 - 0.2 * (place % 3) for place in range(8)],
    )
    return replace(plain, kinds="lllldpcc", more={"reverse-kl": tuple(kld)})


def arm(name: str, *replies: list[int], **more: object) -> ArmRecord:
    solo = tuple(timed_batch(0, range(1, len(reply) + 1), 99, [1], [reply]) for reply in replies)
    return arm_record(name, solo=solo, loaded=None, **more)


def run() -> RunRecord:
    base = arm("baseline", *[WORDS] * 6, floor=(window(0),), floors={"batch": (window(1),)})
    variant = arm(
        "v", *[WORDS] * 3, *[[*WORDS[:9], 7, *WORDS[10:]]] * 3, drift=tuple(map(window, range(6))),
        logits=(Sides(((0.0, 2.0),) * 6, ((0.0, 5.0),) * 6),), together=Together(4, 1),
    )  # fmt: skip
    said = replace(unit([[9, 9]], [[9, 9]]), replies=Sides(("a",), ("b",)))
    found = run_record(base, variant, units=[said])
    return replace(found, spec={"drift": {"window": 9, "tokens": 54}}, text={"name": "mixed"})


def test_every_figure_has_its_line() -> None:
    page = render(summarise(run()))
    for words in (
        "48 positions in 6 windows of 9 (mixed)", "KL(base‖variant)    0.0600 ±", "99.9 %", "noise floor",
        "other shapes 0.0350", "in a batch 0.0450", "quarter 1", "latin", "cjk", "digits", "kld_reverse_mean",
        "same next token", "Δp mean", "ln PPL ratio", "correlation", "PPL change", "half differ by token 10",
        "still the same after 10: 50.0%", "edit distance", "length ratio", "end in a loop", "logit range",
        "2.50 times the baseline's", "other process", "1 of 1 batches differ", "1 of 4 requests differ",
        "flag",
    ):  # fmt: skip
        assert words in page, words
    assert "top10_overlap" not in page
    assert max(map(len, page.splitlines())) < 200


def test_a_run_without_drift_says_so() -> None:
    assert render(summarise(run_record(arm("baseline")))) == NONE
    only = render(summarise(run_record(arm("baseline", WORDS), arm("v", WORDS))))
    assert "same replies" in only
    assert "KL(" not in only


def test_each_test_of_a_suite_has_its_line() -> None:
    some = tuple({"id": f"r{k}", "lang": "en", "prompt": "p", "refuse": k < 100} for k in range(200))
    base = SuiteAnswers("d", replies=("I cannot",) * 60 + ("Sure",) * 140, items=some)
    ours = SuiteAnswers("d", replies=("Sure",) * 200)
    page = render(
        summarise(run_record(arm_record(suites={"refusal": base}), arm_record("v", suites={"refusal": ours})))
    )
    alone = "not corrected for other tests"
    assert [line.removeprefix("  suite").strip() for line in page.splitlines()[1:]] == [
        "refusal of harmful requests: -0.600 [-0.691, -0.495], 0 gained, 60 lost of 100; "
        f"p = 1.7e-18, {alone}: worse",
        "answers to harmless requests: 0 [-0.0370, 0.0370], 0 gained, 0 lost of 100; "
        f"p = 1, {alone}: cannot tell",
    ]
