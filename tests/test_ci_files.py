"""The GitHub action and the GitLab job: their own shell lines, with a ``bench`` that answers as told.

``Job`` does what GitHub's runner does with a composite action: it fills in expressions, skips steps by their
``if``, runs every ``run`` in bash, and notes what the other actions are given.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
ACTION_FILE = ROOT / ".github" / "actions" / "gate" / "action.yml"
WORKFLOW_FILE = ROOT / ".github" / "workflows" / "gate.yml"
ACTION: dict[str, Any] = yaml.safe_load(ACTION_FILE.read_text())
WORKFLOW: dict[str, Any] = yaml.safe_load(WORKFLOW_FILE.read_text())
GITLAB: dict[str, Any] = yaml.safe_load((ROOT / ".gitlab" / "gate.yml").read_text())[".bench-gate"]

# ---- GitHub's runner -----------------------------------------------------------------------------

TOKEN = re.compile(r"'[^']*'|[a-z]+\(\)|[a-z_][\w-]*(?:\.[\w-]+)+|&&|\|\||[!=]=|[()]")
OPERATORS = {"&&": "and", "||": "or", "always()": "True"}


def value(expression: str, contexts: Mapping[str, Any]) -> object:
    """The value of an expression; what is not there is empty, as on GitHub."""

    def python(token: str) -> str:
        if token in OPERATORS or not token[0].isalpha():
            return OPERATORS.get(token, token)
        found: Any = contexts
        for part in token.split("."):
            found = found.get(part, {})
        return repr(found or "")

    assert not TOKEN.sub("", expression).strip(), expression
    return eval(" ".join(python(token) for token in TOKEN.findall(expression)))


def filled(text: str, contexts: Mapping[str, Any]) -> str:
    """A text with its expressions filled in."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda match: str(value(match[1], contexts)), text)


@dataclass
class Job:
    """One job that uses the action: ``inputs`` are its ``with``, ``path`` is where its programs are."""

    workspace: Path
    inputs: dict[str, str]
    path: str
    home: Path
    github: dict[str, Any] = field(default_factory=dict)
    runner: dict[str, str] = field(default_factory=dict)
    action: Path = ACTION_FILE
    environment: dict[str, str] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    status: int = 0
    said: str = ""
    others: dict[str, dict[str, str]] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    steps: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        declared = yaml.safe_load(self.action.read_text())["inputs"]
        assert self.inputs.keys() <= declared.keys()
        self.inputs = {key: str(one.get("default", "")) for key, one in declared.items()} | self.inputs
        self.github = {"run_id": "11", "run_attempt": "1"} | self.github
        self.runner = {
            "os": "Linux", "arch": "X64", "name": "GitHub Actions 7", "environment": "github-hosted"
        } | self.runner  # fmt: skip
        self.temporary = self.home / "temp"
        self.temporary.mkdir(parents=True, exist_ok=True)

    def run(self) -> Job:
        """Do every step; afterwards ``status`` is the exit code of the first that failed."""
        contexts = {
            "inputs": self.inputs, "github": self.github, "runner": self.runner, "steps": self.steps,
        }  # fmt: skip
        action = yaml.safe_load(self.action.read_text())
        for step in action["runs"]["steps"]:
            condition = step.get("if", "")
            if (self.status and "always()" not in condition) or step["name"] in self.skip:
                continue
            if condition and not value(condition, contexts):
                continue
            if "uses" in step:
                self.others[step["name"]] = {k: filled(v, contexts) for k, v in step["with"].items()}
            else:
                self._shell(step, contexts)
        self.outputs = {k: filled(v["value"], contexts) for k, v in action["outputs"].items()}
        return self

    def _shell(self, step: dict[str, Any], contexts: Mapping[str, Any]) -> None:
        place = self.workspace / filled(step.get("working-directory", "."), contexts)
        files = {name: self.temporary / name for name in ("GITHUB_OUTPUT", "GITHUB_PATH")}
        for file in files.values():
            file.write_text("")
        script = self.temporary / "step.sh"
        script.write_text(step["run"])
        known = {
            "PATH": self.path, "HOME": str(self.home), "RUNNER_TEMP": str(self.temporary),
            "GITHUB_ACTION_PATH": str(self.action.parent), "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self.temporary / "summary.md"), **self.environment,
        }  # fmt: skip
        given = {k: filled(v, contexts) for k, v in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)], cwd=place, text=True,
            env={**known, **given, **{name: str(file) for name, file in files.items()}}, timeout=300,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        self.said += done.stdout
        self.status = self.status or done.returncode
        lines = files["GITHUB_OUTPUT"].read_text().splitlines()
        if "id" in step:
            self.steps[step["id"]] = {"outputs": dict(line.split("=", 1) for line in lines)}
        self.path = os.pathsep.join([*files["GITHUB_PATH"].read_text().splitlines(), self.path])


