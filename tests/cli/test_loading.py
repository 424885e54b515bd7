"""`bench load` against a stub: its page, its files, its exit codes, and what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.errors import ExitCode

ROOT = Path(__file__).parents[2]
STUB = ROOT / "tests" / "serving" / "stub.py"
KEY = "sk-planted-0123456789abcdef"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, str(STUB)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    process.kill()
    process.communicate()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):  # type: ignore[no-untyped-def]
    """Run ``bench load`` with its directory in ``tmp_path``; returns (exit code, out, err)."""

    def call(*arguments: str, out: bool = True) -> tuple[int, str, str]:
        more = ["--out", str(tmp_path / "out")] if out else []
        monkeypatch.setattr(sys, "argv", ["bench", "load", *arguments, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


def only_directory(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "out").iterdir()
    return found


CLOSED = ("--users", "2", "--requests", "8", "-q")


def not_late(code: int, page: str) -> bool:
    """A busy machine may make the client late, which is said and is no fault of the page."""
    return code == ExitCode.OK or (code == ExitCode.FAILED and "the client was the bottleneck" in page)


def test_a_page_and_its_files(url: str, said, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model = ("--model", "ttft=10,gap=2", "--output-tokens", "6", "--input-tokens", "9")
    price = ("--slo", "ttft:9000,tpot:900", "--hardware", "cloud-2vcpu-8gb")
    code, page, _ = said(url, *CLOSED, *model, *price)
    assert not_late(code, page)
    assert "closed loop, 2 users, 8 requests" in page
    assert "8 ok, 0 failed, 0 cut short; 0 retries; 72 + 48 tokens" in page
    assert "good (ttft ≤ 9000 ms, tpot ≤ 900 ms): 100.0%" in page
    assert "a good request $" in page
    directory = only_directory(tmp_path)
    summary = json.loads((directory / "load.json").read_text())
    assert summary["counts"]["ok"] == 8
    assert summary["figures"]["ttft_ms"]["n"] == 8
    code, again, _ = said(str(directory), "--slo", "ttft:0.001", out=False)
    assert "good (ttft ≤ 0.001 ms): 0.0%" in again
    code, text, _ = said(str(directory), "--json", out=False)
    assert json.loads(text)["figures"] == summary["figures"]


def test_a_key_is_in_no_artefact(url: str, said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """The stub sends the header back in its refusal."""
    monkeypatch.setenv("PLANTED", KEY)
    refused = ("--model", "mode=status,status=401", "--key-env", "PLANTED", "--warm-up", "0")
    code, page, err = said(url, *CLOSED, *refused)
    assert code == ExitCode.FAILED
    assert "8 × failed: HTTP 401: no: Bearer [key]" in page
    written = b"".join(path.read_bytes() for path in only_directory(tmp_path).rglob("*") if path.is_file())
    assert b"[key]" in written
    assert KEY not in page + err
    assert KEY.encode() not in written
    code, page, err = said(url, *CLOSED, *refused[:-2])
    assert code == ExitCode.FAILED
    assert "the warm-up failed: HTTP 401" in err
    assert KEY not in page + err
    assert len(list((tmp_path / "out").iterdir())) == 1, "a load that never began leaves no directory"


def test_what_has_ended_is_kept_when_it_is_interrupted(url: str, tmp_path: Path) -> None:
    model = ("--model", "ttft=10,tokens=1", "--users", "1", "--requests", "2000")
    command = [sys.executable, "-m", "bench", "load", url, *model, "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        # A shell that starts tests in the background has them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr is not None
    assert "200 of 2000" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    page, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "INVALID" in page
    assert "it was interrupted" in page
    summary = json.loads((only_directory(tmp_path) / "load.json").read_text())
    assert 200 <= summary["counts"]["ok"] < 2000


def test_a_missing_package_is_named(url: str, said, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = said(url, *CLOSED)
    assert code == ExitCode.FAILED
    assert "needs httptools: pip install" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("file:///etc/passwd", "--users", "1"), "http:// or https://"),
        (("http://user:hunter2@host", "--users", "1"), "no user and no password"),
        (("http://host/v1?key=hunter2", "--users", "1"), "no query"),
        (("http://host.example", "--users", "1", "--key-env", "PLANTED"), "in the clear"),
        (("https://host.example", "--users", "1", "--key-env", "NOT_SET_AT_ALL"), "not set"),
        (("https://host.example", "--users", "1", "--key-env", KEY), "not a key"),
        (("vlm", "--users", "1"), "did you mean 'vllm'"),
        (("vllm", "--users", "1"), "vLLM serves what?"),
        (("http://127.0.0.1:9",), "when do requests come?"),
        (("http://127.0.0.1:9", "--users", "1", "--rate", "1"), "when do requests come?"),
        (("http://127.0.0.1:9", "--users", "0"), "users must be from 1 to 8192"),
        (("http://127.0.0.1:9", "--rate", "nan"), "rate must be above 0"),
        (("http://127.0.0.1:9", "--users", "1", "--slo", "tbt:5"), "--slo: 'tbt:5'"),
        (("http://127.0.0.1:9", "--users", "1", "--burstiness", "2"), "go with --rate"),
        (("http://127.0.0.1:9", "--search", "0.9"), "--search needs --slo"),
        (("http://127.0.0.1:9", "--users", "1", "--hardware", "nothing"), "no price called"),
        (("http://127.0.0.1:9", "--users", "1", "--requests", "0"), "requests must be from 1"),
    ],
)
def test_what_is_refused_before_anything_is_sent(  # type: ignore[no-untyped-def]
    arguments: tuple[str, ...], words: str, said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED", KEY)
    code, page, err = said(*arguments)
    assert code == ExitCode.USAGE
    assert words in err
    assert page == ""
    assert KEY not in err
    assert "hunter2" not in err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_lengths_are_drawn_and_wrong_ones_refused(url: str, said, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    drawn = ("--input-tokens", "uniform:3-30", "--output-tokens", "lognormal:6,0.5", "--seed", "1")
    code, page, _ = said(url, "--users", "2", "--requests", "40", "-q", "--model", "x", *drawn)
    assert not_late(code, page)
    summary = json.loads((only_directory(tmp_path) / "load.json").read_text())
    assert 3 * 40 < summary["counts"]["input_tokens"] < 30 * 40
    assert summary["input_tokens"] == "uniform:3-30"
    code, _, err = said(url, *CLOSED, "--input-tokens", "normal:5,1")
    assert code == ExitCode.USAGE
    assert "is no length" in err


def test_drift_wants_a_model_to_compare_with(url: str, said) -> None:  # type: ignore[no-untyped-def]
    code, _, err = said(url, *CLOSED, "--drift", "32")
    assert code == ExitCode.USAGE
    assert "--baseline" in err
    code, _, err = said(url, *CLOSED, "--baseline", "smollm2-135m")
    assert code == ExitCode.USAGE
    assert "goes with --drift" in err
