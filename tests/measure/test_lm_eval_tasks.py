"""Both passes of lm-eval with its process scripted: what it is told, what it may say, what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pytest
from desk import Desk
from fakes import ScriptedWorker
from task_files import TASK, write_task

from bench.config.settings import DriftBlock
from bench.config.suite_reader import LmEvalBlock
from bench.errors import BenchError, Explained, InterruptedRun, UsageError, VariantFailed
from bench.measure import arm as arms
from bench.measure import lm_eval_child as child
from bench.measure import lm_eval_tasks as process
from bench.measure import suites
from bench.measure.arm import ArmUnderTest

Patch = pytest.MonkeyPatch
Found = dict[str, Any]
ASKED = LmEvalBlock(lm_eval=("closed", "open"), limit=50)
CLOSED, OPEN = 30, 12


def request(task: str, doc: int, *args: Any, kind: str = "loglikelihood") -> Found:
    return {"kind": kind, "task": task, "doc": doc, "args": list(args)}


def of_task(kind: str, *metrics: str) -> Found:
    return {"version": 1.0, "n_shot": 0, "metrics": list(metrics), "kind": kind, "filter": "none"}


def evaluated(given: Mapping[str, Any]) -> Found:
    """30 closed questions with two choices, of which the likelier is judged; 12 replies, right where 'b'."""
    asked = [request("closed", n, f"q{n}", choice) for n in range(CLOSED) for choice in (" a", " b")]
    until = {"until": ["."], "max_gen_toks": 4}
    asked += [request("open", n, f"say {n}", until, kind="generate_until") for n in range(OPEN)]
    answers = given["answers"] or [None] * len(asked)
    pairs = [answers[2 * n : 2 * n + 2] for n in range(CLOSED)]
    acc = [float(None not in pair and pair[1][0] > pair[0][0]) for pair in pairs]
    said = [float(one == "b") for one in answers[2 * CLOSED :]]
    return {
        "harness": "lm-eval 0.4.13",
        "tasks": {
            "closed": of_task("multiple_choice", "acc"),
            "open": of_task("generate_until", "exact_match"),
        },
        "requests": asked,
        "documents": [{"task": "closed", "doc": n, "values": [one]} for n, one in enumerate(acc)]
        + [{"task": "open", "doc": n, "values": [one]} for n, one in enumerate(said)],
    }


def beginning(out: Found, first: Found) -> Found:
    return {**out, "requests": [first, *out["requests"]]}


@pytest.fixture
def scripted(monkeypatch: Patch) -> Callable[..., list[Any]]:
    """Let ``say(given)`` be what the process writes; returns what it was started with."""

    def script(say: Callable[[Mapping[str, Any]], Any] = evaluated, code: int = 0) -> list[Any]:
        started: list[Any] = []

        def run(arguments: Sequence[str], environment: Any, watch: Any, limits: Any) -> tuple[int, str]:
            given = json.loads(Path(arguments[2]).read_text())
            started.append((given, dict(environment)))
            watch()
            Path(arguments[3]).write_text(json.dumps(say(given)))
            return code, "ImportError: no torch"

        monkeypatch.setattr(process, "run_child", run)
        process.listed.cache_clear()
        return started

    return script


def test_the_process_is_told_the_tasks_and_sees_no_secret_and_no_network(
    scripted: Any, monkeypatch: Patch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    started = scripted()
    process.listed(ASKED)
    process.listed(ASKED)
    ((given, environment),) = started
    assert given == {"tasks": ["closed", "open"], "limit": 50, "num_fewshot": None, "answers": None}
    assert "planted" not in str(environment)
    assert environment["HF_HUB_OFFLINE"] == environment["HF_DATASETS_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (lambda out: {"refused": "no task of lm-eval is called 'arc'"}, UsageError, "no task of lm-eval"),
        (lambda out: {**out, "harness": 3}, BenchError, "lm-eval's answer at harness"),
        (lambda out: {**out, "documents": []}, UsageError, "0 documents, and a run keeps 1 to 5000"),
        (lambda out: {**out, "documents": out["documents"] * 200}, UsageError, "8400 documents"),
        (
            lambda out: {**out, "tasks": {f"t{n}": out["tasks"]["closed"] for n in range(301)}},
            UsageError, "301 tasks, with those of groups of tasks, and a run has figures of 300 at most",
        ),
        (lambda out: {**out, "requests": out["requests"][2:]}, BenchError, "about which it asked nothing"),
        (
            lambda out: beginning(out, request("closed", 0, "a", kind="loglikelihood_rolling")),
            UsageError, "closed: only texts are asked for likelihoods or replies, not loglikelihood_rolling",
        ),
        (lambda out: beginning(out, request("closed", 0, "a", "b", "c")), UsageError, "only texts"),
        (
            lambda out: beginning(out, request("open", 0, "a", {"do_sample": True}, kind="generate_until")),
            UsageError, "open: it samples its replies",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_said_before_anything_is(
    scripted: Any, spoil: Any, kind: type[BenchError], words: str
) -> None:
    scripted(lambda given: spoil(evaluated(given)))
    with pytest.raises(kind, match=words):
        process.listed(ASKED)


def test_a_process_that_fails_is_quoted(scripted: Any) -> None:
    scripted(code=1)
    with pytest.raises(BenchError, match="exit code 1; its last words: ImportError: no torch"):
        process.listed(ASKED)


def test_of_a_traceback_the_error_alone_is_quoted(monkeypatch: Patch) -> None:
    said = "Traceback (most recent call last):\n  File 'x.py', line 3\nKeyError: 'doc'\n"
    monkeypatch.setattr(process, "run_child", lambda *_given: (1, said))
    process.listed.cache_clear()
    with pytest.raises(BenchError, match=r"exit code 1; its last words: KeyError: 'doc'$"):
        process.listed(ASKED)
    monkeypatch.setattr(process, "run_child", lambda *_given: (1, "Timeout (0:00:30)!\nThread 0x7f"))
    with pytest.raises(UsageError, match="a template of a task did not end"):
        process.listed(ASKED)


def test_what_is_made_of_a_task_and_its_data_lies_in_the_directory_of_the_pass(
    scripted: Any, tmp_path: Path
) -> None:
    started = scripted()
    process.listed(LmEvalBlock(lm_eval=(str(write_task(tmp_path, TASK, "t")), "arc_easy"), limit=50))
    ((given, environment),) = started
    own, named = given["tasks"]
    place = Path(own["dataset_kwargs"].pop("cache_dir")).parent
    assert named == "arc_easy"
    assert {Path(environment[name]).parent for name in process.WRITTEN} == {place}
    assert own["dataset_kwargs"] == {"data_files": {"test": [str(tmp_path / "items.jsonl")]}}
    assert not place.exists()


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "more than 0.2 s"),
        ("{{ ('a' * 10000000000)|length }}", "needs more than 1024 MiB"),
        ("{{ text * 100 }}", "writes 10,000,000 letters, and 1,000,000 is the limit"),
        ("{{ text.__class__.__mro__ }}", "SecurityError: access to attribute '__class__'"),
        ("{{ other }}", "UndefinedError: 'other' is undefined"),
        ("{{ text|other }}", "TemplateAssertionError: No filter named 'other'"),
    ],
)
def test_a_template_has_limits_and_its_error_is_a_sentence(
    monkeypatch: Patch, template: str, words: str
) -> None:
    monkeypatch.setattr(jinja2, "Environment", jinja2.Environment)
    monkeypatch.setattr(child, "RENDER_S", 0.2)
    child._render_within_limits()
    with pytest.raises(child.Refused) as caught, Explained(lambda bad: child._refused(bad, "mine")):
        jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(template).render(text="a" * 100_000)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_guess_has_its_chance_where_there_are_choices(scripted: Any) -> None:
    scripted()
    found = process.items_of(process.listed(ASKED))
    assert found[0] == {
        "id": "closed/0", "lang": "any", "group": "closed", "prompt": "q0", "metrics": ["acc"], "chance": 0.5,
    }  # fmt: skip
    assert "chance" not in found[-1]


def test_choices_asked_again_without_a_context_are_no_further_choices(scripted: Any) -> None:
    def with_mutual_info(given: Mapping[str, Any]) -> Found:
        out = evaluated(given)
        return {**out, "requests": out["requests"] + [request("closed", 0, "", one) for one in (" a", " b")]}

    scripted(with_mutual_info)
    assert process.items_of(process.listed(ASKED))[0]["chance"] == 0.5


# ---- beside a worker ---------------------------------------------------------------------------------


def likelier_b(_do: str, arguments: Mapping[str, Any]) -> Found:
    """Every even question is answered with b; the ninth choice does not fit; replies are b, then c."""
    asked = arguments["requests"]
    if arguments["kind"] == "generate_until":
        return {"replies": ["b" if int(one[0].split()[1]) < 3 else "c" for one in asked], "likelihoods": []}
    found = [[-1.0 if (one[1] == " b") == (int(one[0][1:]) % 2 == 0) else -2.0, False] for one in asked]
    return {
        "replies": [],
        "likelihoods": [None if one[0] == "q4" else it for one, it in zip(asked, found, strict=True)],
    }


def under(patch: Patch, *, baseline: bool = False, answer: Any = likelier_b, **facts: Any) -> ArmUnderTest:
    desk = Desk(patch, facts=facts)
    context = replace(desk.context, drift=DriftBlock(suites=(ASKED,)))
    arm = next(one for one in desk.group.arms if one.is_baseline == baseline)
    return ArmUnderTest(arm, "", context, ScriptedWorker(answer), desk._facts)  # type: ignore[arg-type]


def notes(found: ArmUnderTest, key: str) -> list[Any]:
    journal: Any = found.context.journal
    return list(journal.of(found.arm.name, key))


def test_the_model_answers_and_lm_eval_judges(scripted: Any, monkeypatch: Patch) -> None:
    started = scripted()
    found = under(monkeypatch, baseline=True)
    suites.answer(found)
    kept = notes(found, "suites")[0]["lm-eval"]
    wanted = [(1.0,) if n % 2 == 0 else (0.0,) for n in range(CLOSED)]
    assert kept.judged == (*wanted[:4], None, *wanted[5:], *[(1.0,)] * 3, *[(0.0,)] * 9)
    assert [item["id"] for item in kept.items][:2] == ["closed/0", "closed/1"]
    assert kept.about["tasks"]["open"]["version"] == 1.0
    asked: Any = found.worker
    assert [(one["kind"], len(one["requests"])) for _do, one in asked.asked] == [
        ("loglikelihood", 40), ("loglikelihood", 20), ("generate_until", 12),
    ]  # fmt: skip
    assert len(started) == 2, "once to list the requests, once to judge the answers"
    assert len(started[1][0]["answers"]) == 2 * CLOSED + OPEN


def test_a_variant_keeps_no_items_and_the_same_digest(scripted: Any, monkeypatch: Patch) -> None:
    scripted()
    base, ours = under(monkeypatch, baseline=True), under(monkeypatch)
    suites.answer(base)
    suites.answer(ours)
    theirs, mine = (notes(one, "suites")[0]["lm-eval"] for one in (base, ours))
    assert (mine.items, mine.digest) == ((), theirs.digest)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda out: {**out, "requests": out["requests"][::-1]}, "requests have changed"),
        (
            lambda out: {**out, "documents": [{**one, "values": [0.5]} for one in out["documents"]]},
            "closed/0: its acc is 0.5, so neither right nor wrong",
        ),
    ],
)
def test_a_judgement_that_cannot_be_used_is_a_reason(
    scripted: Any, monkeypatch: Patch, spoil: Any, words: str
) -> None:
    scripted(lambda given: spoil(evaluated(given)) if given["answers"] else evaluated(given))
    found = under(monkeypatch)
    suites.answer(found)
    assert words in notes(found, "suites_reason")[0]
    assert notes(found, "suites") == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda out: {**out, "likelihoods": out["likelihoods"][1:]},
        lambda out: {**out, "likelihoods": [[0.5, True], *out["likelihoods"][1:]]},
        lambda out: {**out, "replies": ["x"] * max(1, len(out["replies"]))},
    ],
    ids=["one is missing", "a probability above 1", "replies instead"],
)
def test_answers_that_cannot_be_are_refused(scripted: Any, monkeypatch: Patch, spoil: Any) -> None:
    scripted()
    found = under(monkeypatch, answer=lambda do, arguments: spoil(likelier_b(do, arguments)))
    with pytest.raises(VariantFailed, match="requests"):
        suites.answer(found)


def test_who_gives_no_likelihoods_is_not_asked(scripted: Any, monkeypatch: Patch) -> None:
    started = scripted()
    found = under(monkeypatch)
    monkeypatch.setattr(arms.ArmUnderTest, "turns", 1)
    suites.answer(found)
    assert notes(found, "suites_reason") == [
        "lm-eval: an answer that comes as a whole has no log-likelihoods"
    ]
    monkeypatch.setattr(arms.ArmUnderTest, "is_cascade", True)
    suites.answer(found)
    assert notes(found, "suites_reason")[1] == "lm-eval: a cascade gives no likelihoods of texts"
    assert len(started) == 1


def test_an_interrupt_while_lm_eval_judges_ends_the_run(scripted: Any, monkeypatch: Patch) -> None:
    started = scripted()
    found = under(monkeypatch)

    def pause() -> None:
        if len(started) == 2:
            raise InterruptedRun("interrupted")

    found.context = replace(found.context, pause=pause)
    with pytest.raises(InterruptedRun):
        suites.answer(found)
    assert notes(found, "suites_reason") == notes(found, "suites") == []
