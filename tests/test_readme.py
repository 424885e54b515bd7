"""The README and the guide: configs are valid, tables are what runs say, commands do what is said."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from journals import write_run
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from bench.cli.main import app, main
from bench.cli.options import LISTS
from bench.config.reader import FILE_KEYS, read_config
from bench.config.settings import Block, DriftBlock, MeasureBlock, PriceBlock, RuntimeBlock, WorkloadBlock
from bench.errors import ExitCode

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()


def configs(text: str) -> list[str]:
    return [
        block for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL) if "variants:" in block
    ]


def test_every_config_in_the_docs_is_valid(tmp_path: Path) -> None:
    found = configs(README) + configs(GUIDE)
    assert len(found) == 3
    for number, block in enumerate(found):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        assert read_config(path).groups
    assert all(yaml.safe_load(block)["price"] for block in found[:2])


def test_the_guide_names_every_key_with_its_default() -> None:
    text, _many_rows = configs(GUIDE)
    sample = yaml.safe_load(text)
    assert set(sample) == set(FILE_KEYS)
    kinds: dict[str, type[Block]] = {
        "runtime": RuntimeBlock, "workload": WorkloadBlock, "drift": DriftBlock, "measure": MeasureBlock,
    }  # fmt: skip
    for key, kind in kinds.items():
        assert kind.model_validate({**sample[key], **as_tuples(sample[key])}) == kind()
        assert set(sample[key]) == set(kind.model_fields) - {"own"}  # those of a kind of workload are its own
    assert PriceBlock(**sample["price"]) == PriceBlock(hardware="cloud-2vcpu-8gb")
    assert all(key in text for key in PriceBlock.model_fields)


def as_tuples(block: dict[str, object]) -> dict[str, object]:
    return {key: tuple(value) for key, value in block.items() if isinstance(value, list)}


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a script prints: in this process, which has imported all that it needs."""

    def run(script: Path, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [str(script), *arguments])
        code: object = 0
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            code = ended.code
        assert not code
        return capsys.readouterr().out.strip()

    return run


def test_the_proof_of_a_run_is_what_its_journals_say(printed: Callable[..., str]) -> None:
    table = printed(ROOT / "results" / "reference" / "run" / "analyse.py")
    text = (ROOT / "docs" / "results.md").read_text()
    assert f"<!-- run-proof:begin -->\n```text\n{table}\n```\n<!-- run-proof:end -->" in text


def test_the_proof_in_the_readme_is_what_the_journals_say(printed: Callable[..., str]) -> None:
    """The tables are printed by the scripts that read the journals, not typed."""
    for name, mark in (("gate", "proof"), ("run", "run-verdicts")):
        table = printed(ROOT / "results" / "reference" / name / "analyse.py", "--table")
        assert f"<!-- {mark}:begin -->\n{table}\n<!-- {mark}:end -->" in README


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("quickstart", "README.md"),
        ("quantisation", "docs/results.md"),
        ("pruning", "docs/results.md"),
        ("speculative", "docs/optimisations.md"),
        ("serving", "docs/serving.md"),
        ("users", "docs/serving.md"),
        ("cascade", "docs/edge-cloud.md"),
        ("students", "docs/edge-cloud.md"),
        ("split", "docs/edge-cloud-split.md"),
    ],
)
def test_a_table_is_what_its_run_says(name: str, page: str, printed: Callable[..., str]) -> None:
    table = printed(ROOT / "results" / "reference" / "table.py", name)
    assert f"<!-- {name}:begin -->\n{table}\n<!-- {name}:end -->" in (ROOT / page).read_text()


