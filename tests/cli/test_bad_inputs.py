"""Bad input through the command line: one message, its exit code, no traceback, and nothing is left behind.

The numbers are those of docs/reliability.md. What a reader refuses in each of its ways is tested beside it.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from commands import Bench
from journals import write_run

from bench.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-planted-0123456789abcdef"
BASE = "model: {random: tiny-llama}\ndrift: {tokens: 0}\n"
OWN = BASE + "workload: {name: file, requests: 2, file: FILE}\n"
THOUSAND = list(range(1, 1001))
Words = Sequence[object]
Make = Callable[[Path], Words]
USAGE, INTEGRITY = ExitCode.USAGE, ExitCode.INTEGRITY


def config(text: str | bytes, *more: object) -> Make:
    """``bench run`` of a config with this text, in which FILE is a file beside it."""

    def make(place: Path) -> Words:
        file = place / "config.yaml"
        content = text.encode() if isinstance(text, str) else text
        file.write_bytes(content.replace(b"FILE", str(place / "file").encode()))
        return ["run", file, "--out", place / "out", *more]

    return make


def beside(text: str, content: bytes) -> Make:
    """The same, with this content in FILE."""

    def make(place: Path) -> Words:
        (place / "file").write_bytes(content)
        return config(text)(place)

    return make


def large(place: Path) -> Words:
    words = config("")(place)
    os.truncate(place / "config.yaml", 100_000_000)
    return words


def model(files: dict[str, bytes]) -> Make:
    """A directory of a model with these files."""

    def make(place: Path) -> Words:
        (place / "file").mkdir()
        for name, content in {
            "config.json": b'{"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1}',
            **files,
        }.items():
            (place / "file" / name).write_bytes(content)
        return config("model: {path: FILE}\ndrift: {tokens: 0}\n")(place)

    return make


def kind(create: Callable[[Path], object]) -> Make:
    """A file of prompts that is none."""

    def make(place: Path) -> Words:
        create(place / "file")
        return config(OWN)(place)

    return make


def repository(place: Path) -> Words:
    """A config in a repository of one commit."""
    config(BASE + "gate: {ttft_ms: {max_increase: 3%}}\n")(place)
    git = ["git", "-C", str(place), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "config.yaml"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    return ["gate", place / "config.yaml", "--base=--upload-pack=touch pwned", "--out", place / "out"]


def load(url: str, key_env: str | None = None) -> Make:
    return lambda place: ["load", url, "--users", "1", *(["--key-env", key_env] if key_env else [])]


def edited(old: str, new: str, name: str = "run.json") -> Make:
    """``bench verify`` of a run, of which a file was edited."""

    def make(place: Path) -> Words:
        run = write_run(place / "run")
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new, 1))
        return ["verify", run]

    return make


def bomb(width: int) -> str:
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, width)]
    return "\n".join(["a0: &a0 lol", *lines])


PROMPTS = {
    "needs {": beside(OWN, b'{"prompt": ""}\n' * 2),
    "a line of 8 MiB": beside(OWN, b'{"prompt": "' + b"x" * 10_000_000 + b'"}\n'),
    "not 0": config(BASE + "workload: {requests: 0}\n"),
}
PRICES = {
    "usd_per_hour": config(BASE + "price: {usd_per_hour: -1}\n"),
    "greater than 0, not 0": config(BASE + "price: {usd_per_hour: 0}\n"),
    "give either hardware": config(BASE + "price: {}\n"),
    "less than or equal to 1000": config(BASE + "price: {usd_per_hour: 2500}\n"),
    "price.currency: unknown key": config(BASE + "price: {usd_per_hour: 1, currency: XXX}\n"),
}
# By number: what the message says, and the input.
CASES = [
    pytest.param({"is empty": config("")}, id="empty", marks=pytest.mark.bad_input(1)),
    pytest.param(
        {"is not UTF-8": config(BASE.encode("utf-16")), "control character '\\x00'": config("model: a\0b\n")},
        id="encoding", marks=pytest.mark.bad_input(2),
    ),
    pytest.param(
        {"not a list": config("- a\n"), "or a single value": config("text\n")},
        id="no mapping", marks=pytest.mark.bad_input(3),
    ),
    pytest.param({"aliases": config(bomb(9))}, id="alias bomb", marks=pytest.mark.bad_input(4)),
    pytest.param({"nested deeper": config("a: " + "[" * 10_000)}, id="depth", marks=pytest.mark.bad_input(5)),
    pytest.param({"larger than 1 MiB": large}, id="100 MB", marks=pytest.mark.bad_input(6)),
    pytest.param(
        {"tags are not allowed": config("model: !!python/object/apply:os.system [touch pwned]\n")},
        id="python tag", marks=pytest.mark.bad_input(7),
    ),
    pytest.param(
        {
            "tags are not allowed: !function": config("model: !function os.system\n"),
            "_target_: unknown key": config(BASE + "_target_: os.system\n"),
            "no runtime called 'os.system'": config(BASE + "runtime: {name: os.system}\n"),
        },
        id="import strings", marks=pytest.mark.bad_input(8),
    ),
    pytest.param({"given twice, on lines 1 and 3": config(BASE + "model: x\n")},
                 id="key twice", marks=pytest.mark.bad_input(9)),
    pytest.param({"itertions: unknown key": config(BASE + "workload: {itertions: 3}\n")},
                 id="typo", marks=pytest.mark.bad_input(10)),
    pytest.param(
        {
            "valid integer, not '10'": config(BASE + 'workload: {requests: "10"}\n'),
            "valid integer, not 1000.0": config(BASE + "workload: {requests: 1e3}\n"),
            "not 'yes'": config(BASE + "optimise: [{quantise: bnb-nf4, double_quant: yes}]\n"),
        },
        id="types", marks=pytest.mark.bad_input(11),
    ),
    pytest.param(
        {"must be finite": config(BASE + "measure: {timeout_s: .nan}\n"),
           "a number must be": config(BASE + "measure: {timeout_s: -.inf}\n")},
        id="not finite", marks=pytest.mark.bad_input(12),
    ),
    pytest.param(
        {
            "workload.requests": config(BASE + "workload: {requests: -1}\n"),
            "runtime.threads": config(BASE + "runtime: {threads: 0}\n"),
            "workload.batch_size": config(BASE + "workload: {batch_size: 0}\n"),
            "measure.timeout_s": config(BASE + "measure: {timeout_s: 0}\n"),
        },
        id="less than one", marks=pytest.mark.bad_input(13),
    ),
    pytest.param(
        {
            "0 % cannot be shown": config(BASE + "gate: {e2el_ms: {max_increase: 0%}}\n"),
            "outside 0 % to 100 %": config(BASE + "gate: {e2el_ms: {max_decrease: 500%}}\n"),
        },
        id="margin", marks=pytest.mark.bad_input(14),
    ),
    pytest.param(
        {
            "gate.alpha: unknown key": config(BASE + "gate: {alpha: 0}\n"),
            "gate.alpha_fail: unknown": config(BASE + "gate: {alpha_fail: -1}\n"),
            "must be finite": config(BASE + "gate: {alpha: .nan}\n"),
        },
        id="error rate", marks=pytest.mark.bad_input(15),
    ),
    pytest.param(PRICES, id="price", marks=pytest.mark.bad_input(17)),
    pytest.param({"no price called 'cloud-3vcpu'": config(BASE + "price: {hardware: cloud-3vcpu}\n")},
                 id="unknown price", marks=pytest.mark.bad_input(18)),
    pytest.param(
        {
            "CUDA device": config(BASE + "runtime: {device: 'cuda:31'}\n"),
            "one of auto, cpu, cuda, cuda:N": config(BASE + "runtime: {device: MIG-3f2a}\n"),
        },
        id="device", marks=pytest.mark.bad_input(19),
    ),
    pytest.param({"not 'int8'": config(BASE + "runtime: {dtype: int8}\n")},
                 id="dtype", marks=pytest.mark.bad_input(20)),
    pytest.param(
        {"1000000000 combinations": config(
            f"{BASE}sweep: {{batch_size: {THOUSAND}, requests: {THOUSAND}, output_tokens: {THOUSAND}}}\n"
        )},
        id="sweep", marks=pytest.mark.bad_input(21),
    ),
    pytest.param(
        {
            "greater than or equal to 2, not 0": config(BASE + "workload: {output_tokens: 0}\n"),
            "context of 1024": config(BASE + "workload: {output_tokens: 1024}\n"),
        },
        id="tokens", marks=pytest.mark.bad_input(23),
    ),
    pytest.param(
        {"control character": config('model: "\\e[31mred"\n'),
         "no model called": config("model: '[red]x[/]'\n")},
        id="terminal", marks=pytest.mark.bad_input(24),
    ),
    pytest.param({"no model called": config("model: '</script><img onerror=x>'\n")},
                 id="html", marks=pytest.mark.bad_input(25)),
    pytest.param({"half of a letter": beside(OWN, b'{"prompt": "\\ud800"}\n' * 2)},
                 id="surrogate", marks=pytest.mark.bad_input(27)),
    pytest.param(PROMPTS, id="prompts", marks=pytest.mark.bad_input(28)),
    pytest.param(
        {
            "No such file": config(OWN),
            "is a directory": kind(Path.mkdir),
            "is a FIFO": kind(os.mkfifo),
            "is a device": kind(lambda path: path.symlink_to("/dev/zero")),
        },
        id="no file", marks=pytest.mark.bad_input(29),
    ),
    pytest.param({"file:2: not JSON": beside(OWN, b'{"prompt": "a"}\n{"prompt": }\n')},
                 id="bad line", marks=pytest.mark.bad_input(30)),
    pytest.param(
        {
            "http:// or https://": load("ftp://host/"),
            "no user and no password": load(f"http://me:{KEY}@host"),
            "no query": load(f"https://host/?key={KEY}"),
        },
        id="address", marks=pytest.mark.bad_input(32),
    ),
    pytest.param(
        {"in the clear": load("http://host.example", "PLANTED")},
        id="key in the clear", marks=pytest.mark.bad_input(33),
    ),
    pytest.param(
        {
            "EMPTY_ONE is not set, or it is empty": load("https://host", "EMPTY_ONE"),
            "NOT_THERE is not set": load("https://host", "NOT_THERE"),
        },
        id="no key", marks=pytest.mark.bad_input(34),
    ),
    pytest.param(
        {
            "config.yaml:3: api_key: this looks like a key": config(BASE + f"api_key: {KEY}\n"),
            "runtime.args.x: this looks like a key": config(BASE + f"runtime: {{args: {{x: 'a {KEY}'}}}}\n"),
            "runtime: this looks like a key": config(BASE + f"runtime: {{{KEY}: 1}}\n"),
            "name of a variable": config(BASE, "--set", f"name={KEY}"),
            "not a key": load("https://host", KEY),
            "write key=value": config(BASE, "--set", KEY),
            "--only": config(BASE, "--only", KEY),
        },
        id="pasted key", marks=pytest.mark.bad_input(35),
    ),
    pytest.param(
        {
            "pickled weights": model({"pytorch_model.bin": b"PK\3\4" + bytes(99)}),
            "not a sound safetensors file": model({"model.safetensors": struct.pack("<Q", 2**62)}),
        },
        id="weights", marks=pytest.mark.bad_input(36),
    ),
    pytest.param({"run code": model({"config.json": json.dumps({"auto_map": {"A": "m.A"}}).encode()})},
                 id="code", marks=pytest.mark.bad_input(37)),
    pytest.param(
        {
            "GGUF": lambda place: gguf(place, b"GGML"),
            "GGUF header": lambda place: gguf(place, b"GGUF" + struct.pack("<IQQ", 3, 2**63, 1)),
        },
        id="gguf", marks=pytest.mark.bad_input(38),
    ),
    pytest.param({"40 hex digits": config("model: {hub: Qwen/Qwen3-0.6B, revision: main}\n")},
                 id="revision", marks=pytest.mark.bad_input(39)),
    pytest.param({"is no commit": repository}, id="git option", marks=pytest.mark.bad_input(42)),
    pytest.param({"no such variant": config(BASE + "variants: [{name: a}]\n", "--only", "b")},
                 id="filter", marks=pytest.mark.bad_input(46)),
]  # fmt: skip


def gguf(place: Path, content: bytes) -> Words:
    (place / "x.gguf").write_bytes(content)
    return config(f"model: {{path: {place / 'x.gguf'}}}\ndrift: {{tokens: 0}}\n")(place)


def said_of(bench: Bench, make: Make, place: Path, code: ExitCode) -> str:
    """What a command says of a bad input: it ends at once with its code, and nothing is begun or shown."""
    place.mkdir()
    arguments = make(place)
    began = time.process_time()
    found = bench(*arguments)
    assert time.process_time() - began < 2
    assert (found.returncode, found.stdout) == (code, ""), found.stderr
    assert "Traceback" not in found.stderr
    assert len(found.stderr) < 4000
    assert "\x1b" not in found.stderr
    assert KEY not in found.stderr
    assert not (place / "out").exists()
    return found.stderr


@pytest.mark.parametrize("inputs", CASES)
def test_a_bad_input_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inputs: dict[str, Make]
) -> None:
    monkeypatch.setenv("PLANTED", KEY)
    monkeypatch.setenv("EMPTY_ONE", "")
    for number, (words, make) in enumerate(inputs.items()):
        assert words in said_of(bench, make, tmp_path / str(number), USAGE)
    assert not Path("pwned").exists()


TAMPERED = [
    pytest.param({"price.usd_per_hour": edited('"usd_per_hour": 0.1008', '"usd_per_hour": 0.0001')},
                 id="edited figure", marks=pytest.mark.bad_input(43)),
    pytest.param(
        {
            "NaN is not a number": edited('"usd_per_hour": 0.1008', '"usd_per_hour": NaN'),
            "stands twice": edited('"run_id": ', '"run_id": 1, "run_id": '),
            "an integer of 400 digits": edited('"usd_per_hour": 0.1008', '"usd_per_hour": ' + "9" * 400),
        },
        id="json", marks=pytest.mark.bad_input(44),
    ),
]  # fmt: skip


@pytest.mark.parametrize("inputs", TAMPERED)
def test_a_result_that_was_tampered_with_is_refused(
    bench: Bench, tmp_path: Path, inputs: dict[str, Make]
) -> None:
    for number, (words, make) in enumerate(inputs.items()):
        assert words in said_of(bench, make, tmp_path / str(number), INTEGRITY)


@pytest.mark.bad_input(45)
def test_a_strange_environment_changes_nothing(tmp_path: Path) -> None:
    """A huge variable (the kernel starts no program with more than 128 KiB in one), a language with commas in
    its numbers, another time zone, and no home."""
    german = dict.fromkeys(("LC_ALL", "LC_NUMERIC", "LANG"), "de_DE.UTF-8")
    strange = {"JUNK": "x" * 100_000, "TZ": "Asia/Kathmandu", "HOME": "", **german}
    run = write_run(tmp_path / "run")
    usual = {**os.environ, "BENCH_CACHE": str(tmp_path / "cache")}
    said = []
    for environment in (usual, {key: value for key, value in {**usual, **strange}.items() if value}):
        for words in (["check", "configs/ci.yaml"], ["report", str(run), "--format", "csv"]):
            done = subprocess.run(
                [sys.executable, "-m", "bench", *words],
                capture_output=True, text=True, timeout=60, check=True, cwd=ROOT, env=environment,
            )  # fmt: skip
            said.append(done.stdout)
    assert said[:2] == said[2:]
