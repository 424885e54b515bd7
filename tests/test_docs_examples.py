"""What a reader copies from the documents works: commands, configs, prices, and the names in the text.

A page may show only what the real parser of commands and the real reader of configs take.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from bench import plugins
from bench.cli.main import app
from bench.config.reader import FILE_KEYS, read_config
from bench.errors import ConfigError, ExitCode, Outcome
from bench.gate.findings import EXIT_CODES
from bench.gate.sequential import least_cap
from bench.metrics import families
from bench.pricing.book import load_book

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
HISTORY = ("CHANGELOG.md", "docs/decisions/")  # these also name what is no longer there
NOW = {name: text for name, text in TEXTS.items() if not name.startswith(HISTORY)}
COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a page in one language, without those that have a title: these are tutorials."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)


def inline(text: str) -> Iterator[str]:
    """The code within the sentences and tables of a page."""
    for code in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        yield " ".join(code.replace("\\|", "|").split())


# ---- commands ------------------------------------------------------------------------------------


def shell_lines(text: str) -> Iterator[str]:
    for block in blocks(text, "sh"):
        yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())


TYPED = [
    (name, match[1])
    for name, text in NOW.items()
    for line in shell_lines(text)
    if (match := re.match(r"(?:\w+=\S+ )*(?:\.venv/bin/)?bench (.*)", line))
]


@pytest.mark.parametrize(("page", "line"), TYPED, ids=lambda one: str(one)[:60])
def test_a_command_of_a_shell_block_is_understood(page: str, line: str) -> None:
    name, *rest = shlex.split(line.partition(" > ")[0], comments=True)
    assert COMMANDS[name].make_context(name, rest).params


def test_a_wrong_option_of_a_shell_block_would_be_seen() -> None:
    found = CliRunner().invoke(app, ["price", "results/RUN", "--usd-an-hour", "1"])
    assert found.exit_code == ExitCode.USAGE


def options_of(command: Any) -> set[str]:
    return {opt for one in command.params for opt in (*one.opts, *one.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("page", NOW)
def test_a_command_within_a_sentence_has_these_options(page: str) -> None:
    wrong = []
    for code in inline(NOW[page]):
        if not (match := re.match(r"bench ([a-z]+)\b", code)):
            continue
        command = COMMANDS.get(match[1])
        named = re.findall(r"(?<![\w-])--[a-z-]+", code)
        if command is None or not set(named) <= options_of(command):
            wrong.append(code)
    assert wrong == []


# Options of other programs that the pages name.
OTHERS = {
    "--extra-index-url",
    "--max-logprobs",
    "--merge",
    "--no-deps",
    "--body-file",
    "--edit-last",
    "--create-if-none",
}


@pytest.mark.parametrize("page", NOW)
def test_every_option_in_the_text_is_one_of_ours_or_of_a_program_that_is_named(page: str) -> None:
    known = OTHERS.union(*map(options_of, COMMANDS.values()), script_options())
    named = {option for code in inline(NOW[page]) for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)}
    assert named - known == set()


@cache
def script_options() -> frozenset[str]:
    sources = [one for one in (ROOT / "scripts").rglob("*") if one.is_file() and one.suffix in ("", ".py")]
    return frozenset(re.findall(r"--[a-z][a-z-]+", "".join(one.read_text() for one in sources)))


@pytest.mark.parametrize("page", NOW)
def test_every_script_of_a_shell_block_is_there_with_its_options(page: str) -> None:
    for line in shell_lines(NOW[page]):
        if match := re.match(r"(?:\.venv/bin/python )?(scripts/[\w-]+)(.*)", line):
            assert (ROOT / match[1]).is_file(), line
            assert set(re.findall(r" (--[a-z-]+)", match[2].partition("#")[0])) <= script_options(), line


# ---- configs and prices --------------------------------------------------------------------------

SMALL = {"model": "smollm2-135m", "variants": [{"name": "same"}]}


def as_config(data: Any, whole: dict[str, Any]) -> dict[str, Any] | None:
    """The config of which a block is a part: the rest is that of the page's last whole config."""
    if isinstance(data, list):  # rows of `variants`, or the steps of one
        data = {"variants": data if "name" in data[0] else [{"name": "row", "optimise": data}]}
    return {**whole, **data} if set(data) <= set(FILE_KEYS) else None


def parsed(block: str) -> Any:
    return yaml.safe_load(block.replace("40_HEX_DIGITS", "c" * 40))


def configs() -> Iterator[tuple[str, dict[str, Any]]]:
    for page, text in NOW.items():
        whole = SMALL
        for block in blocks(text, "yaml"):
            data = parsed(block)
            if isinstance(data, dict) and {"model", "variants"} <= set(data):
                whole = data
            if (config := as_config(data, whole)) is not None:
                yield page, config


CONFIGS = list(configs())