# ---- a machine with a Python that makes environments with a ``bench`` that answers as told -------

PYTHON = """#!/bin/sh
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; cp "{at}/bench" "$3/bin/bench"
    printf '#!/bin/sh\\nexec "%s/bin/python" -m pip "$@"\\n' "$3" > "$3/bin/pip"; chmod +x "$3/bin/pip";;
  "-m pip cache dir") echo "{at}/pip-cache";;
  "-m pip "*) for one; do printf '%s\\037' "$one"; done >> "{at}/installed"; echo >> "{at}/installed";;
  *) exec "{python}" "$@";;
esac
"""
BENCH = """#!/bin/sh
{{ for one; do printf '%s\\037' "$one"; done; echo; }} >> "{at}/asked"
for one; do
  case $last in -o) echo written > "$one";; esac
  case $one in --out=*) out=${{one#--out=}};; esac
  last=$one
done
case $1 in
  calibrate) exit {calibration};;
  gate) sleep 0.02
    if [ {run} = yes ]; then mkdir -p "$out/20260102-000000-gate"; touch "$out/20260102-000000-gate"; fi
    echo "{line}"
    exit {code};;
esac
"""
LINE = "FAIL  ci  (exit 1)"


@dataclass
class Machine:
    """What the programs on the path were asked, and a repository with one commit."""

    at: Path
    workspace: Path

    def answers(self, line: str = LINE, code: int = 1, calibration: int = 0, run: str = "yes") -> None:
        """Make the programs."""
        told = {"line": line, "code": code, "calibration": calibration, "run": run}
        for name, text in (("bench", BENCH), ("python", PYTHON)):
            (self.at / name).write_text(text.format(at=self.at, python=sys.executable, **told))
            (self.at / name).chmod(0o755)

    def job(self, inputs: Mapping[str, str] = {}, **more: Any) -> Job:
        """A job on this machine, done."""
        for name in ("asked", "installed"):
            (self.at / name).unlink(missing_ok=True)
        path = f"{self.at}{os.pathsep}{os.environ['PATH']}"
        return Job(self.workspace, {"config": "cost.yaml", **inputs}, path, self.at / "home", **more).run()

    def asked(self, command: str) -> list[list[str]]:
        """The arguments of every call of a command of ``bench``."""
        return [rest for first, *rest in self._calls("asked") if first == command]

    def installed(self) -> list[list[str]]:
        """The arguments of every ``pip install``, without those about its output."""
        known = ("--progress-bar", "off", "--quiet")
        calls = (call[call.index("install") + 1 :] for call in self._calls("installed"))
        return [[one for one in call if one not in known] for call in calls]

    def _calls(self, name: str) -> list[list[str]]:
        file = self.at / name
        return (
            [line.split("\037")[:-1] for line in file.read_text().split("\n")[:-1]] if file.exists() else []
        )

    def commit(self) -> str:
        """Commit all files; return the commit."""
        git(self.workspace, "add", "--all")
        git(self.workspace, "commit", "--quiet", "--allow-empty", "-m", "more")
        return git(self.workspace, "rev-parse", "HEAD").strip()


