"""An option that would do nothing, or a number that is none, is refused; it is not ignored."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from commands import Bench
from typer.main import get_command

from bench.cli.main import app
from bench.errors import ExitCode

QUICKSTART, CONFIG = "results/reference/quickstart", "configs/ci.yaml"
URL = "http://127.0.0.1:9"
KEY = "sk-planted-0123456789abcdef"
COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare", QUICKSTART, "--metric", "tpot_ms"), "--metric does nothing here"),
        (("compare", "--history", "results", QUICKSTART), "a second run does nothing here"),
        (("compare", "--history", "results", "--drift", "--columns", "mbu"), "--drift and --columns do"),
        (("compare", QUICKSTART, "--examples", "1", "--drift"), "--drift does nothing here"),
        (("compare", QUICKSTART, "--drift", "--columns", "mbu"), "--columns does nothing here"),
        (("compare", QUICKSTART, "--columns", "mbu", "--json"), "--columns does nothing here"),
        (("compare", "--history", "results", "--metric", "tpot"), "did you mean 'tpot_ms'?"),
        (("gate", QUICKSTART, "--cap", "20"), "--cap does nothing here: a finished run"),
        (("gate", QUICKSTART, "--allow-identical", "--batches", "2"), "--allow-identical and --batches do"),
        (("gate", CONFIG, "--limits-from", "candidate"), "--limits-from does nothing here"),
        (("gate", CONFIG, "--base", QUICKSTART, "--batches", "2"), "--batches does nothing here"),
        (("gate", CONFIG, "--base", QUICKSTART, "--allow-identical"), "--allow-identical does nothing here"),
        (("gate", CONFIG, "--bisect", "HEAD~1", "HEAD", "--base", "HEAD"), "--base does nothing here"),
        (("gate", CONFIG, "--bisect", "HEAD~1", "HEAD", "--json"), "--json does nothing here"),
        (("gate", QUICKSTART, "--bisect", "HEAD~1", "HEAD"), "is a directory"),
        (("export", QUICKSTART, "bf16", "NEW", "--python", "python"), "--python does nothing here"),
        (("list", "runs", "results", "--until", "9999-12-31", "--limit", "9" * 30), "Invalid value for"),
        (("calibrate", CONFIG, "--base", "python", "--commit", "HEAD"), "two calibrations: ask for one"),
        (("env", "list", "vllm"), "ENGINE does nothing here"),
    ],
)  # fmt: skip
def test_an_option_that_would_do_nothing(
    bench: Bench, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    found = bench(*(tmp_path / "new" if word == "NEW" else word for word in words))
    assert (found.returncode, found.stdout) == (ExitCode.USAGE, "")
    assert said in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((URL, "--users", "1", "--port", "8000"), "--port does nothing here: the server at an address"),
        ((URL, "--users", "1", "--no-pin", "--wait", "9"), "--wait and --no-pin do nothing here"),
        ((URL, "--users", "1", "--engine-argument", "x"), "--engine-argument does nothing here"),
        ((URL, "--users", "1", "--utilisation", "0.5"), "--utilisation goes with --hardware"),
        ((URL, "--users", "1", "--drift-text", "mixed"), "--drift-text does nothing here: it goes"),
        ((URL, "--trace", "TRACE", "--input-tokens", "9"), "--input-tokens does nothing here: a trace has"),
        ((URL, "--trace", "TRACE", "--requests", "3"), "holds 2"),
        ((URL, "--trace", "TRACE", "--requests", "0"), "requests must be from 1"),
        ((URL, "--trace", "TRACE", "--speed", "1e-9"), "after more than 30 days"),
        ((URL, "--rate", "1e-9"), "after more than 30 days"),
        ((URL, "--rate", "1e-300", "--burstiness", "1e-300"), "after more than 30 days"),
        ((URL, "--search", "0.9", "--slo", "ttft:9", "--burstiness", "2"), "a search has Poisson arrivals"),
        ((URL, "--search", "1.5", "--slo", "ttft:9"), "--search is a share"),
        ((URL, "--search", "0.9", "--slo", "ttft:9", "--rate", "-1"), "--rate must be above 0"),
        ((URL, "--users", "1", "--slo", "ttft:inf"), "'ttft:inf' is not one of"),
        (("https://host/" + KEY, "--users", "1"), "URL: this looks like a key"),
        ((URL, "--users", "1", "--model", KEY), "--model: this looks like a key"),
        (("vllm", "--users", "1", "--engine-argument=--api-key=x"), "--api-key is chosen by this tool"),
        (("vllm", "--users", "1", "--engine-argument", KEY), "--engine-argument: this looks like a key"),
        ((URL, "--users", "1", "--requests", "27001"), "27,001 requests with up to 864,032 output tokens"),
        ((URL, "--at-once", "--output-tokens", "100000"), "more than the journal of a load holds"),
        ((URL, "--users", "9", "--turns", "9", "--requests", "27009"), "27,009 requests with up to"),
        ((URL, "--trace", "LONG"), "30,000 requests with up to 30,000 output tokens are more than"),
        ((URL, "--users", "1", "--model", "\udcff"), "--model: this is not UTF-8"),
        ((URL, "--trace", "TRACE\udcff"), "--trace: this is not UTF-8"),
        (("LOAD", "--users", "1", "--chat"), "--chat and --users do nothing here: an earlier load"),
    ],
)  # fmt: skip
def test_an_option_of_a_load_that_would_do_nothing(
    bench: Bench, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(
        "".join(f'{{"arrival_s": {at}, "input_tokens": 5, "output_tokens": 5}}\n' for at in (0, 1))
    )
    long = tmp_path / "long.jsonl"
    long.write_text('{"arrival_s": 0, "input_tokens": 1, "output_tokens": 1}\n' * 30_000)
    known = {"TRACE": trace, "LOAD": tmp_path, "LONG": long}
    out = [] if "LOAD" in words else ["--out", tmp_path / "out"]
    found = bench("load", *(known.get(word, word) for word in words), *out)
    assert (found.returncode, found.stdout) == (ExitCode.USAGE, "")
    assert said in found.stderr
    assert KEY not in found.stderr
    assert not (tmp_path / "out").exists()


def test_an_engine_is_no_earlier_load_because_a_directory_has_its_name(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever works on an engine stands beside its source."""
    (tmp_path / "vllm").mkdir()
    monkeypatch.chdir(tmp_path)
    found = bench("load", "vllm", "--users", "1", "--out", tmp_path / "out")
    assert "vLLM serves what?" in found.stderr


def takes_numbers(command: Any) -> list[str]:
    """The options of a command that take a number with a fraction."""
    said = inspect.signature(command.callback, eval_str=True).parameters
    return [
        one.opts[0]
        for one in command.params
        if one.name in said and "float" in str(said[one.name].annotation)
    ]


NUMBERS = [(name, option) for name, command in COMMANDS.items() for option in takes_numbers(command)]


def test_there_are_options_that_take_a_number() -> None:
    assert len(NUMBERS) > 15


@pytest.mark.parametrize(("name", "option"), NUMBERS)
def test_a_number_that_is_none(bench: Bench, name: str, option: str) -> None:
    """Not every bound of an option keeps ``nan`` out."""
    needed = ["x" for one in COMMANDS[name].params if one.param_type_name == "argument" and one.required]
    found = bench(name, *needed, f"{option}=nan")
    assert (found.returncode, found.stdout) == (ExitCode.USAGE, "")
    assert f"{option}: nan is not a finite number" in found.stderr or f"for '{option}'" in found.stderr
