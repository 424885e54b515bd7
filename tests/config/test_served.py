"""What a config may say of servers and of their load, and what is refused before anything is started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.cli.check import describe
from bench.config.reader import read_config
from bench.errors import UsageError

KEY = "sk-planted-0123456789abcdef"
STARTED = f"""
model: smollm2-135m
runtime: {{name: sglang, python: {sys.executable}, wait_s: 20}}
workload: {{name: closed-loop, users: 2, requests: 4, input_tokens: 6, output_tokens: 4, warmup: 1}}
variants: [{{name: same}}]
"""

BASE = """
model: smollm2-135m
runtime: {name: openai-http, url: "http://127.0.0.1:8000", model: m}
workload: {name: closed-loop, users: 2, input_tokens: 8}
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("runtime.threads=2", "does nothing for openai-http"),
        ("runtime.dtype=bfloat16", "does nothing for openai-http"),
        ("runtime.ulr=http://x", "did you mean 'url'?"),
        ("runtime.url=ftp://x", "begins with http:// or https://"),
        ("runtime.key_env=NOT_SET_ANYWHERE", "is not set"),
        ("runtime.key_env=sk-0123456789abcdef0123", "give the name of a variable"),
        ("runtime.url=https://api.example.com/v1", "price: is missing"),
        ("runtime.api=chatty", "did you mean 'chat'?"),
        ("runtime={name: vllm, args: {host: 0.0.0.0}}", "host is chosen by this tool"),
        ("runtime={name: vllm, args: {--host: x}}", "is no argument"),
        ("runtime={name: vllm, args: {max-model-len: 16}}", "and a request has 40 tokens"),
        ("runtime={name: llama-cpp-server, args: {ctx-size: 100}}", "shared by 4 slots"),
        ("runtime={name: llama-cpp-server, args: {ubatch: 8}}", "--ubatch 8 (meant is --ubatch-size?)"),
        ("runtime={name: llama-cpp-server, args: {ctx-size: 99, parallel: 0}}", "no whole number above 0"),
        ("runtime={name: llama-cpp-server, dtype: bfloat16}", "does nothing for llama-cpp-server"),
        ("runtime={name: vllm, port: 80}", "port must be from 1024"),
        ("runtime={name: vlm}", "did you mean 'vllm'?"),
        ("runtime={name: transformers}", "is a load for a server, and transformers is none"),
        ("workload={name: chat}", "openai-http is a server, and 'chat' is no load"),
        ("workload.batch_size=4", "does nothing for closed-loop"),
        ("workload.user=4", "did you mean 'users'?"),
        ("workload.users=0", "users must be from 1"),
        ("workload={name: closed-loop, users: 2, input_tokens: 1000000, requests: 200}", "100,000,000 are"),
        ("workload={name: open-loop, rate: 1e-300, input_tokens: 8}", "take more than 15 days"),
        ("workload={name: closed-loop, users: 2}", "needs input_tokens"),
        ("workload={name: open-loop, rate: -1, input_tokens: 8}", "rate must be above 0"),
        ("workload={name: open-loop, rate: 1, arrivals: gamma, input_tokens: 8}", "gamma needs burstiness"),
        ("workload={name: search, input_tokens: 8}", "needs limits to search for"),
        ("workload={name: search, requests: 9, input_tokens: 8}", "does nothing for search"),
        ("workload={name: trace, file: nowhere.jsonl}", "nowhere.jsonl"),
        ("workload.requests=5000", "more than a journal holds (at most 1000)"),
        ("model={random: tiny-llama}", "needs a model's own weights"),
        ("optimise=[{quantise: bnb-nf4}]", "is for runtime transformers, not openai-http"),
        ("gate={peak_rss_bytes: {max: 1}}", "it is not measured of a server"),
        ("gate={error_rate: {max_increase: 5%}}", "gate.error_rate: it is 0 for most baselines"),
        ("gate={capacity_req_per_s: {min: 1}}", "only the workload search does"),
        ("drift.suites=[factuality]", "drift.suites: factuality needs the likelihood of each choice"),
        ("drift.suites=[arithmetic, bias]", "of servers: arithmetic, instructions, long-context, refusal"),
        ("drift.statistics=[jensen-shannon]", "drift.statistics: does nothing for servers"),
        ("measure.design=abba", "measure.design: does nothing for servers"),
        ("measure.probes=[page-faults]", "measure.probes: does nothing for servers"),
        ("measure.memory_limit=8GiB", "measure.memory_limit: does nothing for servers"),
        ("measure.timeout_s=60", "measure.timeout_s: does nothing for servers"),
        ("measure.pin_client=false", "measure.pin_client: does nothing for servers that are there already"),
        ("energy={modelled_watts: 100}", "energy.modelled_watts: does nothing for servers"),
        (
            "variants=[{name: v, runtime: {name: transformers}, workload: {name: fixed}}]",
            "nothing can be compared",
        ),
    ],
)
@pytest.mark.bad_input(34, 35)
def test_what_is_refused(change: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(BASE)
    with pytest.raises(UsageError) as bad:
        read_config(path, [change])
    assert said in str(bad.value)
    assert str(path) in str(bad.value)
    assert "sk-0123" not in str(bad.value)


@pytest.mark.bad_input(33)
def test_a_key_to_a_foreign_host_in_the_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", KEY)
    path = tmp_path / "c.yaml"
    path.write_text(
        BASE.replace("http://127.0.0.1:8000", "http://api.example.com").replace(
            "model: m", "key_env: PLANTED"
        )
    )
    with pytest.raises(UsageError, match=r"c\.yaml:3: .*would go to api\.example\.com in the clear"):
        read_config(path)


def test_a_port_of_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(STARTED.replace("wait_s: 20", "wait_s: 20, port: 18000"))
    with pytest.raises(UsageError, match="port 18000 is the baseline's too"):
        read_config(path)


def test_a_sweep_over_loads_has_a_cell_for_each(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    loads = (
        "sweep: {workload: [{name: closed-loop, users: 4}, {name: open-loop, rate: 2, arrivals: constant}]}"
    )
    path.write_text(
        BASE.replace("{name: closed-loop, users: 2, input_tokens: 8}", "{input_tokens: 8}") + loads
    )
    labels = [group.label for group in read_config(path).groups]
    assert labels == ["closed-loop users=4", "open-loop rate=2 arrivals=constant"]
    path.write_text(BASE + "sweep: {users: [1, 4, 16]}")
    assert [dict(group.baseline.workload.own)["users"] for group in read_config(path).groups] == [1, 4, 16]


def test_another_engine_does_not_inherit_what_only_the_first_one_has(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    other = STARTED.replace("{name: same}", "{name: v, runtime: {name: vllm}}")
    path.write_text(other.replace("wait_s: 20", "args: {a: 1}"))
    (variant,) = read_config(path).groups[0].variants
    assert dict(variant.runtime.own)["args"] == {}
    assert variant.runtime.python == sys.executable
    path.write_text(other.replace("sglang", "llama-cpp-server").replace("wait_s: 20", "threads: 2"))
    assert read_config(path).groups[0].variants[0].runtime.threads is None


@pytest.mark.parametrize("tokens", [0, 512, 4096])
@pytest.mark.parametrize("load", ["closed-loop, users: 2", "open-loop, rate: 2", "offline", "search"])
def test_every_load_is_described_with_what_drift_asks_of_it(tmp_path: Path, load: str, tokens: int) -> None:
    path = tmp_path / "c.yaml"
    more = f"variants: [{{name: same}}]\nslo: {{ttft_ms: 500}}\ndrift: {{tokens: {tokens}}}\n"
    path.write_text(BASE.replace("closed-loop, users: 2", load) + more)
    said = describe(read_config(path))
    asked = f"{tokens} tokens of 'mixed' in windows of 256: a request for each token to both servers"
    assert (asked if tokens else "not measured: drift.tokens is 0") in " ".join(said.split())
    assert "too few for an interval" not in said


def test_a_server_without_a_dtype_is_described_without_one(tmp_path: Path) -> None:
    """It said float32 of a server whose GGUF file decides, and "max 4000.0" of a whole number."""
    path = tmp_path / "c.yaml"
    more = "slo: {ttft_ms: 500}\nvariants: [{name: same}]\n"
    limits = "gate: {ttft_ms: {max: 4000.0}, tpot_ms: {max: 0.125, max_increase: 5%}}\n"
    path.write_text(BASE + more + limits)
    said = " ".join(describe(read_config(path)).split())
    assert "float32" not in said
    assert "ttft_ms: max 4000 " in said
    assert "tpot_ms: max_increase 5%, max 0.125" in said
    assert "until 4 blocks of the workload are quiet, 8 at most" in said
    path.write_text(STARTED.replace("sglang", "llama-cpp-server") + limits)
    said = " ".join(describe(read_config(path)).split())
    assert "float32" not in said
    assert "types of its GGUF file" in said
    path.write_text(STARTED)
    assert "float32" in describe(read_config(path))


def test_the_config_that_a_run_writes_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(BASE)
    first = read_config(path)
    path.write_text(first.expanded)
    assert read_config(path).groups[0].baseline == first.groups[0].baseline


def test_a_search_may_have_a_limit_on_its_capacity(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(BASE.replace("closed-loop, users: 2", "search") + "slo: {ttft_ms: 500}\n")
    spec = read_config(path, ["gate={capacity_req_per_s: {min: 1}, error_rate: {max: 0.1}}"])
    assert [key for key, _limit in spec.gate] == ["capacity_req_per_s", "error_rate"]


def test_pinning_is_for_servers(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        BASE.replace('{name: openai-http, url: "http://127.0.0.1:8000", model: m}', "{name: vllm}")
    )
    assert not read_config(path, ["measure.pin_client=false"]).measure.pin_client
    path.write_text("model: smollm2-135m\nmeasure: {pin_client: false}\n")
    with pytest.raises(UsageError, match=r"c\.yaml:2: .*measure\.pin_client: does nothing without servers"):
        read_config(path)
