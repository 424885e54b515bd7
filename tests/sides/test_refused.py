"""What would be the same for both commits although it differs between them is refused, and no verdict."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from proof import repositories

from bench.config.settings import BuildBlock
from bench.errors import UsageError
from bench.sides.build import Built
from bench.sides.refused import files_of_the_working_tree, keys_of_another, locks_that_nothing_reads
from bench.sides.repository import Repository


@pytest.fixture
def home(tmp_path: Path) -> Path:
    at = tmp_path / "a shop"
    at.mkdir()
    repositories.git(at, "init", "--quiet")
    repositories.commit(at, {".gitignore": "weights/\n", "serve.py": "", "data/prompts.jsonl": ""})
    return at


def named(home: Path, content: dict[str, Any]) -> None:
    """Look at a config of this content."""
    repository = Repository(home)
    commit = repository.find("HEAD")
    assert commit is not None
    spec: Any = SimpleNamespace(content=content)
    files_of_the_working_tree(spec, "ci.yaml in main", repository, commit)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"workload": {"file": "{at}/data/prompts.jsonl"}}, "workload.file"),
        ({"model": {"path": "{at}/data/"}}, "model.path"),
        ({"runtime": {"command": ["python", "{at}/serve.py"]}}, "runtime.command"),
        ({"runtime": {"command": ["sh", "-c", "cd {at} && python serve.py"]}}, "runtime.command"),
        (
            {"variants": [{"name": "v", "workload": {"file": "{at}/data/prompts.jsonl"}}]},
            "variants.v.workload",
        ),
    ],
)
def test_a_file_of_the_commit_is_not_named_in_the_working_tree(
    content: dict[str, Any], key: str, home: Path
) -> None:
    with pytest.raises(UsageError, match=rf"^ci\.yaml in main: {key}.*both commits would use the same file"):
        named(home, filled(content, home))


def filled(content: Any, home: Path) -> Any:
    if isinstance(content, dict):
        return {name: filled(one, home) for name, one in content.items()}
    if isinstance(content, list):
        return [filled(one, home) for one in content]
    return content.replace("{at}", str(home))


@pytest.mark.parametrize(
    "path", ["{at}/weights/small", "{at}-of-another/serve.py", "/models/small", "data/prompts.jsonl"]
)
def test_what_belongs_to_no_commit_may_be_named(path: str, home: Path) -> None:
    named(home, {"model": {"path": path.replace("{at}", str(home))}})


def test_different_lock_files_that_nothing_reads_are_no_comparison(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "app").mkdir(parents=True)
    (source / "app" / "pyproject.toml").write_text("[tool.poetry]\nname = 'app'\n")
    built = Built(tmp_path, source, source / "app")
    with pytest.raises(UsageError, match=r"^app/poetry\.lock differs .*build\.commands"):
        locks_that_nothing_reads([(built, BuildBlock())], ["app/poetry.lock", "app/serve.py"])
    locks_that_nothing_reads([(built, BuildBlock())], ["app/serve.py"])


def sending(*rows: dict[str, str | None]) -> Any:
    """A config with these keys of its engines."""
    arms = [SimpleNamespace(runtime=SimpleNamespace(own=tuple(own.items()))) for own in rows]
    return SimpleNamespace(groups=[SimpleNamespace(arms=arms)])


def test_a_candidate_sends_no_key_that_the_base_does_not_send() -> None:
    """Its config could name any variable of the job, and an address of its own."""
    ours: dict[str, str | None] = {"url": "https://api.example", "key_env": "API_KEY"}
    base = sending({"threads": "1"}, ours)
    for fine in (
        (),
        (ours, ours),
        ({"url": "https://elsewhere.example", "key_env": None},),
        ({"threads": "2"},),
    ):
        keys_of_another(base, sending(*fine), "the config in HEAD")
    for name, url in (("API_KEY", "https://elsewhere.example"), ("CI_TOKEN", "https://api.example")):
        said = rf"^the config in HEAD: the variable {name} would be sent to {url}, and the config of the base"
        with pytest.raises(UsageError, match=said):
            keys_of_another(base, sending(ours, {"url": url, "key_env": name}), "the config in HEAD")
    with pytest.raises(UsageError, match=r"the variable C\S*I would be sent"):
        keys_of_another(
            sending(), sending({"url": "https://a.example\n::error::x", "key_env": "C\x1bI"}), "it"
        )
