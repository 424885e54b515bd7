"""The README's config is valid and its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.cli.app import app
from bench.config.reader import FILE_KEYS, read_config
from bench.config.spec import DriftBlock, MeasureBlock, PriceBlock, RuntimeBlock, WorkloadBlock

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()


def configs(text: str) -> list[str]:
    return [
        block for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL) if "variants:" in block
    ]


def test_every_config_in_the_docs_is_valid(tmp_path: Path) -> None:
    found = configs(README) + configs(GUIDE)
    assert len(found) == 2
    for number, block in enumerate(found):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        assert read_config(path).groups
        assert yaml.safe_load(block)["price"]


def test_the_guide_names_every_key_with_its_default() -> None:
    [text] = configs(GUIDE)
    sample = yaml.safe_load(text)
    assert set(sample) == set(FILE_KEYS)
    for key, kind in {"runtime": RuntimeBlock, "workload": WorkloadBlock, "drift": DriftBlock}.items():
        assert kind.model_validate({**sample[key], **as_tuples(sample[key])}) == kind()
        assert set(sample[key]) == set(kind.model_fields)
    assert MeasureBlock(**sample["measure"]) == MeasureBlock()
    assert set(sample["measure"]) == set(MeasureBlock.model_fields)
    assert PriceBlock(**sample["price"]) == PriceBlock(hardware="cloud-2vcpu-8gb")
    assert all(key in text for key in PriceBlock.model_fields)


def as_tuples(block: dict[str, object]) -> dict[str, object]:
    return {key: tuple(value) for key, value in block.items() if isinstance(value, list)}


def test_the_proof_in_the_readme_is_what_the_journals_say() -> None:
    """The table is printed by the script that reads the journals, not typed."""
    proof = ROOT / "results" / "reference" / "gate"
    command = [sys.executable, str(proof / "analyse.py"), "--table"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert f"<!-- proof:begin -->\n{printed}\n<!-- proof:end -->" in README


@pytest.mark.parametrize("name", ["quickstart", "quantisation", "pruning"])
def test_the_tables_in_the_readme_are_what_the_runs_say(name: str) -> None:
    command = [sys.executable, str(ROOT / "results" / "reference" / "table.py"), name]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert f"<!-- {name}:begin -->\n{printed}\n<!-- {name}:end -->" in README


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