def git(place: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@localhost")
    return subprocess.run(
        ["git", "-C", str(place), *who, *arguments], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path / "machine", tmp_path / "work space")
    made.at.mkdir()
    made.workspace.mkdir()
    git(made.workspace, "init", "--quiet", "--initial-branch", "main")
    (made.workspace / "cost.yaml").write_text("model: smollm2-135m\n")
    made.commit()
    made.answers()
    return made


# ---- the verdict ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "inconclusive", "unreached", "ends"),
    [
        ("PASS  ci  (exit 0)", 0, "fail", "fail", 0),
        ("FAIL  ci  (exit 1)", 1, "pass", "pass", 1),
        ("INCONCLUSIVE  ci  (exit 3)", 3, "fail", "pass", 3),
        ("INCONCLUSIVE  ci  (exit 3)", 3, "pass", "fail", 0),
        ("UNREACHED  ci  (exit 8)", 8, "pass", "fail", 8),
        ("UNREACHED  ci  (exit 8)", 8, "fail", "pass", 0),
        ("SUSPECT  ci  (exit 7)", 7, "pass", "pass", 7),
        ("BROKEN_BASE  ci  (exit 9)", 9, "pass", "pass", 9),
    ],
)
def test_the_job_ends_as_the_gate_does(
    line: str, code: int, inconclusive: str, unreached: str, ends: int, machine: Machine
) -> None:
    machine.answers(line, code)
    job = machine.job({"on-inconclusive": inconclusive, "on-unreached": unreached, "base": "main"})
    assert job.status == ends, job.said
    run = machine.workspace / "results" / "20260102-000000-gate"
    assert job.outputs["verdict"] == line.split()[0]
    assert (job.outputs["exit-code"], job.outputs["run"]) == (str(code), str(run))
    assert Path(job.outputs["comment"]).read_text() == "written\n"
    out = f"--out={machine.workspace}/results"
    assert machine.asked("gate") == [
        [out, "--cap=40", "--base=main", "--candidate=HEAD", "--limits-from=base", "--", "cost.yaml"]
    ]
    reports = machine.asked("report")
    assert [one[0] for one in reports] == ["--format=pr-comment", "--format=junit"]
    assert {one[-1] for one in reports} == {str(run)}


def test_a_job_may_let_a_broken_base_pass(machine: Machine) -> None:
    machine.answers("BROKEN_BASE  ci  (exit 9)", 9)
    job = machine.job({"on-broken-base": "pass", "base": "main"})
    assert (job.status, job.outputs["verdict"], job.outputs["exit-code"]) == (0, "BROKEN_BASE", "9")
    assert "Save environments, models and packages" not in job.others, "a side may be missing"


@pytest.mark.parametrize("code", [0, 1, 3, 8])
def test_evidence_and_run_are_kept_whatever_the_verdict_is(code: int, machine: Machine) -> None:
    machine.answers("X", code)
    job = machine.job()
    saved = job.others["Save results"]
    assert saved == {key: job.others["Restore results"][key] for key in ("path", "key")}
    assert saved["path"] == str(machine.workspace / "results")
    kept = job.others["Keep the run"]
    directories = kept["path"].split("\n")[:2]
    assert directories[0] == job.outputs["run"]
    assert {"comment.md", "gate.xml", "gate.txt"} <= {one.name for one in Path(directories[1]).iterdir()}
    assert "Save environments, models and packages" in job.others


