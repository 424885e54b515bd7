"""The documents: generated pages are what the code says, links lead somewhere, the site builds."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from loaded_script import loaded_script

from bench.config.reader import FILE_KEYS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """All generated pages by their names."""
    found: dict[str, str] = loaded_script("docs").pages()
    return found


@pytest.mark.parametrize(
    "name", ["commands.md", "config.md", "metrics.md", "models.md", "prices.md", "schemes.md"]
)
def test_generated_pages_are_what_the_code_says(name: str, made: dict[str, str]) -> None:
    """Otherwise: ``.venv/bin/python scripts/docs``."""
    assert (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") == made[name]


def test_the_page_of_keys_has_every_block() -> None:
    """The keys of a file that are left out here have no keys of their own."""
    without = {"name", "model", "optimise", "variants", "sweep"}
    assert set(FILE_KEYS) - without <= set(loaded_script("docs").BLOCKS)


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in headings)
    return {one.replace(" ", "-") for one in words}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    wrong = []
    for link in LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            wrong.append(link)
    assert wrong == []


def test_every_page_is_in_the_site_s_navigation() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())

    def files(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        assert isinstance(entry, dict | list)
        values = entry.values() if isinstance(entry, dict) else entry
        return [file for one in values for file in files(one)]

    found = {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}
    assert set(files(site["nav"])) == found


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs mkdocs-material")
def test_the_site_builds(tmp_path: Path) -> None:
    """With strict: a page or an anchor that is missing fails."""
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(tmp_path / "site"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "Three values for each row" in (tmp_path / "site" / "extending" / "scheme" / "index.html").read_text()
    )


def test_what_contributing_names_is_there() -> None:
    """Files, folders and the commands of its first block."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    folders = "bench|configs|docs|models|tests|results|scripts"
    files = set(re.findall(rf"`((?:{folders})/[\w./*-]+|\.pre-commit-config\.yaml)`", text))
    assert len(files) > 80
    assert [one for one in sorted(files) if not any(ROOT.glob(one))] == []
    rooms = set(re.findall(r"`(\w+)/`", text)) - {"bench"}
    assert rooms == {one.parent.name for one in (ROOT / "bench").glob("*/__init__.py")}


def rows_of(table: str) -> list[str]:
    """The first cells of a table's rows, without those of its head."""
    return [line.split(" | ")[0].strip("| ") for line in table.splitlines() if line.startswith("| ")][1:]


def test_contributing_lists_ten_usual_changes_and_each_other_place_once() -> None:
    """A reader scans the first table; a topic has at most as many rows as are seen at once."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    usual = text.partition("The ten most usual changes")[2].partition("## Where is")[0]
    topics = text.partition("## Where is")[2].partition("\n## ")[0].split("\n**")[1:]
    others = [rows_of(topic) for topic in topics]
    assert len(rows_of(usual)) == 10
    assert {len(topic) for topic in others} <= set(range(4, 13))
    every = [*rows_of(usual), *(row for topic in others for row in topic)]
    assert len(every) == len(set(every))


def test_the_citation_has_the_version_of_the_code() -> None:
    from bench import __version__

    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__


def test_pre_commit_runs_what_the_test_script_runs() -> None:
    """The same three checks, by the same environment."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    wanted = {" ".join(hook["entry"].split()) for hook in hooks}
    lines = (ROOT / "scripts" / "test").read_text().splitlines()
    run = {re.sub(r" --quiet| \.$| &$", "", line.strip()) for line in lines if line.startswith(".venv/bin/")}
    assert wanted <= run
