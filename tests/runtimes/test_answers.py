"""Engines that answer whole requests: a function, and a program that runs on or is started each time."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.engine import Options
from bench.engine.answers import AnsweringEngine
from bench.errors import VariantFailed
from bench.models.fetch import ensure
from bench.models.reference import Named
from bench.runtimes import callable as function
from bench.runtimes import command
from bench.worker import passes, session

TOKENIZER = ensure(Named("smollm2-135m")).directory
SERVE = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"text": asked["prompt"].upper()[: asked["max_tokens"]]}), flush=True)
"""


def by_function(target: str) -> AnsweringEngine:
    return function.load(TOKENIZER, Options(own={"target": target}))


def by_program(code: str, **own: Any) -> AnsweringEngine:
    known = {"command": (sys.executable, "-c", code), "each": False, "timeout_s": 20.0, **own}
    return command.load(TOKENIZER, Options(own=known))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "her_service.py").write_text(
        "class Model:\n"
        "    def reply(self, prompt): return prompt[::-1]\n"
        "model = Model()\n"
        "def short(prompt, longest): return prompt[:longest]\n"
        "def nothing(prompt): return None\n"
        "VALUE = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "her_service", raising=False)
    return "her_service"


def answers(engine: AnsweringEngine, *prompts: str, longest: int = 5) -> list[str]:
    engine.longest_answer(longest)
    given = engine.prefill([engine.encode(prompt) for prompt in prompts], 1)
    assert engine.tokens(given) == [engine.encode(text) for text in given.texts]
    return given.texts


def test_a_function_gets_the_prompt_as_it_was_written(module: str) -> None:
    assert answers(by_function(f"{module}:model.reply"), "a  b ☃", "x") == ["☃ b  a", "x"]
    assert answers(by_function(f"{module}:short"), "abcdefgh", longest=3) == ["abc"]


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("{}:missing", "has no attribute 'missing'"),
        ("no_such_package.serve:answer", "No module named 'no_such_package'"),
        ("{}:VALUE", "is no function but int"),
    ],
)
def test_a_target_that_cannot_be_called(module: str, target: str, why: str) -> None:
    with pytest.raises(VariantFailed, match=why) as caught:
        by_function(target.format(module))
    assert caught.value.outcome == "import_error"


def test_a_module_that_is_nowhere_says_where_it_was_looked_for(module: str) -> None:
    with pytest.raises(VariantFailed, match=rf"No module named 'serv' .* nor a file in {Path.cwd()}"):
        by_function("serv:answer")
    with pytest.raises(VariantFailed) as caught:
        by_function(f"{module}.part:answer")
    assert "nor a file in" not in str(caught.value), "the module is there, its part is not"


def test_the_name_of_this_tool_is_taken() -> None:
    with pytest.raises(ValueError, match="a package called bench is this tool itself"):
        function.Params("bench.serve:answer")


@pytest.mark.parametrize("target", ["serve", "a.b", "a:b()", "a b:c", "../x:y", "a:"])
def test_a_target_is_a_module_and_a_name(target: str) -> None:
    with pytest.raises(ValueError, match=r"package\.module:function"):
        function.Params(target)


def test_an_answer_must_be_text(module: str) -> None:
    with pytest.raises(
        VariantFailed, match="must return a text of at most 10,000,000 characters, not NoneType"
    ):
        answers(by_function(f"{module}:nothing"), "x")


def test_a_program_answers_line_by_line() -> None:
    assert answers(by_program(SERVE), "hello\nworld", "b") == ["HELLO", "B"]


def test_a_program_that_is_started_for_each_request() -> None:
    code = "import sys; sys.stdout.write(sys.stdin.read()[::-1])"
    assert answers(by_program(code, each=True), "abc", "de") == ["cba", "ed"]


@pytest.mark.parametrize(
    ("code", "own", "outcome", "why"),
    [
        ("print('no json'); input()", {}, "run_error", "on one line, not 'no json'"),
        ("import sys; sys.exit(3)", {}, "run_error", "left with exit code 3"),
        ("import time; time.sleep(60)", {"timeout_s": 0.3}, "timeout", "no answer within 0.3 s"),
        (
            "import time; time.sleep(60)",
            {"timeout_s": 0.3, "each": True},
            "timeout",
            "no answer within 0.3 s",
        ),
        (
            "import sys, time; input(); sys.stdout.write('{'); sys.stdout.flush(); time.sleep(60)",
            {"timeout_s": 2.0},
            "timeout",
            "no answer within 2 s",
        ),
        ("import sys; sys.exit(3)", {"each": True}, "run_error", "left with exit code 3"),
        ("while True: print('x' * 99_999)", {"each": True}, "run_error", "wrote more than 40000000 bytes"),
    ],
)
def test_a_program_that_does_not_answer(code: str, own: dict[str, Any], outcome: str, why: str) -> None:
    engine = by_program(code, **own)
    with pytest.raises(VariantFailed, match=why) as caught:
        answers(engine, "x")
    assert caught.value.outcome == outcome


@pytest.mark.parametrize(
    "code",
    [
        'import sys\nfor _ in sys.stdin: sys.stdout.write(2 * \'{"text": "a"}\\n\'); sys.stdout.flush()',
        'import sys; sys.stdout.write(\'{"text": "a"}\\n\'); sys.stdout.flush(); sys.stdin.read()',
    ],
    ids=["two lines", "before it was asked"],
)
def test_a_line_that_nobody_asked_for_is_not_the_answer_to_the_next_request(code: str) -> None:
    engine: Any = by_program(code)
    if "for _ in" not in code:
        select.select([engine._process.stdout], [], [], 20)
    with pytest.raises(VariantFailed, match="on one line, not"):
        answers(engine, "x")


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(VariantFailed, match="cannot start /no/such/program"):
        command.load(
            TOKENIZER, Options(own={"command": ("/no/such/program",), "each": False, "timeout_s": 1.0})
        )


def test_a_request_is_one_turn_of_the_pass(module: str) -> None:
    message = {
        "directory": str(TOKENIZER), "runtime": "bench.runtimes.callable", "optimise": [],
        "options": {
            "device": "auto", "dtype": "float32", "threads": 1, "attention": "sdpa", "random": False,
            "own": {"target": f"{module}:model.reply"},
        },
    }  # fmt: skip
    engine, loaded = session.load(message)
    assert loaded.parameters == loaded.weights_bytes == 0
    assert [one["claim"] for one in loaded.evidence[0]["checks"]] == ["target"]
    found = passes.solo(engine, [[engine.encode("one two")], [engine.encode("three")]], 1).batches
    assert [one.whole for one in found] == [True, True]
    assert [len(one.stamps_ns) for one in found] == [1, 1]


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VariantFailed, match=r"must have a tokenizer\.json"):
        function.load(tmp_path, Options(own={"target": "json:dumps"}))


def test_your_own_program_imports_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker and what its libraries start must not; a program that the config names may."""
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    (tmp_path / "beside.py").write_text("SUFFIX = '!'\n")
    (tmp_path / "serve.py").write_text(f"from beside import SUFFIX\n{SERVE.replace('.upper()', ' + SUFFIX')}")
    own = {"command": (sys.executable, str(tmp_path / "serve.py")), "each": False, "timeout_s": 20.0}
    assert answers(command.load(TOKENIZER, Options(own=own)), "abc") == ["abc!"]


def test_what_your_own_function_starts_may_import_from_its_directory(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    by_function(f"{module}:short")
    assert "PYTHONSAFEPATH" not in os.environ
