"""Environments of serving engines: made by steps, resumed, refused, removed; pip and wheels of our own."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import venv
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from running_stub import STUB

from bench.config.reader import read_config
from bench.config.spec import Arm
from bench.environments import finds
from bench.errors import BenchError, UsageError
from bench.machine.proc import stat_of
from bench.measure.servers import _in_each_body
from bench.models.reference import LocalModel, SourceRecord
from bench.runs.sides import evidence_key
from bench.serving import environment_build, environments
from bench.serving.address import address
from bench.serving.client import Client
from bench.serving.engines import ADAPTERS
from bench.serving.engines.adapter import Adapter, Launch, installed
from bench.serving.engines.recipe import Recipe
from bench.serving.engines.server_facts import Said
from bench.serving.environment_build import EnvironmentBuild
from bench.serving.reply import Asked
from bench.serving.server import free_port
from bench.serving.target import Manner, begun
from bench.sides.build import Built
from bench.sides.config_paths import placed

RECIPE = Recipe(
    "toy-engine[fast]==1.0", "toy_engine", disk_bytes=1, first=("toy-base==2.0+cpu",),
    without=("toy-heavy",), also=("toy-more",), called=("toy", "1.0+cpu"), hint="look at the toy page",
)  # fmt: skip


def wheel(folder: Path, name: str, version: str, *needs: str) -> None:
    """Write a wheel with one empty module, which any pip installs."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    lines = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {one}" for one in needs),
    ]
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{module}.py", "")
        archive.writestr(
            f"{info}/METADATA", "\n".join([*lines, "Provides-Extra: fast", "Provides-Extra: slow"]) + "\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine called vllm that is made of toys, and the folder in which pip looks for them."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    needs = (
        "toy-base==2.0",
        "toy-heavy",
        "toy-need",
        'toy-fast; extra == "fast"',
        'toy-slow; extra == "slow"',
    )
    wheel(folder, "toy-engine", "1.0", *needs)
    wheel(folder, "toy-base", "2.0+cpu")
    wheel(folder, "toy-fast", "1")
    wheel(folder, "toy-more", "1")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    toy = replace(ADAPTERS["vllm"], recipe=lambda: RECIPE, modules=(("toy_that_is_nowhere",),))
    monkeypatch.setitem(ADAPTERS, "vllm", toy)
    return folder


def test_made_by_steps_and_resumed_where_it_failed(wheels: Path, tmp_path: Path) -> None:
    """First a package is missing that a recipe has a hint for, then one that it knows nothing of."""
    said: list[str] = []
    first = (wheels / "toy_base-2.0+cpu-py3-none-any.whl").rename(tmp_path / "elsewhere.whl")
    with pytest.raises(BenchError, match=r"(?s)step 2 of 6.*look at the toy page"):
        environments.make("vllm", said.append)
    first.rename(wheels / "toy_base-2.0+cpu-py3-none-any.whl")
    with pytest.raises(BenchError) as bad:
        environments.make("vllm", said.append)
    assert "step 4 of 6; `bench env make vllm` goes on with it" in str(bad.value)
    assert "toy-need" in str(bad.value), "pip's own words"
    assert environments.made("vllm") is None
    with pytest.raises(UsageError, match="not installed here: bench env make vllm"):
        environments.interpreter_for(ADAPTERS["vllm"], None)
    wheel(wheels, "toy-need", "3")
    said.clear()
    python = environments.make("vllm", said.append)
    assert [line for line in said if "done before" in line] == [
        "1/6 a new environment: done before", "2/6 toy-base==2.0+cpu: done before",
        "3/6 toy-engine[fast]==1.0 itself: done before",
    ]  # fmt: skip
    assert environments.made("vllm") == python
    assert environments.interpreter_for(ADAPTERS["vllm"], None) == str(python)
    assert environments.interpreter_for(ADAPTERS["vllm-offline"], None) == str(python)
    ask = (
        "import importlib.metadata as m; print(m.version('toy'), *sorted(d.name for d in m.distributions()))"
    )
    found = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    assert found[0] == "1.0+cpu"
    assert {name for name in found if name.startswith("toy")} == {
        "toy",
        "toy-base",
        "toy-engine",
        "toy-fast",
        "toy-more",
        "toy-need",
    }
    said.clear()
    assert environments.make("vllm", said.append) == python
    assert said == ["vllm: it is made already"]
    assert environments.remove("vllm") == (python.parents[2],)
    assert not python.parents[2].exists()
    assert environments.remove("vllm") == ()


def test_too_little_room(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = replace(RECIPE, disk_bytes=10**18)
    monkeypatch.setitem(ADAPTERS, "vllm", replace(ADAPTERS["vllm"], recipe=lambda: large))
    with pytest.raises(UsageError, match=r"takes 931,322,575 GiB, and .* GiB are free"):
        environments.make("vllm", lambda _line: None)


def test_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="did you mean 'vllm'"):
        environments.recipe_of("vlm")
    monkeypatch.setattr("bench.serving.engines.sglang.cuda_device_count", lambda: 0)
    with pytest.raises(UsageError, match="no package for a CPU"):
        environments.make("sglang", lambda _line: None)
    own = {name for name, adapter in ADAPTERS.items() if not adapter.in_process}
    assert {row[0] for row in environments.rows()} == own
    with pytest.raises(UsageError, match=r"vLLM offline has no environment .*: bench env make vllm"):
        environments.make("vllm-offline", lambda _line: None)


def test_an_interpreter_that_is_named_is_taken(wheels: Path) -> None:
    assert environments.interpreter_for(ADAPTERS["vllm"], "/some/python") == "/some/python"
    here = replace(ADAPTERS["vllm"], modules=())
    assert environments.interpreter_for(here, None) == sys.executable


def test_the_engine_of_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a side of a gate the engine is the one that its commit installs, else the one of a run."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    toy = replace(
        ADAPTERS["vllm"], recipe=lambda: RECIPE, modules=(("toy_that_is_nowhere",), ("toy_engine",))
    )
    monkeypatch.setitem(ADAPTERS, "vllm", toy)
    config = tmp_path / "serving.yaml"
    load = "{name: closed-loop, users: 2, input_tokens: 8, output_tokens: 8}"
    config.write_text(f"model: smollm2-135m\nruntime: {{name: vllm}}\nworkload: {load}\n")
    spec, built = read_config(config), Built(tmp_path, tmp_path, tmp_path)
    venv.create(tmp_path / "venv", with_pip=False)
    model = LocalModel(tmp_path, SourceRecord("path", "x", "x", None, None), ())
    key = evidence_key(spec, {}, lambda _model: model)

    def row() -> Arm:
        return placed(spec, built, tmp_path).groups[0].baseline

    assert "bench env make vllm" in str(row().unsupported)
    made = tmp_path / "made" / "bin" / "python"
    made.parent.mkdir(parents=True)
    made.symlink_to(sys.executable)
    monkeypatch.setattr(environments, "made", lambda _name: made)
    assert row().unsupported is None
    assert row().runtime.python == str(made)
    assert evidence_key(spec, {}, lambda _model: model) != key, "another engine"
    (built.packages / "toy_engine.py").touch()
    assert row().runtime.python == str(built.python)
    assert not finds(tmp_path / "no-python", [["sys"]])