def test_a_gate_that_measured_nothing_has_no_run_and_saves_no_half_made_environments(
    machine: Machine,
) -> None:
    machine.answers("bench: no such commit", 2, run="no")
    (machine.workspace / "results" / "20250101-000000-earlier").mkdir(parents=True)
    time.sleep(0.02)
    job = machine.job({"base": "nowhere"})
    assert job.status == 2
    assert job.outputs == {"verdict": "", "exit-code": "2", "run": "", "comment": ""}
    assert "Save environments, models and packages" not in job.others
    assert {"Save results", "Keep the run"} <= job.others.keys()


@pytest.mark.parametrize("wrong", ["on-inconclusive", "on-unreached", "on-broken-base"])
def test_a_choice_that_is_neither_fail_nor_pass_ends_the_job_at_once(wrong: str, machine: Machine) -> None:
    job = machine.job({wrong: "warn"})
    assert job.status == 2
    said = "on-inconclusive, on-unreached and on-broken-base must be fail or pass"
    assert f"::error title=bench gate::{said}" in job.said
    assert job.others == {}


def test_an_old_python_ends_the_job_at_once(machine: Machine) -> None:
    (machine.at / "python").write_text("#!/bin/sh\nexit 1\n")
    job = machine.job()
    assert (job.status, job.others) == (2, {})
    assert "use actions/setup-python" in job.said


# ---- names ---------------------------------------------------------------------------------------

STRANGE = "a b; $(touch pwned) `touch pwned` 'c' \"d\" & | > * $HOME"


def test_names_are_never_read_as_shell(machine: Machine, tmp_path: Path) -> None:
    directory = machine.workspace / STRANGE
    directory.mkdir()
    (directory / f"{STRANGE}.yaml").write_text("model: x\n")
    commit = machine.commit()
    git(machine.workspace, "branch", "it's;$(touch${IFS}pwned)")
    job = machine.job({
        "working-directory": STRANGE, "config": f"{STRANGE}.yaml", "results": STRANGE,
        "base": "it's;$(touch${IFS}pwned)", "candidate": STRANGE, "cap": STRANGE, "limits-from": STRANGE,
        "arguments": "--set a=$(touch${IFS}pwned) --only *", "extras": STRANGE, "pip-arguments": "$(touch) *",
    })  # fmt: skip
    assert job.status == 1, job.said
    [asked] = machine.asked("gate")
    assert asked == [
            f"--out={directory}/{STRANGE}", f"--cap={STRANGE}", "--base=it's;$(touch${IFS}pwned)",
            f"--candidate={STRANGE}", f"--limits-from={STRANGE}", "--set", "a=$(touch${IFS}pwned)", "--only",
            "*", "--", f"{STRANGE}.yaml",
    ]  # fmt: skip
    assert list(tmp_path.rglob("pwned")) == []
    key = job.others["Save results"]["key"]
    assert re.fullmatch(r"[A-Za-z0-9._-]+", key)
    assert f"-hosted-{commit}-11-1" in key
    assert re.fullmatch(r"[A-Za-z0-9._-]+", job.others["Keep the run"]["name"])


def test_no_expression_stands_in_a_script() -> None:
    """GitHub would fill it in as text, and its shell would run that."""
    scripts = [step["run"] for step in ACTION["runs"]["steps"] if "run" in step]
    assert len(scripts) == 6
    assert [script for script in scripts if "${{" in script] == []


# ---- installing ----------------------------------------------------------------------------------


def test_the_package_comes_from_the_action_s_checkout_or_from_the_index(machine: Machine) -> None:
    def installed(inputs: dict[str, str], action: Path = ACTION_FILE) -> list[str]:
        machine.job(inputs, action=action)
        [arguments] = machine.installed()
        return arguments

    assert installed({}) == [f"{ROOT}[transformers]"]
    assert installed({"version": "1.2"}) == ["inference-cost-bench[transformers]==1.2"]
    assert installed({"version": "1.2", "extras": ""}) == ["inference-cost-bench==1.2"]
    for address in ("file:///a%20b/tool.whl", "git+https://HOST/tool@abc"):
        assert installed({"version": address}) == [f"inference-cost-bench[transformers] @ {address}"]
    for file in ("./a b/tool.whl", "tool-1.2-py3-none-any.whl", "../tool"):
        assert installed({"version": file}) == [f"{file}[transformers]"]
    more = {"extras": "", "pip-arguments": "--extra-index-url  HOST\n --pre"}
    assert installed(more) == ["--extra-index-url", "HOST", "--pre", str(ROOT)]

    checkout = machine.at / "an other place"
    shutil.copytree(ACTION_FILE.parent, checkout / ".github" / "actions" / "gate")
    elsewhere = checkout / ".github" / "actions" / "gate" / "action.yml"
    assert installed({}, elsewhere) == [f"{checkout}[transformers]"]


