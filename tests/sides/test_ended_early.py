"""A gate that can measure nothing still has a verdict, in every format that a CI job shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from proof import repositories

from bench import plugins
from bench.cli import gate_actions
from bench.cli.bisect import gate_bisect
from bench.cli.gate_run import GateOptions, Judged, judged
from bench.errors import BenchError, ExitCode, UsageError
from bench.report.gate import lines
from bench.results.summary import load_run
from bench.results.verify import verify_run
from bench.sides import commands


def options(tmp_path: Path, **more: Any) -> GateOptions:
    known = {"base": "v1.0", "cap": 30, "batches": None, "overrides": (), "only": (), **more}
    return GateOptions(tmp_path / "results", **known)


def gate(config: Path, tmp_path: Path, **more: Any) -> Judged:
    found = judged(config, options(tmp_path, **more), quiet=True)
    verify_run(found.directory)
    return found


def break_it(at: Path) -> None:
    repositories.commit(at, {"requirements.txt": "no-such-package==9\n"})


def reports(directory: Path) -> dict[str, str]:
    run = load_run(directory)
    names = ("junit", "pr-comment", "markdown", "csv", "jsonl", "html", "github-action-benchmark")
    return {name: str(plugins.load("report.formats", name).render([run])) for name in names}


def test_a_candidate_that_cannot_be_built(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_it(repository.parent)
    code = gate_actions.gate(repository, options(tmp_path), as_json=True, quiet=True)
    assert code == ExitCode.FAILED
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["exit_code"]) == ("ERROR", 5)
    (rule,) = found["rules"]
    assert rule["rule"] == "cost_per_request_usd max_increase 5 %"
    assert "cannot build the working tree" in rule["reason"]
    assert "no-such-package" in rule["reason"]
    assert "failed (logs/build.log)" in rule["reason"], "a path of the runner says nothing to the reader"
    assert found["evidence"]["units"] == 0
    assert found["evidence"]["differences"]["files"] == ["requirements.txt"]


def test_every_report_shows_it(repository: Path, tmp_path: Path) -> None:
    break_it(repository.parent)
    found = gate(repository, tmp_path)
    said = reports(found.directory)
    for name in ("junit", "pr-comment", "markdown", "html"):
        assert "cannot build the working tree" in said[name], name
        assert "no-such-package" in said[name], name
    assert '<error message="cannot build' in said["junit"]
    assert "requirements.txt" in said["pr-comment"]
    assert "nothing was measured" in said["pr-comment"]
    assert "no-such-package" in (found.directory / "logs" / "build.log").read_text()


def test_a_base_that_cannot_be_built(repository: Path, tmp_path: Path) -> None:
    break_it(repository.parent)
    repositories.git(repository.parent, "tag", "broken")
    repositories.commit(repository.parent, {"requirements.txt": "helperlib==1.0\n"})
    found = gate(repository, tmp_path, base="broken")
    assert (found.gate.verdict, found.gate.exit_code) == ("BROKEN_BASE", 9)
    said = found.gate.rules[0].reason
    assert said.startswith("the base itself does not run, so there is nothing to compare with: cannot build")
    assert "(logs/build.log)" in said
    assert "no-such-package" in (found.directory / "logs" / "build.log").read_text()
    assert "the base itself does not run" in reports(found.directory)["junit"]
    assert "If this change repairs the base" in " ".join(lines("r", found.gate))
    break_it(repository.parent)
    assert gate(repository, tmp_path, base="broken").gate.exit_code == ExitCode.FAILED, "it repairs nothing"


@pytest.mark.fault(30)
@pytest.mark.parametrize("how", ["config", "import", "answer", "state"])
def test_a_base_that_does_not_run(how: str, repository: Path, tmp_path: Path) -> None:
    """Whoever repaired main got ERROR, with no way out but to switch the gate off."""
    sound = {name: (repository.parent / name).read_text() for name in ("ci.yaml", "serve.py")}
    broken = {
        "config": {"ci.yaml": sound["ci.yaml"].replace("requests: 4", "requests: -4")},
        "import": {"serve.py": "import no_such_module\n" + sound["serve.py"]},
        "answer": {
            "serve.py": sound["serve.py"] + "\n\ndef answer(prompt):\n    raise ValueError('broken')\n"
        },
        "state": {"serve.py": "open('state.db', 'a').write('x')\n" + sound["serve.py"], "state.db": "x"},
    }[how]
    repositories.commit(repository.parent, broken)
    repositories.git(repository.parent, "tag", "broken")
    repositories.commit(repository.parent, sound)
    found = gate(repository, tmp_path, base="broken", cap=2)
    assert (found.gate.verdict, found.gate.exit_code) == ("BROKEN_BASE", 9)
    assert found.gate.rules[0].reason.startswith("the base itself does not run")
    wanted = {
        "config": "workload.requests",
        "import": "no_such_module",
        "answer": "broken",
        "state": "state.db",
    }
    assert wanted[how] in found.gate.rules[0].reason
    if how == "answer":
        late = "\n\ndef answer(prompt):\n    raise ValueError('as broken')\n"
        repositories.commit(repository.parent, {"serve.py": sound["serve.py"] + late})
        assert gate(repository, tmp_path, base="broken").gate.exit_code == ExitCode.FAILED, "repairs nothing"


def test_a_command_that_takes_too_long_is_said(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_whole = commands.run_whole

    def hasty(command: list[str], given: dict[str, str], limit_s: float, cwd: Path) -> object:
        return run_whole(command, given, 1.0 if command[0] == "/bin/sh" else limit_s, cwd)

    monkeypatch.setattr(commands, "run_whole", hasty)
    text = repository.read_text() + 'build: {commands: ["sleep 300"]}\n'
    repositories.commit(repository.parent, {"ci.yaml": text})
    reason = gate(repository, tmp_path).gate.rules[0].reason
    assert "build.commands: `sleep 300` failed" in reason
    assert "no end within 1 s, so it was ended" in reason


def test_without_limits_there_is_no_verdict(repository: Path, tmp_path: Path) -> None:
    repositories.commit(repository.parent, {"ci.yaml": repository.read_text().partition("gate:")[0]})
    repositories.git(repository.parent, "tag", "lax")
    break_it(repository.parent)
    with pytest.raises(UsageError, match=r"ci\.yaml: no limits; give a gate block"):
        gate(repository, tmp_path, base="lax")
    limit = ("gate.cost_per_request_usd={max_increase: 5%}",)
    assert gate(repository, tmp_path, base="lax", overrides=limit).gate.exit_code == ExitCode.FAILED


def test_a_wrong_config_is_said_before_anything_is_installed(repository: Path, tmp_path: Path) -> None:
    break_it(repository.parent)
    text = repository.read_text().replace("requests: 4", "requests: -4")
    repositories.commit(repository.parent, {"ci.yaml": text})
    with pytest.raises(UsageError, match=r"ci\.yaml in the working tree .*workload\.requests"):
        gate(repository, tmp_path)


def test_a_build_that_fails_leaves_nothing_in_the_repository(repository: Path, tmp_path: Path) -> None:
    break_it(repository.parent)
    before = repositories.git(repository.parent, "worktree", "list")
    gate(repository, tmp_path)
    assert repositories.git(repository.parent, "worktree", "list") == before
    assert not list((repository.parent / ".git").glob("worktrees/*"))


# ---- the first commit that has the config --------------------------------------------------------


def first(repository: Path) -> Path:
    """A config that the base does not have."""
    new = repository.with_name("new.yaml")
    repositories.commit(repository.parent, {"new.yaml": repository.read_text()})
    return new


def test_the_commit_that_brings_the_config_has_nothing_to_be_compared_with(
    repository: Path, tmp_path: Path
) -> None:
    new = first(repository)
    for allow in (False, True):  # nobody says that the sides are the same
        found = gate(new, tmp_path, allow_identical=allow)
        assert (found.gate.verdict, found.gate.exit_code) == ("UNREACHED", ExitCode.UNREACHED)
    (rule,) = found.gate.rules
    assert rule.reason.startswith("nothing to compare with: v1.0 (")
    assert "has no file new.yaml" in rule.reason
    assert "its limits hold for the commits that come after it" in rule.reason
    for name, said in reports(found.directory).items():
        assert "--allow-identical" not in said, f"{name}: that is advice for something else"
        if name not in ("csv", "jsonl", "github-action-benchmark"):
            assert "has no file new.yaml" in said, name


def test_the_next_commit_is_measured(repository: Path, tmp_path: Path) -> None:
    new = first(repository)
    repositories.git(repository.parent, "tag", "merged")
    repositories.change("requirements", "template", repository.parent)
    assert gate(new, tmp_path, base="merged", cap=2).gate.rules[0].value > 1.5  # type: ignore[operator]


def test_a_first_config_that_is_wrong_or_cannot_be_built(repository: Path, tmp_path: Path) -> None:
    new = first(repository)
    break_it(repository.parent)
    assert gate(new, tmp_path).gate.exit_code == ExitCode.FAILED
    repositories.commit(
        repository.parent, {"new.yaml": "name: x\nmodle: y\n", "requirements.txt": "helperlib==1.0\n"}
    )
    with pytest.raises(UsageError, match=r"new\.yaml in the working tree .*modle: unknown key"):
        gate(new, tmp_path)


def test_a_candidate_without_the_config_is_a_mistake(repository: Path, tmp_path: Path) -> None:
    """Who takes the config away takes its limits away."""
    text = repository.read_text()
    repository.unlink()
    repositories.commit(repository.parent, {})
    repository.write_text(text)
    repositories.git(repository.parent, "tag", "gone")
    with pytest.raises(UsageError, match=r"--candidate gone: there is no file ci\.yaml in gone"):
        gate(repository, tmp_path, candidate="gone")


def test_a_search_passes_over_what_cannot_be_built(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_it(repository.parent)
    with pytest.raises(BenchError, match="--bisect: HEAD cannot be measured"):
        gate_bisect(repository, "v1.0", "HEAD", options(tmp_path, base=None), quiet=True)
    assert capsys.readouterr().out.startswith("skip        ")


def test_a_commit_that_cannot_be_checked_out(repository: Path, tmp_path: Path) -> None:
    """Its submodule was never published."""
    at, theirs = repository.parent, tmp_path / "theirs"
    theirs.mkdir()
    repositories.git(theirs, "init", "--quiet")
    repositories.commit(theirs, {"x": "x"})
    repositories.git(at, "submodule", "--quiet", "add", str(theirs), "vendor")
    repositories.git(at, "update-index", "--cacheinfo", f"160000,{'1' * 40},vendor")
    repositories.git(at, "commit", "--quiet", "-m", "a change")
    found = gate(repository, tmp_path, candidate="HEAD")
    assert found.gate.exit_code == ExitCode.FAILED
    assert "cannot check out " in found.gate.rules[0].reason
