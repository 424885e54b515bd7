"""`bench load` against a stub: its page, its files, its exit codes, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import transformers
from byte_tokenizer import write_tokenizer
from engines import saved, sizes
from ggufs import gguf
from small_model import well
from warm import Warm, forking

from bench.cli import load_run, load_target
from bench.cli.main import main
from bench.errors import BenchError, ExitCode
from bench.serving import drift, engines, target
from bench.serving.engines.adapter import Adapter, Launch
from bench.serving.load_verification import verify_load

ROOT = Path(__file__).parents[2]
STUB = ROOT / "tests" / "serving" / "stub.py"
KEY = "sk-planted-0123456789abcdef"
pytestmark = pytest.mark.usefixtures("garbage_stays")


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
    assert "sent too late by" not in page  # whoever waits for an answer sends when it is there
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


@pytest.mark.parametrize(
    ("number", "hears_ctrl_c", "code"),
    [
        (signal.SIGINT, True, 130),
        (signal.SIGTERM, True, 143),
        (signal.SIGTERM, False, 143),
        (signal.SIGHUP, True, 143),
    ],
)
def test_what_has_ended_is_kept_when_it_is_interrupted(
    url: str, tmp_path: Path, number: signal.Signals, hears_ctrl_c: bool, code: int
) -> None:
    """A shell that starts a command in the background has it ignore Ctrl-C, and not SIGTERM."""
    ctrl_c = signal.SIG_DFL if hears_ctrl_c else signal.SIG_IGN
    model = ("--model", "ttft=4,tokens=1", "--users", "1", "--requests", "1000")
    command = [sys.executable, "-m", "bench", "load", url, *model, "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, ctrl_c),
    )  # fmt: skip
    assert process.stderr is not None
    assert "100 of 1000" in process.stderr.readline()
    process.send_signal(number)
    page, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "INVALID" in page
    assert "it was interrupted" in page
    summary = json.loads((only_directory(tmp_path) / "load.json").read_text())
    assert summary["status"] == "interrupted"
    assert 100 <= summary["counts"]["ok"] < 1000
    assert "figure by figure" in verify_load(only_directory(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_load_that_is_ended_before_its_first_request_leaves_nothing(
    url: str, tmp_path: Path, number: signal.Signals
) -> None:
    """Its warm-up waits for a minute."""
    command = [sys.executable, "-m", "bench", "load", url, "--model", "ttft=60000", *CLOSED]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until = time.monotonic() + 60
    while not list(tmp_path.glob("out/*")) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(number)
    page, said = process.communicate(timeout=60)
    assert (process.returncode, page, "Traceback" in said) == (128 + number, "", False), said
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("number", "to", "code"),
    [(signal.SIGINT, os.kill, 130), (signal.SIGINT, os.killpg, 130), (signal.SIGTERM, os.kill, 143)],
)
def test_a_signal_does_not_wait_for_the_baseline_of_a_drift(
    url: str, tmp_path: Path, number: signal.Signals, to: Any, code: int
) -> None:
    """The baseline is stopped, so it never answers. A terminal sends Ctrl-C to the whole group."""
    model = saved(transformers.LlamaConfig(**sizes(96), max_position_embeddings=1024), tmp_path / "m")
    write_tokenizer(model)
    asked = ("--model", "tokens=3", *CLOSED, "--drift", "64", "--baseline", str(model))
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "load", url, *asked, "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until, child = time.monotonic() + 60, None
    while child is None and time.monotonic() < until:
        time.sleep(0.01)
        running = psutil.Process(process.pid).children()
        child = next((one for one in running if "bench.worker.external_logprobs" in one.cmdline()), None)
    assert child is not None
    child.suspend()
    time.sleep(0.2)
    to(process.pid, number)
    page, said = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in said) == (code, False), said
    assert "drift: NOT MEASURED: it was interrupted" in page
    assert json.loads((only_directory(tmp_path) / "load.json").read_text())["counts"]["ok"] == 8
    assert not child.is_running()


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
        (("http://127.0.0.1:9", "--rate", "nan"), "--rate: nan is not a finite number"),
        (("http://127.0.0.1:9", "--users", "1", "--slo", "tbt:5"), "--slo: 'tbt:5'"),
        (("http://127.0.0.1:9", "--users", "1", "--burstiness", "2"), "go with --rate"),
        (("http://127.0.0.1:9", "--search", "0.9"), "--search needs --slo"),
        (("http://127.0.0.1:9", "--users", "1", "--hardware", "nothing"), "no price called"),
        (("http://127.0.0.1:9", "--users", "1", "--requests", "0"), "--requests must be from 1"),
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


@pytest.mark.parametrize(
    ("bad", "reason", "exit_code"),
    [
        (BenchError(f"HTTP 500: {KEY}"), "HTTP 500: [key]", ExitCode.FAILED),
        (OSError("no memory"), "no memory", ExitCode.FAILED),
        (KeyboardInterrupt(), "it was interrupted", ExitCode.INTERRUPTED),
        (None, "the baseline's process ended", ExitCode.FAILED),
    ],
)
def test_a_load_is_kept_if_its_drift_fails(  # type: ignore[no-untyped-def]
    bad: BaseException | None, reason: str, exit_code: int, url: str, said, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, warm: Warm,
) -> None:  # fmt: skip
    """It was measured before, and was lost. A baseline with one tensor cannot be loaded."""
    monkeypatch.setattr(drift, "subprocess", forking(warm, lambda python: python == sys.executable))

    async def fails(*_arguments: object) -> None:
        assert bad is not None
        raise bad

    if bad is not None:
        monkeypatch.setattr(load_run, "drift_of", fails)
    monkeypatch.setenv("PLANTED", KEY)
    baseline = tmp_path / "baseline"
    baseline.mkdir()
    well(baseline)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    (baseline / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 9, **sizes}))
    asked = ("--model", "x", "--key-env", "PLANTED", "--drift", "32", "--baseline", str(baseline))
    code, page, _ = said(url, *CLOSED, *asked)
    assert code == exit_code
    assert f"drift: NOT MEASURED: {reason}" in page
    summary = json.loads((only_directory(tmp_path) / "load.json").read_text())
    assert summary["counts"]["ok"] == 8
    assert summary["drift"]["failed"].startswith(reason)
    assert "kld_mean" not in summary["figures"]
    assert "figure by figure" in verify_load(only_directory(tmp_path))
    code, again, _ = said(str(only_directory(tmp_path)), out=False)
    assert (code, f"drift: NOT MEASURED: {reason}" in again) == (ExitCode.FAILED, True)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--drift-text", "klingon"), "no text 'klingon'"),
        (("--baseline", "no-such-model"), "no-such-model"),
        (("--baseline", __file__), "is a file: give --baseline"),
    ],
)
def test_drift_that_cannot_be_is_refused_before_the_load(  # type: ignore[no-untyped-def]
    more: tuple[str, ...], words: str, url: str, said, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    code, page, err = said(url, *CLOSED, "--drift", "32", "--baseline", str(tmp_path / "model"), *more)
    assert (code, page) == (ExitCode.USAGE, "")
    assert words in err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor cannot be shared out")
@pytest.mark.parametrize(
    ("arguments", "told", "why"),
    [
        ((), ["--threads"], ""),
        (("--threads=9999",), ["--threads=9999"], "a server wants 9999 threads"),
        (("--threads", "1"), ["--threads", "1"], ""),
    ],
)
def test_an_engine_that_wants_all_threads_is_not_pinned_apart(  # type: ignore[no-untyped-def]
    arguments: tuple[str, ...], told: list[str], why: str, said, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The stub is llama.cpp's server, which is told how many processors are left unless its user says."""

    def command(launch: Launch) -> tuple[str, ...]:
        return (launch.python, str(STUB), "--port", str(launch.port))

    real = engines.ADAPTERS["llama-cpp-server"]
    stub = replace(real, command=command, health="/health", evidence=())
    launches = list[Launch]()

    def begun(adapter: Adapter, launch: Launch, *more: Any) -> Any:
        launches.append(launch)
        return target.begun(adapter, launch, *more)

    monkeypatch.setitem(engines.ADAPTERS, real.name, stub)
    monkeypatch.setattr(load_target, "begun", begun)
    weights = tmp_path / "m.gguf"
    weights.write_bytes(gguf())
    words = [word for one in arguments for word in ("--engine-argument", one)]
    more = ("--model", str(weights), "--python", sys.executable, *words)
    _code, page, _ = said(real.name, *CLOSED, *more)
    summary = json.loads((only_directory(tmp_path) / "load.json").read_text())
    assert summary.get("not_pinned", "").startswith(why)
    assert (summary["pinned"] is None) == bool(why)
    assert list(launches[0].arguments[: len(told)]) == told
    assert ("pinned apart" in page) != bool(why)