@pytest.mark.parametrize("there", [True, False])
def test_uv_is_installed_for_a_lock_file_of_its_own(there: bool, machine: Machine) -> None:
    (machine.workspace / "sub").mkdir()
    (machine.workspace / "sub" / "uv.lock").write_text("")
    machine.commit()
    if there:
        (machine.at / "uv").write_text("#!/bin/sh\n")
        (machine.at / "uv").chmod(0o755)
    elif shutil.which("uv"):
        pytest.skip("there is a uv on this machine")
    job = machine.job()
    assert (["uv"] in machine.installed()) is not there
    first = Path(job.path.split(os.pathsep)[0])
    assert (first / "bench").exists()
    assert sorted(one.name for one in first.iterdir()) == (["bench"] if there else ["bench", "uv"])


# ---- calibrating ---------------------------------------------------------------------------------


def test_it_calibrates_if_that_is_due_and_only_if_told_to(machine: Machine) -> None:
    """A look of its own at the results said *calibrated* of another config's calibration, or of another
    machine's, and the gate then said *not calibrated*."""
    machine.job({"calibrate": "false"})
    assert machine.asked("calibrate") == []
    for _attempt in range(2):
        machine.job()
        asked = [["--if-due", f"--out={machine.workspace}/results", "--", "cost.yaml"]]
        assert machine.asked("calibrate") == asked, "whether it is due says the tool alone"


def test_it_calibrates_in_the_environment_of_the_candidate(machine: Machine) -> None:
    """The job's own Python need not have what the commit declares."""
    machine.job({"base": "main", "candidate": ""})
    out = f"--out={machine.workspace}/results"
    assert machine.asked("calibrate") == [["--if-due", out, "--commit=worktree", "--", "cost.yaml"]]


def test_it_does_not_calibrate_for_a_base_that_is_not_here(machine: Machine) -> None:
    """A shallow clone lacks it: the gate says so at once, and not after minutes."""
    job = machine.job({"base": "HEAD^"})
    assert machine.asked("calibrate") == []
    assert "not calibrated: there is no HEAD^ in this clone" in job.said
    assert len(machine.asked("gate")) == 1
    assert "there is no abc in this clone" in gitlab(machine, BASE="abc").stdout
    assert machine.asked("calibrate") == []


def test_without_a_candidate_the_files_as_they_are_are_compared(machine: Machine) -> None:
    machine.job({"base": "main", "candidate": ""})
    [asked] = machine.asked("gate")
    assert [one for one in asked if one.startswith("--") and one != "--"][2:] == [
        "--base=main", "--limits-from=base",
    ]  # fmt: skip


def test_the_gate_goes_on_without_a_calibration(machine: Machine) -> None:
    machine.answers("PASS  ci  (exit 0)", 0, calibration=5)
    job = machine.job()
    assert job.status == 0
    assert "::warning title=bench gate::not calibrated" in job.said


# ---- what is compared ----------------------------------------------------------------------------


def test_only_a_commit_has_a_candidate(machine: Machine) -> None:
    """An interpreter and an earlier run are compared with the files as they are."""
    (machine.workspace / "old").mkdir()
    for base in ("", "old", "nowhere"):
        job = machine.job({"base": base})
        options = [one for one in machine.asked("gate")[0] if one.startswith(("--base", "--candidate"))]
        assert options == ([f"--base={base}"] if base else [])
        assert job.others["Save results"]["key"].endswith("-hosted--11-1")