def test_a_directory_of_the_same_name_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "toy_of_a_name").mkdir()
    assert not installed("toy_of_a_name")
    (tmp_path / "toy_of_a_name" / "__init__.py").touch()
    importlib.invalidate_caches()
    assert installed("toy_of_a_name")
    assert not installed("toy_of_a_name", "toy_that_is_nowhere")


VLLM = {
    "/version": {"version": "0.32.0"},
    "/v1/models": {"data": [{"id": "served", "max_model_len": 2048}]},
    "/server_info?config_format=json": {
        "vllm_config": {
            "model_config": {"dtype": "torch.bfloat16", "quantization": None, "max_model_len": 2048},
            "cache_config": {"cache_dtype": "auto", "enable_prefix_caching": True},
        }
    },
}
LLAMA = {"/props": {"model_ftype": "Q4_1", "build_info": "b1", "default_generation_settings": {"n_ctx": 512}}}
SGLANG = {
    "/get_server_info": {
        "version": "0.5.23", "dtype": "float16", "quantization": "fp8", "kv_cache_dtype": "fp8_e5m2",
        "context_length": 4096, "disable_radix_cache": False,
    }
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "evidence", "said"),
    [
        ("vllm", VLLM, Said("0.32.0", "bfloat16", "none", "bfloat16", 2048, True)),
        ("llama-cpp-server", LLAMA, Said("b1", None, "Q4_1", None, 512, None)),
        ("sglang", SGLANG, Said("0.5.23", "float16", "fp8", "fp8_e5m2", 4096, True)),
    ],
)
def test_what_a_server_says_of_itself(name: str, evidence: dict[str, object], said: Said) -> None:
    """The first two are cut from real servers' answers, the third is from SGLang's documentation."""
    adapter = ADAPTERS[name]
    assert adapter.said(evidence) == said
    assert adapter.said(dict.fromkeys(evidence, "not read: HTTP 404")) == Said()
    assert adapter.said({}) == Said()
    assert f"version {said.version}" in said.sentence