def test_no_table_stands_anywhere_else() -> None:
    """One that is typed, or left behind where it was, is held against nothing."""
    pages = (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
    found = [
        (name, str(page.relative_to(ROOT)))
        for page in pages
        for name in re.findall(r"<!-- (\w+):begin -->", page.read_text())
    ]
    assert sorted(found) == [
        ("cascade", "docs/edge-cloud.md"), ("proof", "README.md"), ("pruning", "docs/results.md"),
        ("quantisation", "docs/results.md"), ("quickstart", "README.md"), ("serving", "docs/serving.md"),
        ("speculative", "docs/optimisations.md"), ("split", "docs/edge-cloud-split.md"),
        ("students", "docs/edge-cloud.md"), ("users", "docs/serving.md"),
    ]  # fmt: skip


def test_every_command_in_the_readme_exists() -> None:
    named = set(re.findall(r"(?:^|`)bench ([a-z]+)", README, flags=re.MULTILINE))
    known = {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }
    assert named
    assert named <= known


def test_readme_commands_and_cli_agree() -> None:
    known = {
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    }
    assert {name for name in known if f"`bench {name}" not in README} == set()


# ---- its commands, as a reader would type them ---------------------------------------------------

RUN = "results/demo"


def typed() -> list[list[str]]:
    """The arguments of every ``bench`` line in a shell block, with the directory of a run."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("bench ")]
    return [shlex.split(line.replace("results/<run>", RUN), comments=True)[1:] for line in lines]


COMMANDS = typed()
MEASURE = ("run", "calibrate", "gate")  # these take minutes; they are tested with engines whose time is data


def test_the_blocks_have_commands() -> None:
    wanted = {"check", "run", "price", "plan", "report", "verify", "calibrate", "gate"}
    assert wanted == {one[0] for one in COMMANDS}


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_of_a_shell_block_is_understood(arguments: list[str]) -> None:
    """Its options and arguments, all of them and of the right kind; nothing is done."""
    name, *rest = arguments
    command = get_command(app)
    assert isinstance(command, TyperGroup)
    context = command.commands[name].make_context(name, list(rest))
    assert context.params


def test_a_wrong_option_would_be_seen() -> None:
    found = CliRunner().invoke(app, ["price", RUN, "--usd-an-hour", "1"])
    assert found.exit_code == ExitCode.USAGE
    assert "No such option" in found.output


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a reader who has the README's config and a run."""
    monkeypatch.chdir(tmp_path)
    (config,) = configs(README)
    (tmp_path / "my.yaml").write_text(config)
    write_run(tmp_path / RUN)
    return tmp_path


def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints that must end well."""
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    return said.out


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    "arguments", [one for one in COMMANDS if one[0] not in MEASURE], ids=lambda arguments: arguments[0]
)
def test_a_command_of_a_shell_block_does_what_is_said(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reader: Path
) -> None:
    before = (reader / RUN / "run.json").read_bytes()
    said = bench(monkeypatch, capsys, *arguments)
    assert (reader / RUN / "run.json").read_bytes() == before
    if arguments[0] == "check":
        assert said.startswith("my (my.yaml): 3 rows")
    elif "--against" in arguments:
        assert "At an API: genai-prices" in said
    elif arguments[0] == "plan":
        assert "1.00 million requests a day" in said
    elif arguments[0] == "price":
        assert "given by the user for the whole machine" in said
        assert "used 40% of the time" in said
    elif arguments[0] == "report":
        assert "<html" in (reader / "report.html").read_text()
    else:
        assert "run.json: the summary of the journal" in said


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("list", "magnitude"),
        ("list optimisations hqq", "quantise: hqq"),
        ("schema", "json-schema.org"),
        (f"compare {RUN}", "pruned"),
        (f"compare {RUN} {RUN}", "cannot tell"),
        ("env list", "llama-cpp"),
        ("models", "smollm2-135m"),
    ],
)
def test_what_the_table_of_commands_names_besides(
    arguments: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in bench(monkeypatch, capsys, *arguments.split())


def test_bench_list_is_described_by_its_kinds() -> None:
    """The line of the README's table names every list there is."""
    (line,) = [line for line in README.splitlines() if line.startswith("| `bench list")]
    assert [kind for kind in LISTS.split(",") if kind not in line] == []