def test_a_cache_of_results_is_found_by_every_later_job(machine: Machine) -> None:
    """First one of the same base, then one of the same machine, then any: a calibration is of use to all."""
    commit = machine.commit()
    job = machine.job({"base": "main"}, runner={"environment": "self-hosted", "name": "my box/1"})
    restored = job.others["Restore results"]
    keys = restored["restore-keys"].splitlines()
    assert restored["key"] == f"bench-results-Linux-X64-cost-my-box-1-{commit}-11-1"
    assert keys == [
        f"bench-results-Linux-X64-cost-my-box-1-{commit}-",
        "bench-results-Linux-X64-cost-my-box-1-",
        "bench-results-Linux-X64-cost-",
    ]
    again = machine.job({"base": "main"}, github={"run_attempt": "2"}, runner={"name": "GitHub Actions 9"})
    assert again.others["Save results"]["key"].startswith("bench-results-Linux-X64-cost-hosted-")


def test_each_job_of_a_matrix_has_results_of_its_own(machine: Machine) -> None:
    """A key can be saved once, so the evidence of all jobs but one was lost."""
    jobs = [machine.job({"artifact": name}) for name in ("bench-gate", "gate 3.11", "gate 3.12")]
    keys = [job.others["Save results"]["key"] for job in jobs]
    assert len(set(keys)) == 3
    assert keys[1].startswith("bench-results-Linux-X64-gate-3.11-cost-hosted-")
    assert keys[1] == jobs[1].others["Restore results"]["key"]
    assert len({job.others["Keep the run"]["name"] for job in jobs}) == 3


def test_environments_are_cached_by_what_declares_them(machine: Machine) -> None:
    def key(**inputs: str) -> str:
        job = machine.job(inputs)
        restored, saved = (
            job.others[f"{verb} environments, models and packages"] for verb in ("Restore", "Save")
        )
        assert restored["key"].startswith(restored["restore-keys"])
        assert {one: restored[one] for one in saved} == saved
        assert restored["path"].splitlines()[-2] == f"{machine.at}/pip-cache"
        return str(restored["key"])

    seen = [key()]
    (machine.workspace / "serve.py").write_text("")
    machine.commit()
    assert key() == seen[0]
    for name in ("requirements.txt", "requirements-dev.txt", "pyproject.toml", "sub/uv.lock", "setup.cfg"):
        (machine.workspace / name).parent.mkdir(exist_ok=True)
        (machine.workspace / name).write_text(name)
        machine.commit()
        seen.append(key())
    (machine.workspace / "cost.yaml").write_text("model: qwen3-0.6b\n")
    seen += [key(), key(version="1.0"), key(version="1.0", extras="")]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(("where", "kept"), [("github-hosted", False), ("self-hosted", True)])
def test_environments_of_other_lock_files_are_forgotten_where_they_would_be_saved_again(
    where: str, kept: bool, machine: Machine
) -> None:
    sides = machine.at / "home" / ".cache" / "inference-cost-bench" / "sides"
    sides.mkdir(parents=True)
    machine.job(runner={"environment": where})
    assert sides.exists() is kept


# ---- the files themselves ------------------------------------------------------------------------


@pytest.mark.parametrize("file", [ACTION_FILE, WORKFLOW_FILE], ids=lambda path: path.name)
def test_other_actions_are_pinned_to_a_commit_and_say_their_version(file: Path) -> None:
    used = re.findall(r"^ *(?:- )?uses: (?!\./)(.*)$", file.read_text(), flags=re.MULTILINE)
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []
    assert len({one.split("@")[1] for one in used if one.startswith("actions/cache")}) <= 1


