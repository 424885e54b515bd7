"""The search for the commit that made it more expensive."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proof.repositories import commit, git

from bench.cli import bisect as bisecting
from bench.cli.bisect import bisect, gate_bisect
from bench.cli.gate_run import GateOptions
from bench.errors import ExitCode, UsageError
from bench.gate.findings import Effort, GateBlock, GateVerdict


def search(
    count: int, first_bad: int, undecided: frozenset[int] = frozenset()
) -> tuple[tuple[str, ...], list[int]]:
    """Search ``count`` commits, of which those from ``first_bad`` on are worse; the last is known to be."""
    asked: list[int] = []

    def verdict(commit: str) -> GateVerdict:
        number = int(commit)
        asked.append(number)
        if number in undecided:
            return GateVerdict.INCONCLUSIVE
        return GateVerdict.FAIL if number >= first_bad else GateVerdict.PASS

    found = bisect([str(n) for n in range(count)], verdict)
    assert found.steps == len(asked)
    return found.suspects, asked


@given(st.integers(1, 200), st.data())
def test_the_first_bad_commit_is_found_in_few_steps(count: int, data: st.DataObject) -> None:
    first_bad = data.draw(st.integers(0, count - 1))
    suspects, asked = search(count, first_bad)
    assert suspects == (str(first_bad),)
    assert len(asked) <= math.ceil(math.log2(count)) if count > 1 else asked == []


@given(st.integers(2, 40), st.data())
def test_what_cannot_be_decided_stays_among_the_suspects(count: int, data: st.DataObject) -> None:
    first_bad = data.draw(st.integers(0, count - 1))
    undecided = data.draw(st.frozensets(st.integers(0, count - 2)))
    suspects, asked = search(count, first_bad, undecided)
    assert str(first_bad) in suspects
    assert len(asked) == len(set(asked)), "no commit is measured twice"
    assert {int(one) for one in suspects[:-1]} <= undecided, "all before the last could not be decided"


@pytest.mark.parametrize("word", ["IDENTICAL", "UNREACHED"])
def test_a_change_that_is_not_measured_did_not_do_it(word: str) -> None:
    found = bisect(["a", "b", "c"], lambda commit: GateVerdict.FAIL if commit == "c" else GateVerdict(word))
    assert found.suspects == ("c",)


def test_the_command_finds_the_commit_and_says_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gates themselves are stood in for; ``sides/test_commits.py`` runs real ones."""
    git(tmp_path, "init", "--quiet")
    for number in range(5):
        commit(tmp_path, {"ci.yaml": f"name: x{number}\n"})
    commits = git(tmp_path, "rev-list", "--reverse", "HEAD").split()
    asked: list[str] = []

    def stand_in(config: Path, options: GateOptions, *, quiet: bool) -> SimpleNamespace:
        assert options.base == commits[0]
        asked.append(str(options.candidate))
        bad = commits.index(str(options.candidate)) >= first_bad
        verdict = GateVerdict.FAIL if bad else GateVerdict.PASS
        return SimpleNamespace(gate=GateBlock(verdict, (), Effort("commits")))

    monkeypatch.setattr(bisecting, "judged", stand_in)
    options = GateOptions(tmp_path / "results", None, 40, None, (), ())
    first_bad = 3
    assert gate_bisect(tmp_path / "ci.yaml", commits[0], "HEAD", options, quiet=True) == ExitCode.FAIL
    said = capsys.readouterr().out
    assert (
        f"the first commit beyond the limit, found in {len(asked)} gates:\n  {commits[3][:12]} a change"
        in said
    )
    first_bad = 9
    assert gate_bisect(tmp_path / "ci.yaml", commits[0], "HEAD", options, quiet=True) == ExitCode.OK
    assert "is PASS, not FAIL: there is nothing to look for" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no commits after HEAD"):
        gate_bisect(tmp_path / "ci.yaml", "HEAD", "HEAD", options, quiet=True)
    with pytest.raises(UsageError, match="no commits after HEAD up to worktree"):
        gate_bisect(tmp_path / "ci.yaml", "HEAD", "worktree", options, quiet=True)
    with pytest.raises(UsageError, match="nowhere is no commit"):
        gate_bisect(tmp_path / "ci.yaml", "nowhere", "HEAD", options, quiet=True)
