"""Standard streams that are closed or full: a verdict keeps its exit code, and there is no traceback."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from journals import write_run

from bench.cli.gate_run import job_summary
from bench.cli.output import Stream, speakable
from bench.errors import ExitCode
from bench.gate.findings import Effort, GateBlock, GateVerdict

ROOT = Path(__file__).parents[2]
FULL = Path("/dev/full")


def shell(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `bench ARGUMENTS` within a shell's ``command``, in which it is called ``"$@"``."""
    program = [sys.executable, "-m", "bench", *map(str, arguments)]
    return subprocess.run(
        ["/bin/sh", "-c", command, "sh", *program],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("streams") / "run")


def verdict(run: Path, streams: str) -> subprocess.CompletedProcess[str]:
    return shell(f'exec "$@" {streams}', "gate", run)


@pytest.fixture(scope="module")
def usual(run: Path) -> subprocess.CompletedProcess[str]:
    """The verdict where the streams are as usual."""
    return verdict(run, "")


@pytest.mark.parametrize(
    "streams",
    [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full"],
)
@pytest.mark.fault(34)
def test_a_gate_has_its_verdict_whatever_the_streams(
    run: Path, usual: subprocess.CompletedProcess[str], streams: str
) -> None:
    """The config of this run sets no limit, which is a usage error; a gate without one would exit with 0."""
    assert usual.returncode == ExitCode.USAGE
    found = verdict(run, streams)
    assert found.returncode == usual.returncode
    assert "Traceback" not in found.stderr
    assert "bug" not in found.stderr


@pytest.mark.parametrize(
    "variable",
    ["PYTHONIOENCODING=idna", "PYTHONIOENCODING=undefined", "PYTHONIOENCODING=punycode",
     "PYTHONIOENCODING=utf-8:nonsense", "PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 LC_ALL=C",
     "PYTHONINSPECT=1", "_BENCH_COMPLETE=complete_bash",
     "_BENCH_COMPLETE=source_zsh", "_BENCH_COMPLETE=nonsense"],
)  # fmt: skip
@pytest.mark.fault(34)
def test_no_variable_of_python_or_of_a_shell_decides_an_exit_code(
    run: Path, usual: subprocess.CompletedProcess[str], variable: str
) -> None:
    found = shell(f'{variable} exec "$@"', "gate", run)
    assert (found.returncode, found.stderr[:60]) == (usual.returncode, usual.stderr[:60])


@pytest.mark.parametrize("code", ["ascii", "punycode", "utf-7", "utf-8"])
def test_a_text_is_written_in_any_encoding(code: str) -> None:
    raw = io.BytesIO()
    Stream(io.TextIOWrapper(raw, encoding=code, errors="nonsense")).write("é\ud800: \u2713" + "a" * 99)


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_output_that_could_not_be_written_is_said_and_is_a_failure(run: Path) -> None:
    found = shell('exec "$@" >/dev/full', "report", run, "--format", "csv")
    assert found.returncode == ExitCode.FAILED
    assert found.stderr == (
        "bench: standard output cannot be written (No space left on device); the rest is lost\n"
    )


@pytest.mark.parametrize(
    "closing",
    ["sys.stdout.close()", "sys.__stdout__.close()", "sys.stdout.buffer.close()", "sys.stdout.detach()",
     "os.close(1)", "sys.__stdout__.close(); sys.__stderr__.close()"],
)  # fmt: skip
def test_a_stream_that_a_plug_in_closes_is_no_bug(tmp_path: Path, closing: str) -> None:
    """Its module is imported by a list; what the command prints after that went to a closed file."""
    information = tmp_path / "hers-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: hers\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[inference_cost_bench.probes]\nhers = her_closing_probe\n")
    (tmp_path / "her_closing_probe.py").write_text(
        f"import os, sys\n{closing}\nMETRICS, measure = (), print\n"
    )
    found = shell(f'PYTHONPATH="{tmp_path}" exec "$@"', "list", "probes")
    assert "Traceback" not in found.stderr
    assert "bug" not in found.stderr
    kept = closing == "sys.stdout.close()"  # our own stream stays open: a plug-in has no say over it
    assert found.returncode == (ExitCode.OK if kept else ExitCode.FAILED)
    assert ("hers" in found.stdout) == kept


def test_a_closed_stream_takes_no_file_of_ours(tmp_path: Path, run: Path) -> None:
    """The next file that is opened would get the number of the stream."""
    found = shell('exec "$@" <&- >&- 2>&-', "report", run, "--format", "csv", "-o", tmp_path / "out.csv")
    assert found.returncode == ExitCode.OK
    assert (tmp_path / "out.csv").read_text().startswith('"run_id"')


def test_messages_show_no_terminal_commands_and_no_passwords(tmp_path: Path) -> None:
    assert speakable("a\x1b[31mb\nc") == "a�[31mb\nc"
    long = speakable(f"a.yaml:3: name: {'x' * 9000} is none (did you mean 'y'?)\nb")
    assert long.startswith("a.yaml:3: name: xxx")
    assert long.endswith("xxx is none (did you mean 'y'?)\nb")
    assert len(long) < 1100
    assert (
        speakable("no https://me:pass@host/x or git+ssh://k@h/y")
        == "no https://***@host/x or git+ssh://***@h/y"
    )
    assert speakable("https://me:p@ss@host/x") == "https://***@host/x", "an @ that was not written as %40"
    assert speakable("no https://host/a?b=1&X-Sig=abc&c=2") == "no https://host/a?b=1&X-Sig=***&c=2"
    assert speakable("https://host:80/@scope/a ?design") == "https://host:80/@scope/a ?design"
    assert (
        speakable("bad:\n::error::x\n  ::add-mask::y ##[group]")
        == "bad:\n: :error::x\n  : :add-mask::y ## [group]"
    )
    found = shell('exec "$@"', "check", tmp_path / "a\x1b[31m.yaml")
    assert found.returncode == ExitCode.USAGE
    assert "\x1b" not in found.stderr


def test_interrupted_output_of_a_reader_that_left(run: Path) -> None:
    found = shell('"$@" | head -1; exit 0', "report", run, "--format", "html")
    assert (found.returncode, found.stderr) == (0, "")
    assert os.linesep in found.stdout


def test_an_encoding_that_lacks_a_letter_loses_the_letter_and_no_more(tmp_path: Path) -> None:
    found = shell('PYTHONIOENCODING=ascii exec "$@"', "check", "configs/ci.yaml")
    assert found.returncode == ExitCode.OK
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("command", [["gate"], ["report"], ["export", "RUN", "baseline"], ["check"]])
def test_a_name_that_is_longer_than_a_name_may_be(run: Path, command: list[str]) -> None:
    words = [run if word == "RUN" else word for word in command]
    found = shell('exec "$@"', *words, "a" * 300)
    assert found.returncode == ExitCode.USAGE
    assert "bug" not in found.stderr


def test_json_on_standard_output_is_ascii(run: Path) -> None:
    """Letters that a terminal would obey, or that have no encoding, are escaped."""
    found = shell('exec "$@"', "compare", run, "--json")
    assert found.returncode == ExitCode.OK
    assert found.stdout.isascii()


@pytest.mark.fault(34)
def test_a_job_summary_that_nobody_reads_does_not_hold_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "page")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    job_summary("run", GateBlock(GateVerdict.PASS, (), Effort("run")))
    assert "the job's summary was not written: is a FIFO" in capsys.readouterr().err
