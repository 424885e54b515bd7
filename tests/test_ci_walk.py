"""docs/ci.md: its ten commands lead from an empty directory to a red pull request, with real gates.

The reader's machine has this tool, git, and a ``gh`` that keeps repositories in a directory. GitHub is the
action's own steps in a clone of what the reader pushed. The reader's results are there, as the action's cache
would have them, so the second gate goes on with the evidence of the first.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_ci_files import ACTION, ACTION_FILE, GITLAB, WORKFLOW_FILE, Job, git
from typer.core import TyperGroup
from typer.main import get_command

from bench.cli.main import app
from bench.config.reader import read_config
from bench.errors import ExitCode
from bench.models.disk_cache import cache_root
from bench.report.gate import MARKER

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "ci.md").read_text()
WALK = re.findall(r"^<!-- walk -->\n```sh\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
YAML = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)

BENCH = """#!{python}
import sys
sys.path.insert(0, {root!r})
from bench.__main__ import main
sys.argv[0] = "bench"
main()
"""
# Its repositories are directories, and a pull request is a file with the name of the branch.
GH = """#!/bin/sh
set -e
case "$1 $2" in
  "repo create") git init --quiet --bare "{hub}/$3.git"; git remote add origin "{hub}/$3.git"
    git push --quiet origin main;;
  "pr create") git branch --show-current > "{hub}/pull-request";;
  *) exit 9;;
esac
"""
PIP = """#!/bin/sh
echo "$*" > "{hub}/installed"
"""


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a reader, with the models in the cache."""
    cache, programs, hub = (tmp_path / name for name in ("cache", "programs", "hub"))
    for one in (cache, programs, hub, tmp_path / "home"):
        one.mkdir()
    for part in ("models", "digests"):
        (cache / part).symlink_to(cache_root() / part)
    told = {"python": sys.executable, "root": str(ROOT), "hub": str(hub)}
    for name, text in (("bench", BENCH), ("gh", GH), ("pip", PIP)):
        (programs / name).write_text(text.format(**told))
        (programs / name).chmod(0o755)
    who = {"NAME": "reader", "EMAIL": "reader@localhost"}
    return {
        "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(tmp_path / "home"), "BENCH_CACHE": str(cache), "BENCH_MACHINE_LOCK": "none",
        **{f"GIT_{role}_{key}": one for role in ("AUTHOR", "COMMITTER") for key, one in who.items()},
    }  # fmt: skip


