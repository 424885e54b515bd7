"""A key that is planted in the environment, in a config, in headers and in errors is in no artefact."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from fakes import fake_runtime
from small_runs import small_config

from bench import plugins
from bench.cli.main_actions import report
from bench.config.reader import read_config
from bench.errors import BenchError, ConfigError
from bench.measure import worker_process
from bench.runs.gate import Plan, gate_spec
from bench.runs.run import run_spec

__all__ = ["fake_runtime"]  # a fixture
pytestmark = pytest.mark.usefixtures("fake_runtime")
KEY = "sk-planted/0123456789+abcdef=="
FORMS = (KEY, quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode().rstrip("="), json.dumps(KEY)[1:-1])
NAMES = (
    "OPENAI_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AZURE_CLIENT_SECRET",
    "GITHUB_TOKEN", "ANTHROPIC_API_KEY", "PIP_INDEX_URL", "http_proxy", "A_NAME_THAT_SAYS_NOTHING",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "GRACE_S", 5.0)
    for name in NAMES:
        monkeypatch.setenv(name, KEY)


def holding(place: Path) -> list[str]:
    """The files below ``place`` that hold the key in any of its forms, in content or in name."""
    files = [path for path in place.rglob("*") if path.is_file()]
    assert files
    return [
        str(path)
        for path in files
        if any(form.encode() in path.read_bytes() or form in str(path) for form in FORMS)
    ]


def test_the_search_would_find_it(tmp_path: Path) -> None:
    for number, form in enumerate(FORMS):
        (tmp_path / str(number)).write_bytes(b"\0" + form.encode() + b"\xff")
    (tmp_path / "none").write_text("nothing")
    assert len(holding(tmp_path)) == len(FORMS)


def test_a_key_in_the_environment_is_in_no_file_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row fails with an error that quotes all its process can see, as libraries do with headers; its log
    has it too. Reports of every format are made of the run."""
    tells = ({"at": "prefill", "call": 2, "do": "tell all"},)
    file = small_config(tmp_path / "config", {"good": (), "tells": tells})
    directory = run_spec(read_config(file), tmp_path / "out")
    said = json.loads((directory / "run.json").read_text())["variants"][2]["reason"]
    assert "request failed, headers: {" in said
    assert "TOKENIZERS_PARALLELISM" in said
    assert "TOKENIZERS_PARALLELISM" in (directory / "logs" / "tells.log").read_text()
    for name in plugins.names("report.formats"):
        with suppress(BenchError):  # a format that needs a gate, or a package
            report([directory], [name], tmp_path / "out" / f"report-{name}")
    assert len(list((tmp_path / "out").glob("report-*"))) > 5
    assert holding(tmp_path / "out") == []
    printed = capsys.readouterr()
    assert not any(form in printed.out + printed.err for form in FORMS)


def test_a_key_in_the_environment_is_in_no_file_of_a_gate(tmp_path: Path) -> None:
    tells = ({"at": "prefill", "call": 4, "do": "tell all"},)
    limits = {"cost_per_request_usd": {"max_increase": "3%"}}
    file = small_config(tmp_path / "config", {"tells": tells}, gate=limits)
    directory = gate_spec(read_config(file), tmp_path / "out", Plan(batches=2))
    assert "request failed, headers: {" in (directory / "run.json").read_text()
    assert holding(tmp_path / "out") == []


@pytest.mark.bad_input(35)
@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-0123456789abcdef", "hf_" + "a1B2" * 9, "ghp_" + "a1B2" * 9, "github_pat_" + "a1" * 20,
        "glpat-" + "a1B2" * 5, "AKIA" + "A1B2" * 4, "AIza" + "a1B2" * 9, "xoxb-0123456789-abc",
        "sk_live_" + "a1B2" * 5, "-----BEGIN RSA PRIVATE KEY-----", "git+https://me:hunter2@host.example/a.git",
        "https://:hunter2@host.example",
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["name: {}", "runtime: {{env: '{}'}}", "note: 'Bearer {}'", "'{}': 1"])
def test_a_key_in_a_config_is_refused_and_not_shown(tmp_path: Path, key: str, where: str) -> None:
    """It would be copied into every result."""
    file = tmp_path / "config.yaml"
    file.write_text("model: {random: tiny-llama}\ndrift: {tokens: 0}\n" + where.format(key) + "\n")
    with pytest.raises(ConfigError, match="this looks like a key") as refused:
        read_config(file)
    assert key not in str(refused.value)
    assert refused.value.line


@pytest.mark.bad_input(35)
@pytest.mark.parametrize(
    "form", [str, lambda key: quote(key, safe=""), lambda key: base64.b64encode(key.encode()).decode()]
)
def test_the_value_of_a_secret_variable_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Callable[[str], str]
) -> None:
    """It has no beginning by which anybody would know it."""
    key = "zq8 plain/words="
    monkeypatch.setenv("MY_API_KEY", key)
    file = tmp_path / "config.yaml"
    file.write_text(
        f"name: a\nmodel: {{random: tiny-llama}}\ndrift: {{tokens: 0}}\nnote: 'so {form(key)} so'\n"
    )
    with pytest.raises(
        ConfigError, match="holds the value of the environment variable MY_API_KEY"
    ) as refused:
        read_config(file)
    assert "zq8" not in str(refused.value)
    assert refused.value.line == 4


def test_a_variable_that_holds_a_short_word_or_a_file_is_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "the-file-of-keys"
    keys.write_text("some words")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("SIGNING_KEY_FILE", str(keys))
    monkeypatch.setenv("USERNAME", "christopherson")
    file = tmp_path / "config.yaml"
    file.write_text(
        f"name: false-christopherson\nmodel: {{random: tiny-llama}}\ndrift: {{tokens: 0, text: '{keys}'}}\n"
    )
    assert read_config(file).name == "false-christopherson"


@pytest.mark.parametrize(
    "name",
    ["disk-0123456789abcdefgh", "task-a-b-c-d-e-f-g-h-i-j-k", "hf_internal_testing", "AKIA", "sk-short"],
)
def test_what_only_begins_like_a_key_is_read(tmp_path: Path, name: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"name: {name}\nmodel: {{random: tiny-llama}}\ndrift: {{tokens: 0}}\n")
    assert read_config(file).name == name


@pytest.mark.parametrize(
    "command",
    ["pip install https://$USER:$TOKEN@host/a", "git clone ssh://git@host:22/a", "http://host:80/@a"],
)
def test_an_address_without_a_password_is_read(tmp_path: Path, command: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        f"model: {{random: tiny-llama}}\ndrift: {{tokens: 0}}\nbuild: {{commands: ['{command}']}}\n"
    )
    assert read_config(file).build.commands == (command,)