def test_the_action_names_its_inputs() -> None:
    used = set(re.findall(r"inputs\.([a-z-]+)", yaml.safe_dump(ACTION)))
    assert used == set(ACTION["inputs"])
    assert all(one.get("shell") == "bash" for one in ACTION["runs"]["steps"] if "run" in one)


def test_this_repository_uses_its_own_action() -> None:
    [step] = [one for one in WORKFLOW["jobs"]["cost"]["steps"] if one["uses"].startswith("./")]
    assert ROOT / step["uses"] == ACTION_FILE.parent
    assert step["with"].keys() <= ACTION["inputs"].keys()
    assert (ROOT / step["with"]["config"]).is_file()
    assert WORKFLOW["permissions"] == {"contents": "read"}


# ---- GitLab --------------------------------------------------------------------------------------


def gitlab(machine: Machine, **variables: str) -> subprocess.CompletedProcess[str]:
    """Do the job's script as GitLab's runner does: all lines in one shell."""
    (machine.at / "asked").unlink(missing_ok=True)
    known = {key: str(one) for key, one in GITLAB["variables"].items()}
    given = {
        **known, "CI_PROJECT_DIR": str(machine.workspace), "HOME": str(machine.at), **variables,
        "PATH": f"{machine.at}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    script = "\n".join(["set -eo pipefail", *GITLAB["script"]])
    return subprocess.run(
        ["bash", "-c", script], env=given, cwd=machine.workspace, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("variables", "compared"),
    [
        ({}, []),
        ({"CI_MERGE_REQUEST_DIFF_BASE_SHA": "abc"}, ["--base=abc", "--candidate=HEAD"]),
        ({"CI_MERGE_REQUEST_DIFF_BASE_SHA": "abc", "BASE": "v 1"}, ["--base=v 1", "--candidate=HEAD"]),
        (
            {"CI_MERGE_REQUEST_DIFF_BASE_SHA": "abc", "CI_MERGE_REQUEST_TARGET_BRANCH_SHA": "tip"},
            ["--base=tip", "--candidate=HEAD"],
        ),
    ],
)
def test_the_gitlab_job(variables: dict[str, str], compared: list[str], machine: Machine) -> None:
    machine.answers("UNREACHED  ci  (exit 8)", 8)
    (machine.workspace / "v 1").mkdir()
    for tag in ("abc", "tip"):
        git(machine.workspace, "tag", tag)
    done = gitlab(machine, CONFIG="co st.yaml", ARGUMENTS="--only a", **variables)
    assert done.returncode == 8, done.stderr
    assert machine.asked("gate") == [
        ["--out=results", "--cap=40", *compared, "--only", "a", "--", "co st.yaml"]
    ]
    commit = ["--commit=HEAD"] if compared else []
    assert machine.asked("calibrate") == [["--if-due", "--out=results", *commit, "--", "co st.yaml"]]
    assert [one[-1] for one in machine.asked("report")] == ["results/20260102-000000-gate"] * 2
    assert machine.installed() == [["inference-cost-bench[transformers]"]]
    assert gitlab(machine, CONFIG="co st.yaml", CALIBRATE="false").returncode == 8
    assert machine.asked("calibrate") == []


def test_a_gitlab_job_without_a_run_reports_none(machine: Machine) -> None:
    machine.answers("bench: no such file", 2, run="no")
    assert gitlab(machine).returncode == 2
    assert machine.asked("report") == []


def test_gitlab_keeps_everything_whatever_the_verdict_is() -> None:
    assert GITLAB["artifacts"]["when"] == "always"
    assert {"results/", "comment.md", "gate.xml"} == set(GITLAB["artifacts"]["paths"])
    assert [one["when"] for one in GITLAB["cache"]] == ["always"] * len(GITLAB["cache"])
    assert len(GITLAB["cache"]) <= 4
    assert GITLAB["allow_failure"] == {"exit_codes": [3, 8]}