def test_ten_commands_lead_to_a_red_pull_request(machine: dict[str, str], tmp_path: Path) -> None:
    codes, desk, hub = tmp_path / "codes", tmp_path / "desk", tmp_path / "hub"
    desk.mkdir()
    script = "".join(f"{command}echo $? >> '{codes}'\n" for command in WALK)
    assert "1_030_000" in script  # how often a gate sees so little is for the proof to say, on any machine
    script = script.replace("1_030_000", "1_100_000")
    done = subprocess.run(
        ["bash", "-c", script], env=machine, cwd=desk, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert codes.read_text().split() == ["0"] * 8 + ["1", "0"], done.stderr
    assert re.search(r"^FAIL  cost  \(exit 1\)$", done.stdout, flags=re.MULTILINE)
    assert re.search(r"compare main \(\w+\) with .*\n.*serve\.py$", done.stderr, flags=re.MULTILINE)
    assert git(desk / "shop", "status", "--porcelain") == ""
    extras = re.search(r"\[(.*)\]", (hub / "installed").read_text())
    assert extras is not None
    assert f"\n{extras[1]} = [" in (ROOT / "pyproject.toml").read_text()

    assert (hub / "pull-request").read_text() == "slower\n"
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--branch", "slower", str(hub / "shop.git"), str(clone))
    (desk / "shop" / "results").rename(clone / "results")
    job = on_github(clone, machine, tmp_path)
    assert job.status == 1, job.said
    assert (job.outputs["verdict"], job.outputs["exit-code"]) == ("FAIL", "1")
    assert "of them from an earlier gate on the same code" in job.said
    assert re.search(r"^::error title=bench gate::FAIL ", job.said, flags=re.MULTILINE)
    comment = Path(job.outputs["comment"]).read_text()
    assert comment.startswith(f"{MARKER}\n### FAIL: cost\n")
    assert (Path(job.outputs["comment"]).parent / "gate.xml").read_text().count("<failure ") == 1


def on_github(clone: Path, machine: dict[str, str], tmp_path: Path) -> Job:
    """The job of the reader's workflow. It does not install, and does not take the time to calibrate."""
    workflow = yaml.safe_load((clone / ".github" / "workflows" / "cost.yml").read_text())
    [step] = [one for one in workflow["jobs"]["cost"]["steps"] if "/actions/gate@" in one["uses"]]
    assert ROOT / step["uses"].split("@")[0].split("/", 2)[2] == ACTION_FILE.parent
    return Job(
        clone, step["with"], machine["PATH"], tmp_path / "github", environment=machine,
        skip=("Install", "Calibrate"),
    ).run()  # fmt: skip


# ---- the rest of the page ------------------------------------------------------------------------


def test_there_are_ten_commands_and_their_config_is_valid(tmp_path: Path) -> None:
    assert len(WALK) == 10
    assert PAGE.count("<!-- walk -->") == 10
    assert re.findall(r"^\*\*(\d+)\.\*\*", PAGE, flags=re.MULTILINE) == [str(n) for n in range(1, 11)]
    [config] = [block for block in WALK if block.startswith("cat > cost.yaml")]
    file = tmp_path / "cost.yaml"
    file.write_text(re.sub(r"\A.*\n|EOF\n\Z", "", config))
    assert read_config(file).gate


def test_the_tables_name_every_input_and_output_with_its_default() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| ?([^|]*) \|", PAGE, flags=re.MULTILINE)
    inputs = {name: default.strip("` ") for name, default in rows[: len(ACTION["inputs"])]}
    assert inputs == {name: str(one.get("default", "")) for name, one in ACTION["inputs"].items()}
    assert [name for name, _words in rows[len(inputs) :]] == list(ACTION["outputs"])


def test_other_actions_are_those_that_this_repository_uses() -> None:
    known = re.findall(r"uses: (actions/(?:checkout|setup-python)@.*)", WORKFLOW_FILE.read_text())
    assert re.findall(r"uses: (actions/.*)", PAGE) == known


def jobs(blocks: list[str]) -> list[dict[str, Any]]:
    """The steps of the page's workflows that use the action."""
    found = [yaml.safe_load(block).get("jobs", {}).get("cost", {}).get("steps", []) for block in blocks]
    return [step for steps in found for step in steps if "/actions/gate@" in step.get("uses", "")]


def test_examples_use_inputs_and_outputs_that_exist() -> None:
    [step] = jobs(YAML)
    assert step["with"].keys() <= ACTION["inputs"].keys()
    outputs = re.findall(rf"steps\.{step['id']}\.outputs\.([a-z-]+)", PAGE)
    assert outputs
    assert set(outputs) <= ACTION["outputs"].keys()
    [gitlab] = [yaml.safe_load(block)["cost"] for block in YAML if ".bench-gate" in block]
    assert gitlab["variables"].keys() <= GITLAB["variables"].keys()
    named = re.findall(r"`([A-Z_]+)(?:: [^`]*)?`", PAGE.split("## GitLab")[1].split("\n## ")[0])
    silent = {"CONFIG", "GIT_DEPTH", "BENCH_CACHE", "PIP_CACHE_DIR"}
    assert set(named) == GITLAB["variables"].keys() - silent


def test_the_exit_codes_are_those_of_the_tool() -> None:
    codes = {int(row) for row in re.findall(r"^\| (\d) \|", PAGE, flags=re.MULTILINE)}
    assert codes == {code for code in ExitCode if code < 10} - {ExitCode.INTEGRITY}


@pytest.mark.parametrize(
    "line", list(re.findall(r"^bench .*", PAGE, flags=re.MULTILINE)), ids=lambda line: line[:40]
)
def test_every_command_of_the_page_is_understood(line: str) -> None:
    _bench, name, *rest = shlex.split(line, comments=True)
    command = get_command(app)
    assert isinstance(command, TyperGroup)
    assert command.commands[name].make_context(name, list(rest)).params


# ---- the comment ---------------------------------------------------------------------------------

TALKING = """#!/bin/sh
for one; do printf '%s\\037' "$one"; done >> "{at}/asked"
echo >> "{at}/asked"
case "$*" in *--paginate*) printf '{ids}';; esac
"""


@pytest.mark.parametrize(
    ("ids", "last"),
    [
        ("", ["pr", "comment", "7", "--body-file", "a b/comment.md"]),
        ("11\\n12\\n", ["api", "--silent", "--method", "PATCH", "repos/o/r/issues/comments/12", "--field",
                        "body=@a b/comment.md"]),
    ],
)  # fmt: skip
def test_the_comment_is_written_once_and_then_renewed(ids: str, last: list[str], tmp_path: Path) -> None:
    [block] = [yaml.safe_load(block) for block in YAML if "--paginate" in block]
    [script] = [step["run"] for step in block["jobs"]["cost"]["steps"] if step.get("name") == "Comment"]
    (tmp_path / "gh").write_text(TALKING.format(at=tmp_path, ids=ids))
    (tmp_path / "gh").chmod(0o755)
    given = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "GITHUB_REPOSITORY": "o/r", "PR": "7",
        "COMMENT": "a b/comment.md",
    }  # fmt: skip
    subprocess.run(["bash", "-eo", "pipefail", "-c", script], env=given, check=True)
    asked = [line.split("\037")[:-1] for line in (tmp_path / "asked").read_text().splitlines()]
    assert [len(asked), asked[-1]] == [2, last]
    assert MARKER in asked[0][-1]