def test_drift_wants_a_model_to_compare_with(url: str, said) -> None:  # type: ignore[no-untyped-def]
    code, _, err = said(url, *CLOSED, "--drift", "32")
    assert code == ExitCode.USAGE
    assert "--baseline" in err
    code, _, err = said(url, *CLOSED, "--baseline", "smollm2-135m")
    assert code == ExitCode.USAGE
    assert "goes with --drift" in err


# ---- prompts that people wrote, and conversations ----

BIRDS = [
    {"prompt": f"Tell me about bird {n}, please.", "response": "It is a bird that swims."} for n in range(9)
]


def written(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def summary_of(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((only_directory(tmp_path) / "load.json").read_text())
    return found


@pytest.mark.parametrize(("more", "replies"), [((), 6), (("--replies", "equal"), 7)])
def test_prompts_of_a_data_set(more: tuple[str, ...], replies: int, url: str, said, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A word is a token of the stub: six are in each prompt, six in the recorded answer."""
    file = written(tmp_path, *BIRDS, {"prompt": "too long " * 20, "response": "no"})
    asked = ("--data-set", str(file), "--max-input-tokens", "20", "--output-tokens", "7", *more)
    code, page, _ = said(url, *CLOSED, "--model", "ttft=5,gap=1", *asked)
    assert not_late(code, page)
    assert "closed loop, 2 users, 8 requests, prompts of set.jsonl, at most 20 tokens in" in page
    found = summary_of(tmp_path)
    assert (found["counts"]["input_tokens"], found["counts"]["output_tokens"]) == (8 * 6, 8 * replies)
    assert found["workload"] == {
        "name": "data-set", "users": 2, "max_input_tokens": 20, "replies": more[-1] if more else "recorded",
    }  # fmt: skip
    assert said(str(only_directory(tmp_path)), "--json", out=False)[0] == code


def test_prompts_that_come_again_are_told(url: str, said, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The file has as many as the load has requests, and two of them are too long."""
    file = written(tmp_path, *BIRDS[:6], *[{"prompt": "too long " * 20, "response": "no"}] * 2)
    asked = ("--data-set", str(file), "--max-input-tokens", "20")
    code, page, _ = said(url, *CLOSED, "--model", "ttft=5,gap=1", *asked)
    assert not_late(code, page)
    told = "2 prompts came again, which a prefix cache can answer"
    assert f"note: {told}" in page
    assert told in summary_of(tmp_path)["warnings"]
    assert told in said(str(only_directory(tmp_path)), out=False)[1]


def test_a_data_set_in_an_open_loop(url: str, said, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    asked = ("--data-set", str(written(tmp_path, *BIRDS)), "--rate", "200", "--requests", "8", "-q")
    code, page, _ = said(url, "--model", "ttft=5,gap=1", *asked)
    assert not_late(code, page)
    assert "Poisson, 200 requests/s, 8 requests, prompts of set.jsonl" in page


def test_conversations(url: str, said, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Three turns of 5 new tokens behind 10 shared ones, with answers of 4: 15, 24 and 33 tokens."""
    talk = ("--turns", "3", "--shared-tokens", "10", "--pause-s", "0.01")
    lengths = ("--input-tokens", "5", "--output-tokens", "4", "--requests", "6")
    code, page, _ = said(url, "--users", "2", "-q", "--model", "ttft=5,gap=1", *talk, *lengths)
    assert not_late(code, page)
    assert "2 users, 6 requests in conversations of 3, 5 tokens in, 4 out a turn, 10 shared by all" in page
    assert "the server does not say what a cache answered" in page
    assert summary_of(tmp_path)["counts"]["input_tokens"] == 2 * (15 + 24 + 33)


def test_without_a_number_of_requests_conversations_are_whole(url: str, said, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    quick = ("--input-tokens", "2", "--output-tokens", "2", "--model", "ttft=1,gap=1")
    code, page, _ = said(url, "--users", "8", "-q", "--turns", "3", *quick)
    assert not_late(code, page)
    assert "66 requests in conversations of 3" in page


USERS = ("--users", "2")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--data-set", "{set}"), "when do requests come?"),
        (("--data-set", "{set}", "--at-once"), "--data-set goes with --users or --rate"),
        (("--data-set", "{set}", *USERS, "--turns", "2"), "--data-set goes with neither --turns"),
        (("--data-set", "{set}", "--search", "0.9", "--slo", "ttft:9"), "nor --search"),
        (("--data-set", "{set}", "--rate", "1", "--burstiness", "2"), "do not go with --data-set"),
        (("--data-set", "{set}", *USERS, "--input-tokens", "9"), "--input-tokens does not go"),
        (("--data-set", "{set}", *USERS, "--output-tokens", "uniform:2-9"), "--output-tokens is the most"),
        (("--data-set", "{set}", *USERS, "--replies", "long"), "neither recorded nor equal"),
        (
            ("--data-set", "{set}", *USERS, "--max-input-tokens", "0", "--requests", "2"),
            "--max-input-tokens must be from 1",
        ),
        (("--data-set", "{set}", *USERS, "--requests", "9"), "--requests: 9 requests asked for"),
        (("--data-set", "{set}", *USERS, "--requests", "0"), "--requests must be from 1"),
        (("--data-set", "{set}.x", *USERS), "--data-set: "),
        (("--data-set", "{set}", "--users", "0", "--requests", "2"), "--users must be from 1 to 8192"),
        (("--data-set", "{set}", "--rate", "0", "--requests", "2"), "--rate must be above 0"),
        ((*USERS, "--replies", "equal"), "--max-input-tokens and --replies go with --data-set"),
        ((*USERS, "--pause-s", "1"), "--shared-tokens and --pause-s go with --turns"),
        (("--rate", "1", "--turns", "2"), "--turns goes with --users"),
        ((*USERS, "--turns", "0"), "--turns must be from 1 to 100"),
        ((*USERS, "--turns", "2", "--shared-tokens", "-1"), "--shared-tokens must be from 0"),
        ((*USERS, "--turns", "2", "--pause-s", "601"), "--pause-s must be from 0"),
        ((*USERS, "--turns", "3", "--requests", "4"), "--requests: 4 requests are no whole conversations"),
        ((*USERS, "--turns", "2", "--input-tokens", "uniform:2-9"), "--input-tokens is what each turn adds"),
    ],
)
def test_an_error_about_prompts_names_its_option(  # type: ignore[no-untyped-def]
    arguments: tuple[str, ...], words: str, said, tmp_path: Path
) -> None:
    file = written(tmp_path, *BIRDS[:3])
    code, page, err = said("http://127.0.0.1:9", *(one.format(set=file) for one in arguments))
    assert (code, page) == (ExitCode.USAGE, "")
    assert words in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("engine", ["llama-cpp-server", "vllm"])
@pytest.mark.parametrize("kind", ["not GGUF", "fifo", "pickles", "code"])
@pytest.mark.bad_input(36, 37, 38)
def test_a_model_that_a_server_would_load_is_checked_first(  # type: ignore[no-untyped-def]
    engine: str, kind: str, said, tmp_path: Path
) -> None:
    """What no engine may be given is not given to a server either: it is refused as it is by `bench run`."""
    place = tmp_path / ("m.gguf" if kind in ("not GGUF", "fifo") else "model")
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "not GGUF":
        place.write_bytes(b"x" * 100)
    else:
        place.mkdir()
        well(place)
        name, content = {
            "pickles": ("model.safetensors", ""),
            "code": ("config.json", '{"auto_map": {"A": "b.C"}}'),
        }[kind]
        (place / name).write_text(content)
    if kind == "pickles":
        (place / "model.safetensors").rename(place / "pytorch_model.bin")
    began = time.monotonic()
    code, page, err = said(engine, *CLOSED, "--model", str(place), "--python", sys.executable)
    words = {
        "not GGUF": "not a GGUF file",
        "fifo": "a FIFO",
        "pickles": "only pickled weights",
        "code": "auto_map",
    }
    assert (code, page, words[kind] in err) == (ExitCode.USAGE, "", True), err
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("kind", ["a file of another name", "a FIFO", "a device"])
def test_what_is_no_model_is_given_to_no_server(  # type: ignore[no-untyped-def]
    kind: str, said, tmp_path: Path
) -> None:
    place = tmp_path / "model.bin"
    if kind == "a FIFO":
        os.mkfifo(place)
    elif kind == "a device":
        place.symlink_to("/dev/zero")
    else:
        place.write_bytes(b"x")
    code, page, err = said("vllm", *CLOSED, "--model", str(place), "--python", sys.executable)
    assert (code, page) == (ExitCode.USAGE, "")
    assert f"{place}: is no directory of a model, and no .gguf file" in err
