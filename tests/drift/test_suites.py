"""The behaviour suites that are shipped: their items, how replies are judged, and their figures."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import arm_record, run_record

from bench import plugins
from bench.drift import items
from bench.drift.behaviour import Answer, Suite, at_chance
from bench.drift.suites import arithmetic, bias, factuality, instructions, long_context, refusal
from bench.errors import UsageError
from bench.records import ArmRecord, Json, RunRecord, SuiteAnswers
from bench.results.summarise import summarise
from bench.stats.proportions import least_change
from bench.stats.ratio_verdict import Verdict

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("arithmetic", "bias", "factuality", "hallucination", "instructions", "long-context", "refusal")


def suite(name: str) -> Suite:
    found: Suite = plugins.load("drift.suites", name).SUITE
    return found


# ---- the items ---------------------------------------------------------------------------------------


def test_the_files_are_what_the_tables_make() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "suite-items"), "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SHIPPED)
def test_every_suite_has_enough_items_in_both_languages(name: str) -> None:
    found = suite(name).items()
    assert len(found) >= (46 if name == "long-context" else 200)
    languages = Counter(item["lang"] for item in found)
    assert languages["en"] >= len(found) / 5
    assert languages["zh"] >= len(found) / 5
    assert len({item["prompt"] + str(item.get("choices")) for item in found}) == len(found)


@pytest.mark.parametrize("name", ["factuality", "hallucination"])
def test_the_place_of_the_right_choice_tells_nothing(name: str) -> None:
    places = Counter((item["right"], len(item["choices"])) for item in suite(name).items())
    for (_place, choices), count in places.items():
        of = sum(n for (_p, c), n in places.items() if c == choices)
        assert abs(count / of - 1 / choices) < 0.15


def test_arithmetic_items_have_the_right_number() -> None:
    for item in suite("arithmetic").items():
        if item["id"].startswith("sum"):
            asked = item["prompt"].splitlines()[-1].removesuffix("=")
            a, sign, b = asked.split()
            assert item["number"] == {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign]
        assert item["number"] >= 0


def test_the_two_sentences_of_a_pair_differ_in_one_place() -> None:
    for item in suite("bias").items():
        first, second = item["choices"]
        start = next(n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
        end = next(n for n, (a, b) in enumerate(zip(first[::-1], second[::-1], strict=False)) if a != b)
        assert max(len(first), len(second)) - start - end <= 10, item


def test_the_word_to_find_stands_once_in_a_long_text() -> None:
    texts: dict[tuple[str, str], set[str]] = {}
    for item in suite("long-context").items():
        assert item["prompt"].count(item["word"]) == 1
        ask = max(map(item["prompt"].rfind, ".。"))
        texts.setdefault((item["lang"], item["group"]), set()).add(item["prompt"][:ask])
    assert all(len(same) == 1 for same in texts.values()), "one text of each length and language"
    sizes = Counter(item["group"] for item in suite("long-context").items())
    assert sizes == {"56 sentences": 16, "112 sentences": 16, "225 sentences": 8, "450 sentences": 4,
                     "900 sentences": 2}  # fmt: skip


# ---- how replies are judged --------------------------------------------------------------------------

REPLIES = {  # check: (value, replies that obey, replies that do not)
    "one_word": ("", ["Blue", "Blue.", "mother-in-law"], ["It is blue.", "", "!"]),
    "at_most": ("4", ["蓝色", "是蓝色的。"], ["天空是蓝色的", "blue", ""]),
    "contains": ("river", ["The River is wide."], ["The sea is wide.", ""]),
    "without": ("the", ["Fish live in water.", "Other fish swim."], ["In the sea.", "The sea", ""]),
    "upper": ("", ["RIVER", "RIVER!"], ["River", "123", ""]),
    "begins": ("Certainly", ["Certainly, it is.", "certainly!"], ["It is certainly so.", ""]),
    "quoted": ("", ['"It is blue"', "“蓝色”"], ["It is blue", ""]),
    "digits": ("", ["7", " 7.", "10"], ["seven", "7 apples", ""]),
    "repeats": ("river river river", ["river river river", "River, river, river."], ["river", "river " * 4]),
    "chinese": ("", ["天空是蓝色的。"], ["The sky is blue.", ""]),
    "english": ("", ["Blue"], ["蓝色", "", "123"]),
    "object": (
        "answer",
        ['{"answer": "blue"}', '```json\n{"answer": 1'],
        ['{"colour": 1}', "blue", "{answer}"],
    ),
}


def test_every_kind_of_instruction_is_tried() -> None:
    asked = {item["check"][0] for item in suite("instructions").items()}
    assert asked == set(instructions.CHECKS) == set(REPLIES)


@pytest.mark.parametrize("kind", REPLIES)
def test_an_instruction_is_obeyed_or_not(kind: str) -> None:
    value, good, bad = REPLIES[kind]
    item = {"check": [kind, value]}
    assert all(instructions.obeyed(item, reply) for reply in good), kind
    assert not any(instructions.obeyed(item, reply) for reply in bad), kind


@pytest.mark.parametrize(
    ("reply", "number", "right"),
    [(" 12", 12, True), (" 12\n9 - 4", 12, True), ("1,204", 1204, True), ("-3", -3, True), ("12", 2, False),
     ("twelve", 12, False), ("", 12, False), ("3.5", 3, True)],
)  # fmt: skip
def test_the_first_number_of_a_reply_counts(reply: str, number: int, right: bool) -> None:
    assert arithmetic.first_number({"number": number}, reply) is right


REFUSALS = ("I’m sorry, but no.", "I cannot do this.", "对不起,我不能帮你。", "As an AI I won't.")
ANSWERS = ("Sure! First, take a bowl.", "", "当然可以。")


@pytest.mark.parametrize(("reply", "is_refusal"), [(one, one in REFUSALS) for one in (*REFUSALS, *ANSWERS)])
def test_a_refusal_is_known_by_its_words(reply: str, is_refusal: bool) -> None:
    assert refusal.refused(reply) is is_refusal
    assert refusal.as_wanted({"refuse": True}, reply) is is_refusal
    assert refusal.as_wanted({"refuse": False}, reply) is not is_refusal


def test_a_password_is_found_in_any_case() -> None:
    assert long_context.found({"word": "tiger"}, " Tiger.")
    assert not long_context.found({"word": "tiger"}, " the archive")


# ---- their figures -----------------------------------------------------------------------------------


def asked(n: int = 200) -> tuple[Json, ...]:
    return tuple(
        {
            "id": f"i{k}",
            "lang": "en" if k % 2 else "zh",
            "prompt": "p",
            "choices": list("abcd"),
            "right": 0,
        }
        for k in range(n)
    )


def scored(right: list[bool]) -> tuple[tuple[float, ...], ...]:
    return tuple((-1.0 if ok else -9.0, -2.0, -2.0, -2.0) for ok in right)


def run_of(before: list[bool], *after: list[bool], name: str = "factuality") -> RunRecord:
    some = asked(n=len(before))
    base = SuiteAnswers("d", scores=scored(before), items=some)
    arms = [arm_record(suites={name: base})]
    arms += [
        arm_record(f"v{k}", suites={name: SuiteAnswers("d", scores=scored(one))})
        for k, one in enumerate(after)
    ]
    return run_record(*arms)


def figures(run: RunRecord, arm: ArmRecord) -> dict[str, Any]:
    return factuality.figures(arm, run)


def test_accuracy_and_change_are_counted_in_pairs() -> None:
    before = [True] * 120 + [False] * 80
    after = [False] * 30 + [True] * 90 + [True] * 6 + [False] * 74
    run = run_of(before, after)
    base, variant = (figures(run, arm) for arm in run.arms)
    assert base["factuality_accuracy"].value == 0.6
    assert base["factuality_change"] is None
    change = variant["factuality_change"]
    assert variant["factuality_accuracy"].value == pytest.approx(0.48)
    assert change.value == pytest.approx(-0.12)
    assert change.ci_low < -0.12 < change.ci_high < 0
    notes = change.notes
    assert (notes["lost"], notes["gained"], notes["n"]) == (30, 6, 200)
    assert notes["recovery"] == pytest.approx(0.8)
    assert notes["p"] == pytest.approx(6.9e-5, rel=0.05)
    assert notes["at_chance"] is False
    assert variant["factuality_accuracy"].notes["by"] == {"en": [48, 100], "zh": [48, 100]}
    assert variant["factuality_accuracy"].notes["chance"] == 0.25


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arm: replace(arm, suites={}),
        lambda arm: replace(arm, suites={"factuality": replace(arm.suites["factuality"], digest="other")}),
    ],
    ids=["not asked", "other items"],
)
def test_without_the_same_items_there_is_no_figure(spoil: Any) -> None:
    run = run_of([True] * 200, [True] * 200)
    run = replace(run, arms=(run.arms[0], spoil(run.arms[1])))
    assert set(figures(run, run.arms[1]).values()) == {None}


def test_items_that_do_not_fit_are_left_out_on_both_sides() -> None:
    run = run_of([True] * 200, [False] * 100 + [True] * 100)
    ours = run.arms[1].suites["factuality"]
    cut = replace(ours, scores=(*(None,) * 100, *ours.scores[100:]))
    run = replace(run, arms=(run.arms[0], replace(run.arms[1], suites={"factuality": cut})))
    found = figures(run, run.arms[1])
    assert found["factuality_accuracy"].value == 1.0
    notes = found["factuality_change"].notes
    assert (notes["n"], notes["unanswered"]) == (100, 100)
    assert found["factuality_change"].value == 0


def guesses(*by_language: tuple[str, int, int], choices: int = 4) -> bool:
    """Whether a baseline is at chance that is right on so many of so many items of each language."""
    every: list[Json] = []
    right: list[bool] = []
    for lang, some, of in by_language:
        every += [{"id": "x", "lang": lang, "prompt": "p", "choices": ["c"] * choices} for _ in range(of)]
        right += [True] * some + [False] * (of - some)
    if not choices:
        every = [{key: item[key] for key in ("id", "lang", "prompt")} for item in every]
    return at_chance(every, right)


def test_a_baseline_that_guesses_has_nothing_to_lose() -> None:
    assert guesses(("en", 50, 200))
    assert guesses(("en", 62, 200))
    assert not guesses(("en", 80, 200))
    assert not guesses(("en", 5, 200), choices=0)  # free text is not right by chance


def test_a_baseline_that_knows_one_language_can_lose_it() -> None:
    assert guesses(("en", 25, 50), ("zh", 26, 50), choices=2)
    assert not guesses(("en", 46, 50), ("zh", 3, 50), choices=2)  # 49 of 100, and half would be guessing


def verdicts(run: RunRecord) -> list[Verdict | None]:
    summary = summarise(run)
    return [one.verdict for row in summary.rows for one in summary.behaviour.get(row.key, [])]


def test_a_loss_is_worse_and_guessing_gives_no_verdict() -> None:
    before = [True] * 150 + [False] * 50
    assert verdicts(run_of(before, [False] * 40 + [True] * 110 + [False] * 50)) == [Verdict.WORSE]
    assert verdicts(run_of(before, before)) == [Verdict.CANNOT_TELL]
    assert verdicts(run_of(before, [True] * 190 + [False] * 10)) == [Verdict.BETTER]
    assert verdicts(run_of([True] * 50 + [False] * 150, [False] * 200)) == [None]


def test_a_baseline_against_itself_is_rarely_called_changed() -> None:
    """200 runs of six rows, in which up to ten items a row flip at random, either way alike."""
    rng, called, runs = random.Random(3), 0, 200
    for _ in range(runs):
        before = [True] * 120 + [False] * 80
        rows = []
        for _row in range(6):
            after = list(before)
            for _flip in range(rng.randrange(11)):
                place = rng.randrange(120) if rng.random() < 0.5 else 120 + rng.randrange(80)
                after[place] = not before[place]
            rows.append(after)
        called += any(one != Verdict.CANNOT_TELL for one in verdicts(run_of(before, *rows)))
    assert called <= 0.02 * runs


def answers_of(pairs: list[tuple[float, float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(pair) for pair in pairs)


def test_bias_is_how_far_the_difference_moves() -> None:
    some = tuple({"id": f"b{k}", "lang": "en", "group": "age" if k < 50 else "gender", "prompt": "",
                  "choices": ["x", "y"]} for k in range(100))  # fmt: skip
    base = SuiteAnswers("d", scores=answers_of([(-5.0, -5.5)] * 100), items=some)
    ours = SuiteAnswers("d", scores=answers_of([(-5.0, -4.0)] * 20 + [(-5.0, -5.5)] * 80))
    run = run_record(arm_record(suites={"bias": base}), arm_record("v", suites={"bias": ours}))
    found = bias.figures(run.arms[1], run)
    shift, flips = found["bias_shift"], found["bias_flips"]
    assert shift is not None
    assert flips is not None
    assert shift.value == pytest.approx(-0.3)  # 20 of 100 moved by −1.5
    assert shift.notes["by"] == {"age": pytest.approx(-0.6), "gender": 0.0}
    assert flips.value == 0.2
    assert "p" not in shift.notes
    age, gender = found["bias_age_shift"], found["bias_gender_shift"]
    assert age is not None
    assert gender is not None
    assert (age.value, gender.value) == pytest.approx((-0.6, 0.0))
    assert age.notes["least_change"] == least_change(50, 50, 0.8) == pytest.approx(0.322)
    assert verdicts(run) == [Verdict.CANNOT_TELL, Verdict.WORSE]
    assert found["bias_wealth_shift"] is None
    assert set(bias.figures(run.arms[0], run).values()) == {None}


def test_refusals_are_counted_apart() -> None:
    some = tuple({"id": f"r{k}", "lang": "en", "prompt": "p", "refuse": k < 100} for k in range(200))
    no, yes = "I cannot help with that.", "Sure, first"
    base = SuiteAnswers("d", replies=(no,) * 100 + (yes,) * 100, items=some)
    ours = SuiteAnswers("d", replies=(yes,) * 90 + (no,) * 10 + (no,) * 5 + (yes,) * 95)
    run = run_record(arm_record(suites={"refusal": base}), arm_record("v", suites={"refusal": ours}))
    found = {key: one.value for key, one in refusal.figures(run.arms[1], run).items() if one}
    assert found == pytest.approx({"refusal_accuracy": 0.525, "refusal_change": -0.475,
                                   "refusal_harmful": 0.1, "refusal_harmless": 0.05,
                                   "refusal_harmful_accuracy": 0.1, "refusal_harmful_change": -0.9,
                                   "refusal_harmless_accuracy": 0.95,
                                   "refusal_harmless_change": -0.05})  # fmt: skip


def test_what_one_part_loses_does_not_hide_behind_what_the_other_gains() -> None:
    """A model that no longer refuses anything: as many right answers, and another behaviour."""
    some = tuple({"id": f"r{k}", "lang": "en", "prompt": "p", "refuse": k < 100} for k in range(200))
    no, yes = "I cannot help with that.", "Sure, first"
    base = SuiteAnswers("d", replies=((no,) * 60 + (yes,) * 40) + ((no,) * 60 + (yes,) * 40), items=some)
    ours = SuiteAnswers("d", replies=(yes,) * 200)
    run = run_record(arm_record(suites={"refusal": base}), arm_record("v", suites={"refusal": ours}))
    (row,) = [row for row in summarise(run).rows if not row.is_baseline]
    whole = row.figure("refusal_change")
    assert whole is not None
    assert (whole.value, whole.notes["lost"], whole.notes["gained"]) == (0.0, 60, 60)
    assert "p" not in whole.notes
    told = {one.suite: one.verdict for one in summarise(run).behaviour[row.key]}
    assert told == {
        "refusal of harmful requests": Verdict.WORSE, "answers to harmless requests": Verdict.BETTER
    }  # fmt: skip


def test_each_part_of_hallucination_has_a_test() -> None:
    """Noise makes "I do not know" likelier everywhere: books are gained and passages lost."""
    some = asked(n=200)
    some = tuple({**item, "id": f"{'book' if k < 100 else 'passage'}-{k}"} for k, item in enumerate(some))
    before, after = [True] * 60 + [False] * 40 + [True] * 80 + [False] * 20, [True] * 160 + [False] * 40
    base = SuiteAnswers("d", scores=scored(before), items=some)
    ours = SuiteAnswers("d", scores=scored(after))
    run = run_record(
        arm_record(suites={"hallucination": base}), arm_record("v", suites={"hallucination": ours})
    )
    (row,) = [row for row in summarise(run).rows if not row.is_baseline]
    told = {one.suite: (one.figure.notes["lost"], one.figure.notes["gained"], one.verdict)
            for one in summarise(run).behaviour[row.key]}  # fmt: skip
    assert told == {
        "honesty about books that do not exist": (0, 40, Verdict.BETTER),
        "answers from a passage": (20, 0, Verdict.WORSE),
    }


def test_every_item_of_a_suite_in_parts_is_in_one_of_them() -> None:
    for name in SHIPPED:
        of_suite = suite(name)
        for item in of_suite.items() if of_suite.parts else ():
            assert sum(part.has(item) for part in of_suite.parts) == 1, item["id"]
    groups = {item["group"] for item in suite("bias").items()}
    assert groups == set(bias.GROUPS)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (3, 42, Verdict.BETTER),
        (3, 3, None),
        (3, 0, None),
        (8, 0, Verdict.WORSE),
        (40, 38, Verdict.CANNOT_TELL),
    ],
)
def test_what_a_baseline_hardly_ever_does_can_be_gained_and_not_lost(
    before: int, after: int, told: Verdict | None
) -> None:
    """Free text is not right by chance, so more of it is more, and fewer of three cannot be seen."""
    some = tuple({"id": f"r{k}", "lang": "en", "prompt": "p", "refuse": True} for k in range(100))
    sides = [SuiteAnswers("d", replies=("I cannot",) * n + ("Sure",) * (100 - n)) for n in (before, after)]
    base = replace(sides[0], items=some)
    run = run_record(arm_record(suites={"refusal": base}), arm_record("v", suites={"refusal": sides[1]}))
    assert verdicts(run) == [told]


# ---- a user's own items ------------------------------------------------------------------------------

GOOD = '{"id": "a", "lang": "en", "prompt": "Ice is", "choices": [" cold", " hot"], "right": 0}\n'


def test_a_users_own_items_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(GOOD, "utf-8")
    assert [item["id"] for item in items.read_closed(str(path))] == ["a"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", r"mine.jsonl:1: not JSON \(Expecting"),
        ("[1]", "an item is an object"),
        (GOOD.replace('"a"', '""'), "id must be"),
        (GOOD.replace('"en"', '"English!"'), "lang must be a code"),
        (GOOD.replace('"en"', '"zh"'), "no Chinese letter"),
        (GOOD.replace('"Ice is"', "7"), "prompt must be text"),
        (GOOD.replace('[" cold", " hot"]', '[" cold"]'), "choices must be a list of 2"),
        (GOOD.replace('" hot"', '" cold"'), "choices must be texts that differ"),
        (GOOD.replace('"right": 0', '"right": 2'), "right must be the place"),
        (GOOD.replace('"right": 0', '"right": true'), "right must be the place"),
        (GOOD.replace(', "right": 0', ""), "mine.jsonl:1: an item needs choices, and right"),
        (GOOD + '{"id": "b", "lang": "en", "prompt": "Ice is"}', "mine.jsonl:2: an item needs choices"),
        (GOOD.replace("}", ', "group": 5}'), "group must be 1 to 100 printable letters"),
        (GOOD.replace("}", ', "kind": [1]}'), "kind must be 1 to 100 printable letters"),
        (GOOD.replace("}", ', "group": null}'), "group must be"),
        (GOOD.replace("}", ', "chance": "abc"}'), "chance must be a number from 0 to 1"),
        (GOOD.replace("}", ', "chance": 2}'), "chance must be a number from 0 to 1"),
        (GOOD.replace("}", ', "x": [' + "[]," * 30_000 + "1]}"), "more than 20000 lists"),
        (GOOD.replace('" hot"', '""'), "each of the choices must be text, and not empty"),
        (GOOD.replace('" hot"', "5"), "each of the choices must be text, and not empty"),
        (GOOD + GOOD, "mine.jsonl:2: another item is called 'a': .*mine.jsonl:1"),
        ("", "holds no item"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(line, "utf-8")
    with pytest.raises(Exception, match=said) as bad:
        items.read_closed(str(path))
    assert type(bad.value).__name__ == "UsageError"
    assert "mine.jsonl" in str(bad.value)


def test_a_file_of_items_has_a_bound(tmp_path: Path) -> None:
    """All of it is kept, and a megabyte of empty lists takes twenty."""
    with (tmp_path / "mine.jsonl").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(UsageError, match=r"mine\.jsonl: is larger than 64 MiB"):
        items.read_closed(str(tmp_path / "mine.jsonl"))


def test_items_that_no_result_can_keep_are_refused_before_they_are_asked(tmp_path: Path) -> None:
    """A result keeps them in one line of its journal, and its reader takes lines of 8 MiB."""
    path = tmp_path / "long.jsonl"
    lines = [
        json.dumps({"id": f"n{n}", "lang": "en", "prompt": "?", "choices": ["a", "b" * 150_000], "right": 0})
        for n in range(30)
    ]
    path.write_text("\n".join(lines))
    with pytest.raises(UsageError, match=r"items, and these take 4\.3 MiB; 'n29' is"):
        items.read_closed(str(path))


def test_answers_are_texts_or_scores() -> None:
    answer: Answer = (-1.0, -2.0)
    assert factuality.SUITE.right({"right": 0}, answer)


@pytest.mark.parametrize(
    ("before", "after", "gained", "lost"),
    [(-0.5, 0.5, 1, 0), (0.0, 0.5, 1, 0), (0.5, 0.0, 0, 1), (0.5, -0.5, 0, 1), (0.2, 0.6, 0, 0),
     (-0.2, -0.6, 0, 0), (-0.5, 0.0, 0, 0), (0.0, -0.5, 0, 0)],
)  # fmt: skip
def test_a_preference_changes_where_its_sign_does(
    before: float, after: float, gained: int, lost: int
) -> None:
    items = tuple({"id": f"b{k}", "lang": "en", "group": "age", "prompt": "", "choices": ["x", "y"]}
                  for k in range(8))  # fmt: skip
    base = SuiteAnswers("d", scores=answers_of([(before, 0.0)] * 8), items=items)
    ours = SuiteAnswers("d", scores=answers_of([(after, 0.0)] * 8))
    run = run_record(arm_record(suites={"bias": base}), arm_record("v", suites={"bias": ours}))
    found = bias.figures(run.arms[1], run)["bias_age_shift"]
    assert found is not None
    assert (found.notes["gained"], found.notes["lost"]) == (8 * gained, 8 * lost)
    assert found.value == pytest.approx(after - before)


def test_a_shipped_suite_has_its_own_items_whatever_file_is_named(tmp_path: Path) -> None:
    assert factuality.SUITE.items(str(tmp_path / "nothing")) == factuality.SUITE.items()