def test_a_step_that_takes_too_long_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_build, "INSTALL_S", 1.0)
    steps = EnvironmentBuild.__new__(EnvironmentBuild)
    program = f"(sleep 300 & echo $! > {tmp_path}/pid); echo so far; sleep 300"
    with pytest.raises(BenchError, match=r"(?s)no end within 1 s, so it was ended.*so far"):
        steps._run(["/bin/sh", "-c", program])
    assert stat_of(int((tmp_path / "pid").read_text()))[:1] in ([], ["Z"])


@pytest.mark.parametrize("keep", [False, True])
def test_whether_llama_cpp_keeps_prompts_is_in_each_request(keep: bool, tmp_path: Path) -> None:
    """The engine itself does not say it, so the row says what it was asked."""
    file = tmp_path / "c.yaml"
    file.write_text(
        "model: smollm2-135m\nruntime: {name: llama-cpp-server}\ndrift: {tokens: 0}\n"
        "workload: {name: closed-loop, users: 1, requests: 2, input_tokens: 4, output_tokens: 2}\n"
        f"variants: [{{name: v, runtime: {{keep_prompts: {str(keep).lower()}}}}}]\n"
    )
    (variant,) = read_config(file).groups[0].variants
    manner = Manner(extra=_in_each_body(variant))
    found = manner.settings(address("http://127.0.0.1:1"), "m", None, ADAPTERS["llama-cpp-server"].extra)
    assert found.extra == {"ignore_eos": True, "cache_prompt": keep, "repeat_penalty": 1.0}


@pytest.mark.parametrize(("asked", "said"), [({}, False), ({"kept": True}, True)])
def test_a_server_that_a_request_tells_what_to_keep(
    asked: dict[str, object], said: bool, tmp_path: Path
) -> None:
    def command(launch: Launch) -> tuple[str, ...]:
        return (launch.python, str(STUB), "--port", str(launch.port))

    adapter = Adapter("stub", "", command, "/health", (), lambda _: "m", "", {"kept": False}, keeps="kept")
    launch = Launch("m", free_port(), sys.executable)
    with begun(adapter, launch, tmp_path / "log", 20.0, Manner(extra=asked)) as target:
        assert target.head["settings"]["prefix_caching"] is said


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("vllm", {"repetition_penalty": 1.0}), ("sglang", {"repetition_penalty": 1.0}),
        ("llama-cpp-server", {"repeat_penalty": 1.0}), ("transformers-serve", {"frequency_penalty": 0.0}),
    ],
)  # fmt: skip
def test_no_model_chooses_a_penalty_for_itself(engine: str, said: dict[str, float]) -> None:
    """Servers take it from generation_config.json (Qwen2.5 has 1.1) even at temperature 0; the baseline takes
    the likeliest token."""
    settings = Manner().settings(address("http://127.0.0.1:1"), "m", None, ADAPTERS[engine].extra)
    body = json.loads(Client(settings)._request(Asked("a", 0, 1)).partition(b"\r\n\r\n")[2])
    assert body == {**body, "temperature": 0, **said}