@pytest.mark.parametrize(("page", "config"), CONFIGS, ids=lambda one: one if isinstance(one, str) else "")
def test_a_config_is_accepted(
    page: str, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a reader who has every package, such as lm-eval."""
    monkeypatch.setattr(plugins, "missing_packages", lambda _module: ())
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    assert read_config(file).groups


def test_a_wrong_key_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({**SMALL, "drift": {"tokns": 4}}))
    with pytest.raises(ConfigError, match="tokens"):
        read_config(file)


def test_every_other_block_is_a_price_or_a_job_of_a_ci_server(tmp_path: Path) -> None:
    prices = 0
    for text in NOW.values():
        for block in blocks(text, "yaml"):
            data = parsed(block)
            if as_config(data, SMALL) is not None:
                continue
            if "prices" in data:
                (tmp_path / f"{data['provider']}.yaml").write_text(block)
                prices += len(data["prices"])
            elif "ownership" in data:
                (tmp_path / f"{data['id']}.yaml").write_text(block)
                prices += 1
            else:
                assert "jobs" in data or "include" in data, block
    assert len(load_book(tmp_path)) == prices > 0


def test_the_python_of_the_guide_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = blocks(NOW["docs/guide.md"], "python")
    named: dict[str, Any] = {}
    exec(code, named)
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in printed[:2]] == ["baseline", "bf16"]
    assert {"better"} <= {one["verdict"] for one in named["ratios"]}


# ---- names in the text ---------------------------------------------------------------------------


@cache
def the_code() -> str:
    sources = (
        *ROOT.glob("bench/**/*.py"), *ROOT.glob("configs/**/*.yaml"), *ROOT.glob("models/*.yaml"),
        *ROOT.glob("scripts/*"), *ROOT.glob("scripts/gpu_check/*.py"), *ROOT.glob("tests/**/*.py"),
        *ROOT.glob(".github/**/*.yml"), *ROOT.glob(".gitlab/*.yml"),
    )  # fmt: skip
    metrics = [metric.key for family in families() for metric in family.METRICS]
    return "\n".join([*metrics, *(one.read_text(encoding="utf-8") for one in sources if one.is_file())])


ELSEWHERE = {"pull_request_target", "E_fail"}  # an event of GitHub, a symbol of a formula


@pytest.mark.parametrize("page", NOW)
def test_every_name_in_the_text_is_in_the_code(page: str) -> None:
    """Keys, metrics, outcomes, functions, environment variables: what has an underscore."""
    named = {
        word
        for code in inline(NOW[page])
        for word in re.findall(r"\b[A-Za-z0-9]+(?:_[A-Za-z0-9]+)+\b", code)
        if "/" not in code
    }
    assert [word for word in sorted(named - ELSEWHERE) if word not in the_code()] == []


@pytest.mark.parametrize("page", NOW)
def test_every_file_in_the_text_is_there(page: str) -> None:
    here = r"(?:bench|configs|docs|models|scripts|tests|results/reference)/[\w./-]*\w/?"
    named = {code.partition("::")[0] for code in inline(NOW[page]) if re.fullmatch(rf"{here}(?:::.*)?", code)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_exit_codes_are_those_of_the_program() -> None:
    table = NOW["docs/reliability.md"].partition("## Exit codes")[2].partition("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)] == sorted(ExitCode)
    for page in ("docs/gate.md", "docs/ci.md"):
        rows = re.findall(r"^\| ([A-Z_, ]+|\d+) \| ([A-Z_, ]+|\d+) \|", NOW[page], flags=re.MULTILINE)
        found = {
            word: int(code)
            for row in rows
            for words, code in (sorted(row, reverse=True),)
            for word in words.split(", ")
        }
        assert found == {str(verdict): int(code) for verdict, code in EXIT_CODES.items()}, page


def test_the_units_that_a_fail_takes_are_those_of_the_test() -> None:
    page = " ".join(NOW["docs/gate.md"].split())
    assert "FAIL takes at least 9 units" in page
    assert "(10 for two or three, 11 for four or five," in page
    assert [least_cap(limits) for limits in range(1, 6)] == [9, 10, 10, 11, 11]


def test_the_guide_says_what_to_do_about_every_way_in_which_a_row_fails() -> None:
    table = NOW["docs/guide.md"].partition("### When a row has no answer")[2].partition("\n## ")[0]
    assert [str(one) for one in Outcome if one is not Outcome.OK and f"`{one}`" not in table] == []


# Words that only we would understand, or that are hard for readers whose first language is not English.
OURS = re.compile(
    r"\b(dearer|a plant|the plants?|very kernels|pays? for itself|an? arm|the arms?)\b", re.IGNORECASE
)


@pytest.mark.parametrize("page", NOW)
def test_the_text_has_no_words_of_ours(page: str) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", NOW[page], flags=re.DOTALL)
    assert [match[0] for match in OURS.finditer(text)] == []


@pytest.mark.parametrize("page", NOW)
def test_every_extra_that_a_page_installs_is_one_of_the_package(page: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"inference-cost-bench\[([\w,-]+)\]", NOW[page])
    assert {one for group in named for one in group.split(",")} <= set(extras)
