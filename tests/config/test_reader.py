"""What a config may say, how its parts are merged, and how each thing that is wrong in one is refused."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from fake_nvml import GIB, Card, Machine, gpu_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import plugins
from bench.config import support
from bench.config.reader import FILE_KEYS, read_config
from bench.config.room import one_after_other
from bench.config.rows import MAX_ROWS
from bench.config.served import is_server
from bench.errors import BenchError, ConfigError, ExitCode, UsageError
from bench.models.reference import Hub, LocalPath, Named, Random
from bench.models.registry import find_model
from bench.store.files import digest

__all__ = ["gpu_machine"]
ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))
BASE = """\
name: test
model: {random: tiny-llama}
runtime:
  device: cpu
  dtype: float32
  threads: 1
workload:
  name: chat
  requests: 6
  output_tokens: 8
variants:
  - name: bf16
    runtime: {dtype: bfloat16}
price: {hardware: cloud-2vcpu-8gb}
drift: {tokens: 0}
"""
COMMIT = "c1899de289a04d12100db370d81485cdf75e47ca"
Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU machine with every package, so that results do not depend on where the tests run."""
    monkeypatch.setattr(support, "cuda_device_count", lambda: 0)
    monkeypatch.setattr(plugins, "missing_packages", lambda module: ())


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str) -> Path:
        path = tmp_path / "test.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return put


def refusal(path: Path, *overrides: str) -> ConfigError:
    """What the file is refused with: exit 2, its name and line, one line of text."""
    with pytest.raises(ConfigError) as caught:
        read_config(path, overrides)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return caught.value


def changed(old: str, new: str) -> str:
    assert old in BASE
    return BASE.replace(old, new, 1)


# ---- what is accepted ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_is_valid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    spec = read_config(path)
    assert spec.name == path.stem
    reasons = [arm.unsupported for group in spec.groups for arm in group.arms if arm.unsupported]
    if is_server(spec.groups[0].baseline.runtime):  # its engine is installed by whoever wants to serve
        assert all("not installed here: " in reason for reason in reasons), reasons
        return
    assert all(re.search(r"CUDA|GPU|bench env make", reason) for reason in reasons), reasons
    assert all(group.baseline.unsupported is None for group in spec.groups)


def test_a_minimal_file_has_defaults_for_the_rest(write: Write) -> None:
    spec = read_config(write("model: smollm2-135m\n"))
    arm = spec.groups[0].baseline
    assert (spec.name, spec.price.hardware, len(spec.groups)) == ("test", "cloud-2vcpu-8gb", 1)
    assert arm.is_baseline
    assert arm.model == Named("smollm2-135m")
    assert (arm.runtime.name, arm.workload.name, arm.optimise) == ("transformers", "chat", ())
    assert (spec.gate, spec.groups[0].variants) == ((), ())


def test_a_variant_says_only_what_differs(write: Write) -> None:
    text = BASE + "optimise: [{prune: magnitude, sparsity: 0.3}]\n"
    text = text.replace(
        "    runtime: {dtype: bfloat16}\n",
        "    runtime: {dtype: bfloat16}\n  - name: same\n  - name: bare\n    optimise: []\n"
        "  - name: other\n    model: smollm2-135m\n    workload: {requests: 3}\n",
    )
    group = read_config(write(text)).groups[0]
    bf16, same, bare, other = group.variants
    assert (bf16.runtime.dtype, bf16.runtime.threads) == ("bfloat16", 1)
    assert bf16.optimise == group.baseline.optimise
    assert (same.runtime, same.workload, same.model) == (
        group.baseline.runtime, group.baseline.workload, group.baseline.model,
    )  # fmt: skip
    assert bare.optimise == ()
    assert other.model == Named("smollm2-135m")
    assert (other.workload.requests, other.workload.output_tokens) == (3, 8)


def test_the_steps_of_a_list_keep_their_order_and_get_their_defaults(write: Write) -> None:
    text = BASE + "optimise:\n  - {prune: magnitude}\n  - {quantise: bnb-nf4, double_quant: true}\n"
    prune, quantise = read_config(write(text)).groups[0].baseline.optimise
    assert (prune.verb, prune.scheme) == ("prune", "magnitude")
    assert dict(prune.params) == {"pattern": "unstructured", "scope": "layer", "sparsity": 0.5}
    assert dict(quantise.params) == {"double_quant": True, "compute_dtype": None, "block_size": 64}


@pytest.mark.parametrize(
    "text", ["optimize: [{quantize: bnb-int8}]", "optimise: [{quantization: bnb-int8, threshold: 6}]"]
)
def test_other_spellings_are_the_same_keys(write: Write, text: str) -> None:
    (step,) = read_config(write(f"{BASE}{text}\n")).groups[0].baseline.optimise
    assert (step.verb, step.scheme, dict(step.params)) == ("quantise", "bnb-int8", {"threshold": 6.0})


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("smollm2-135m", Named("smollm2-135m")),
        (f"{{hub: Qwen/Qwen3-0.6B, revision: {COMMIT}}}", Hub("Qwen/Qwen3-0.6B", COMMIT)),
        ("{random: tiny-llama}", Random("tiny-llama", None)),
        ("{random: tiny-llama, layers: 5}", Random("tiny-llama", 5)),
        ("{random: tiny-llama, layers: null}", Random("tiny-llama")),
        ("{random: deepseek-r1, layers: 4, hidden: 256, experts: 16}", Random("deepseek-r1", 4, 256, 16)),
    ],
)
def test_ways_to_name_a_model(write: Write, text: str, model: object) -> None:
    assert read_config(write(changed("{random: tiny-llama}", text))).groups[0].baseline.model == model


def model_directory(path: Path, **config: object) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    (path / "tokenizer.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    return path


def test_a_model_of_your_own(write: Write, tmp_path: Path) -> None:
    own = model_directory(tmp_path / "own")
    spec = read_config(write(changed("{random: tiny-llama}", f"{{path: {own}}}")))
    assert spec.groups[0].baseline.model == LocalPath(own)


def test_the_full_file_says_the_same_again(write: Write, tmp_path: Path) -> None:
    text = BASE + "sweep: {batch_size: [1, 2]}\ngate: {e2el_ms: {max_increase: 3%}}\n"
    spec = read_config(write(text))
    (tmp_path / "test.yaml").write_text(spec.expanded)
    again = read_config(tmp_path / "test.yaml")
    assert again == spec
    assert digest(yaml.safe_load(spec.expanded)) == spec.digest
    assert set(yaml.safe_load(spec.expanded)) <= set(FILE_KEYS)


def test_the_digest_is_of_what_is_meant_not_of_how_it_is_written(write: Write) -> None:
    plain = read_config(write(BASE)).digest
    assert read_config(write(f"# why\n{BASE}measure: {{max_rounds: 3, processes: 4}}\n")).digest == plain
    assert read_config(write(changed("requests: 6", "requests: 7"))).digest != plain


def test_further_statistics_and_probes_are_named_in_full_only_where_they_are_wanted(write: Write) -> None:
    """A config that wants none keeps the digest it had before there were any."""
    plain = read_config(write(BASE))
    assert (plain.drift.statistics, plain.measure.probes, plain.drift.suites) == ((), (), ("generation",))
    full = yaml.safe_load(plain.expanded)
    assert not {"statistics", "probes"} & {*full["drift"], *full["measure"]}
    none = read_config(write(changed("{tokens: 0}", "{tokens: 0, statistics: []}\nmeasure: {probes: []}")))
    assert (none.digest, none.expanded) == (plain.digest, plain.expanded)
    wanted = "{tokens: 0, statistics: [jensen-shannon]}\nmeasure: {probes: [page-faults]}"
    spec = read_config(write(changed("{tokens: 0}", wanted)))
    assert (spec.drift.statistics, spec.measure.probes) == (("jensen-shannon",), ("page-faults",))
    full = yaml.safe_load(spec.expanded)
    assert (full["drift"]["statistics"], full["measure"]["probes"]) == (["jensen-shannon"], ["page-faults"])
    assert spec.digest != plain.digest


# ---- sweep ---------------------------------------------------------------------------------------


def test_a_sweep_is_the_product_of_its_lists_each_cell_with_a_baseline(write: Write) -> None:
    groups = read_config(write(BASE + "sweep: {batch_size: [1, 3], dtype: [float32, float16]}\n")).groups
    assert [group.label for group in groups] == [
        "batch_size=1 dtype=float32", "batch_size=1 dtype=float16",
        "batch_size=3 dtype=float32", "batch_size=3 dtype=float16",
    ]  # fmt: skip
    last = groups[-1]
    assert (last.baseline.workload.batch_size, last.baseline.runtime.dtype) == (3, "float16")
    assert last.variants[0].runtime.dtype == "bfloat16"  # its own word counts more than the sweep's
    assert last.variants[0].workload.batch_size == 3


@pytest.mark.parametrize(
    ("sweep", "key", "words"),
    [
        ("[1, 2]", "sweep", "must be a block of lists"),
        ("{batch_size: 4}", "sweep.batch_size", "must be a list"),
        ("{batch_size: []}", "sweep.batch_size", "at least one"),
        ("{batch_size: [1, 2, 1]}", "sweep.batch_size", "given twice"),
        ("{batchsize: [1, 2]}", "sweep.batchsize", "did you mean 'batch_size'?"),
        ("{model: [a, b]}", "sweep.model", "unknown key"),
        ("{batch_size: [1, 0]}", "sweep.batch_size", "greater than or equal to 1, not 0"),
        ("{dtype: [float32, int8]}", "sweep.dtype", "'bfloat16'"),
        ("{batch_size: [[1]]}", "sweep.batch_size", "integer"),
    ],
)
def test_a_sweep_is_refused(write: Write, sweep: str, key: str, words: str) -> None:
    error = refusal(write(f"{BASE}sweep: {sweep}\n"))
    assert (error.line, error.key) == (16, key)
    assert words in str(error)


@pytest.mark.bad_input(21)
def test_a_billion_cells_are_refused_before_they_are_made(write: Write) -> None:
    values = list(range(1, 1001))
    keys = ("batch_size", "requests", "output_tokens")
    error = refusal(write(BASE + "".join(["sweep:\n", *(f"  {key}: {values}\n" for key in keys)])))
    assert "1000000000 combinations are over the limit" in str(error)


def test_too_many_rows_are_refused(write: Write) -> None:
    names = "".join(f"  - name: v{index}\n" for index in range(10))
    text = BASE.replace("variants:\n", f"variants:\n{names}", 1)
    error = refusal(write(f"{text}sweep: {{requests: {list(range(1, 901))}}}\n"))
    assert f"more than {MAX_ROWS} rows" in str(error)


@pytest.mark.parametrize(
    ("set_key", "key", "words"),
    [
        (
            "drift.tokens=1000001",
            "drift.tokens",
            "1000001 tokens in 1 variants are more than a",
        ),
        ("drift={tokens: 900000, statistics: [jensen-shannon]}", "drift.tokens", "holds (520000)"),
        ("drift={tokens: 120000, window: 16}", "drift.tokens", "holds (112500)"),
        (
            "variants=[" + ", ".join(f"{{name: v{n}, workload: {{requests: 6}}}}" for n in range(501)) + "]",
            "gate",
            "2 limits on 501 variants are more than a gate judges",
        ),
        ("workload={requests: 10000, output_tokens: 101}", "workload.requests", "answer with 2020000 tokens"),
    ],
)
def test_more_than_a_journal_holds_is_refused_before_it_is_measured(
    write: Write, set_key: str, key: str, words: str
) -> None:
    limits = "gate: {ttft_ms: {max_increase: 3%}, tpot_ms: {max_increase: 3%}}\n"
    text = BASE if "variants" in set_key else BASE.replace("tokens: 0", "tokens: 400000")
    error = refusal(write(text + limits), set_key)
    assert error.key == key
    assert words in str(error)
    assert read_config(write(BASE.replace("tokens: 0", "tokens: 400000"))).drift.tokens == 400_000


# ---- --set and --only ----------------------------------------------------------------------------


def test_set_overrides_one_key_and_reads_it_as_yaml(write: Write) -> None:
    spec = read_config(
        write(BASE), ["workload.requests=9", "runtime.dtype=float16", "measure.max_rounds=2", "name=1e3 x"]
    )
    arm = spec.groups[0].baseline
    assert (arm.workload.requests, arm.runtime.dtype) == (9, "float16")
    assert (spec.measure.max_rounds, spec.name) == (2, "1e3 x")


def test_set_leaves_the_rest_as_it_was_read(write: Write) -> None:
    spec = read_config(write(changed("name: test", 'name: "1e3"')), ["workload.requests=9"])
    assert spec.name == "1e3"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("workload.requests", "write key=value"),
        ("=3", "write key=value"),
        ("name.deeper=3", "is not a block of keys"),
        ("workload.requests=3\nname: x", "one value, on one line"),
    ],
)
def test_set_that_cannot_be_meant(write: Write, override: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_config(write(BASE), [override])


@pytest.mark.parametrize(
    ("override", "key", "words"),
    [
        ("workload.requests=0", "workload.requests", "greater than or equal to 1, not 0"),
        ("workload.requets=3", "workload.requets", "did you mean 'requests'?"),
        ("runtime.dtype=bfloat", "runtime.dtype", "did you mean 'bfloat16'?"),
        ("workload.requests=[1", "", "not valid YAML"),
    ],
)
def test_set_to_something_wrong(write: Write, override: str, key: str, words: str) -> None:
    error = refusal(write(BASE), override)
    assert error.key == key
    assert words in str(error)


def test_only_keeps_the_baseline_and_the_variants_named(write: Write) -> None:
    text = BASE.replace("variants:\n", "variants:\n  - name: other\n", 1)
    spec = read_config(write(text), only=["bf16"])
    assert [arm.name for arm in spec.groups[0].arms] == ["baseline", "bf16"]
    with pytest.raises(UsageError, match="did you mean 'bf16'"):
        read_config(write(text), only=["bf-16"])


# ---- faults 10 to 13, 23: keys, types and ranges -------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        # 10: unknown keys, at every depth
        ("name: test", "nmae: test", 1, "nmae", "did you mean 'name'?"),
        ("  threads: 1", "  treads: 1", 6, "runtime.treads", "did you mean 'threads'?"),
        ("  requests: 6", "  itertions: 6", 9, "workload.itertions", "unknown key (did you mean"),
        ("    runtime: {dtype", "    runtme: {dtype", 13, "variants[0].runtme", "did you mean 'runtime'?"),
        ("{dtype: bf", "{dytpe: bf", 13, "variants[0].runtime.dytpe", "did you mean 'dtype'?"),
        ("{hardware:", "{hardwere:", 14, "price.hardwere", "did you mean 'hardware'?"),
        ("{tokens: 0}", "{token: 0}", 15, "drift.token", "did you mean 'tokens'?"),
        ("variants:", "variant:", 11, "variant", "did you mean 'variants'?"),
        # 11: wrong types
        ("requests: 6", 'requests: "6"', 9, "workload.requests", "valid integer, not '6'"),
        ("requests: 6", "requests: 1e3", 9, "workload.requests", "valid integer, not 1000.0"),
        ("requests: 6", "requests: true", 9, "workload.requests", "valid integer, not True"),
        ("requests: 6", "requests: 6.0", 9, "workload.requests", "valid integer, not 6.0"),
        ("requests: 6", "requests: [6]", 9, "workload.requests", "valid integer, not (6,)"),
        ("requests: 6", "requests:", 9, "workload.requests", "valid integer, not None"),
        ("device: cpu", "device: yes", 4, "runtime.device", "should be one of auto, cpu, cuda, cuda:N"),
        ("dtype: float32", "dtype: 32", 5, "runtime.dtype", "'float32'"),
        ("dtype: float32", "dtype: int8", 5, "runtime.dtype", "'bfloat16' or 'float16', not 'int8'"),
        ("name: test", "name: [test]", 1, "name", "must be a name"),
        ("name: test", "name: 3", 1, "name", "must be a name"),
        ("  - name: bf16", "  - name: 16", 12, "variants[0].name", "needs a name"),
        ("{dtype: bfloat16}", "bfloat16", 13, "variants[0].runtime", "must be a block of keys"),
        ("{tokens: 0}", "none", 15, "drift", "must be a block of keys"),
        # 12: numbers that are none
        ("requests: 6", "requests: .nan", 9, "workload.requests", "must be finite"),
        ("threads: 1", "threads: .inf", 6, "runtime.threads", "must be finite"),
        ("{tokens: 0}", "{tokens: -.inf}", 15, "drift.tokens", "must be finite"),
        # 13, 23: zero, negative, absurd
        ("requests: 6", "requests: 0", 9, "workload.requests", "greater than or equal to 1, not 0"),
        ("requests: 6", "requests: -6", 9, "workload.requests", "not -6"),
        ("requests: 6", "requests: 99999999", 9, "workload.requests", "less than or equal to 1000000"),
        ("threads: 1", "threads: 0", 6, "runtime.threads", "greater than or equal to 1"),
        ("output_tokens: 8", "output_tokens: 0", 10, "workload.output_tokens", "greater than or equal to 2"),
        ("output_tokens: 8", "output_tokens: 8\n  batch_size: 0", 11, "workload.batch_size", "equal to 1"),
        ("{tokens: 0}", "{tokens: 0}\nmeasure: {timeout_s: 0}", 16, "measure.timeout_s", "greater than 0"),
        ("{tokens: 0}", "{tokens: 0}\nmeasure: {timeout_s: -1}", 16, "measure.timeout_s", "greater than 0"),
        ("{tokens: 0}", "{tokens: 0}\nmeasure: {max_rounds: 0}", 16, "measure.max_rounds", "equal to 1"),
        (
            "{tokens: 0}", "{tokens: 0}\nmeasure: {processes: 0}", 16, "measure.processes",
            "greater than or equal to 1, not 0",
        ),
        ("{tokens: 0}", "{tokens: 0}\nmeasure: {processes: 101}", 16, "measure.processes", "equal to 100"),
        ("{tokens: 0}", "{tokens: 0}\nmeasure: {processes: 2.5}", 16, "measure.processes", "integer"),
        (
            "{tokens: 0}", "{tokens: 0}\nmeasure: {max_disturbance: 1.5}", 16, "measure.max_disturbance",
            "less than or equal to 1",
        ),
        (
            "{tokens: 0}", "{tokens: 0}\nmeasure: {max_disturbance: -0.1}", 16, "measure.max_disturbance",
            "greater than or equal to 0",
        ),
        # 17, 18: money
        ("{hardware: cloud-2vcpu-8gb}", "{usd_per_hour: 0}", 14, "price.usd_per_hour", "greater than 0"),
        ("{hardware: cloud-2vcpu-8gb}", "{usd_per_hour: -2}", 14, "price.usd_per_hour", "greater than 0"),
        ("{hardware: cloud-2vcpu-8gb}", "{usd_per_hour: 5000}", 14, "price.usd_per_hour", "equal to 1000"),
        ("{hardware: cloud-2vcpu-8gb}", "{}", 14, "price", "give either hardware"),
        ("cpu-8gb}", "cpu-8gb, usd_per_hour: 1}", 14, "price", "give either hardware"),
        ("cpu-8gb}", "cpu-8gb, vcpus: 2}", 14, "price", "vcpus goes with usd_per_hour"),
        ("cpu-8gb}", "cpu-8gb, utilisation: 60}", 14, "price.utilisation", "less than or equal to 1"),
        ("cpu-8gb}", "cpu-8gb, utilisation: 0}", 14, "price.utilisation", "greater than 0"),
        ("cpu-8gb}", "cpu-8gb, currency: EUR}", 14, "price.currency", "unknown key"),
        ("cloud-2vcpu-8gb", "cloud-2vcpu", 14, "price.hardware", "did you mean 'cloud-2vcpu-8gb'?"),
        ("cloud-2vcpu-8gb", "../prices/l4-24gb", 14, "price.hardware", "no price called"),
        # plug-ins by name only
        ("name: chat", "name: chatt", 8, "workload.name", "did you mean 'chat'?"),
        ("  device: cpu", "  name: os.system", 4, "runtime.name", "no runtime called 'os.system'"),
        ("name: chat", "name: ../chat", 8, "workload.name", "no workload called"),
        ("{tokens: 0}", "{text: englsh}", 15, "drift.text", "did you mean 'english'?"),
        ("{tokens: 0}", "{suites: [mmlu]}", 15, "drift.suites", "no suite called 'mmlu' (known: arithmetic"),
        ("{tokens: 0}", "{suites: [generatoin]}", 15, "drift.suites", "did you mean 'generation'?"),
        ("{tokens: 0}", "{suites: generation}", 15, "drift.suites", "valid tuple, not 'generation'"),
        (
            "{tokens: 0}", "{tokens: 0, statistics: [jensen-shanon]}", 15, "drift.statistics",
            "no statistic called 'jensen-shanon' (did you mean 'jensen-shannon'?)",
        ),
        ("{tokens: 0}", "{statistics: [os.system]}", 15, "drift.statistics", "no statistic called"),
        (
            "{tokens: 0}", "{tokens: 0}\nmeasure: {probes: [page-fault]}", 16, "measure.probes",
            "no probe called 'page-fault' (did you mean 'page-faults'?)",
        ),
        (
            "{tokens: 0}", "{tokens: 0}\nmeasure:\n  seed: 1\n  probes: [../x]", 18, "measure.probes",
            "no probe called '../x'",
        ),
        ("{tokens: 0}", "{tokens: 0}\nmeasure: {probes: [3]}", 16, "measure.probes", "valid string, not 3"),
        # variants
        ("  - name: bf16", "  - nam: bf16", 12, "variants[0].nam", "did you mean 'name'?"),
        ("  - name: bf16", "  - name: baseline", 12, "variants[0].name", "is taken"),
        ("  - name: bf16", "  - name: bf16\n  - name: bf16", 13, "variants[1].name", "'bf16' is taken"),
        ("  - name: bf16", '  - name: "a\\n::error::b"', 12, "variants[0].name", "on one line"),
        ("  - name: bf16", f"  - name: {'x' * 101}", 12, "variants[0].name", "at most 100 characters"),
        ("  - name: bf16\n    runtime: {dtype: bfloat16}", "  - bf16", 12, "variants[0]", "with a name"),
        # workloads
        ("output_tokens: 8", "output_tokens: 8\n  input_tokens: 9", 11, "workload.input_tokens", "'fixed'"),
        ("output_tokens: 8", "output_tokens: 8\n  file: x", 11, "workload.file", "the workload 'file'"),
        ("name: chat", "name: fixed", 7, "workload.input_tokens", "needs input_tokens"),
        ("name: chat", "name: file", 7, "workload.file", "needs the path"),
        # 23: longer than the model's context
        ("output_tokens: 8", "output_tokens: 1024", 10, "workload.output_tokens", "context of 1024"),
        ("name: chat", "name: fixed\n  input_tokens: 1020", 11, "workload.output_tokens", "1028 tokens"),
    ],
)  # fmt: skip
@pytest.mark.bad_input(8, 10, 11, 12, 13, 17, 23)
def test_a_wrong_value_is_refused_at_its_line(
    write: Write, old: str, new: str, line: int, key: str, words: str
) -> None:
    path = write(changed(old, new))
    error = refusal(path)
    assert (error.file, error.line, error.key) == (str(path), line, key)
    assert words in str(error)
    assert str(error).startswith(f"{path}:{line}: {key}: ")


def test_what_is_wrong_is_said_together(write: Write) -> None:
    """Every unknown key of a block, and every variant."""
    path = write(changed("  device: cpu", "  devise: cpu\n  dtyp: float32"))
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{path}:4: runtime.devise: unknown key")
    assert second.startswith(f"{path}:5: runtime.dtyp: unknown key")
    variants = "".join(f"  - {{name: v{i}, optimise: [{{quantise: x{i}}}]}}\n" for i in range(20))
    with pytest.raises(ConfigError) as caught:
        read_config(write(changed("  - name: bf16\n    runtime: {dtype: bfloat16}\n", variants)))
    lines = str(caught.value).splitlines()
    assert len(lines) == 10
    assert all(f":{12 + i}: variants[{i}].optimise[0]" in line for i, line in enumerate(lines))


def test_what_a_variant_inherits_is_blamed_on_the_line_it_stands_on(write: Write) -> None:
    error = refusal(write(changed("device: cpu", "device: cuda")))
    assert (error.line, error.key) == (4, "runtime.device")
    error = refusal(write(changed("{dtype: bfloat16}", "{device: tpu}")))
    assert (error.line, error.key) == (13, "variants[0].runtime.device")


def test_a_missing_model_and_a_missing_variant_list(write: Write) -> None:
    error = refusal(write("name: x\n"))
    assert "model: is missing" in str(error)
    assert "must be a list of variants" in str(refusal(write("model: smollm2-135m\nvariants: {a: 1}\n")))


def test_one_key_in_two_spellings_is_given_twice(write: Write) -> None:
    error = refusal(write(BASE + "optimise: []\noptimize: []\n"))
    assert (error.line, "given twice" in str(error)) == (17, True)


# ---- fault 14: the gate --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "key", "words"),
    [
        ("{cost_per_request_us: {max: 1}}", "gate.cost_per_request_us", "'cost_per_request_usd'?"),
        ("{e2el_ms: {max_incrase: 3%}}", "gate.e2el_ms.max_incrase", "did you mean 'max_increase'?"),
        ("{e2el_ms: {}}", "gate.e2el_ms", "give max, min"),
        ("{e2el_ms: {max_increase: 3}}", "gate.e2el_ms.max_increase", "with its unit, such as '3%'"),
        ("{e2el_ms: {max_increase: three}}", "gate.e2el_ms.max_increase", "not a percentage"),
        ("{e2el_ms: {max_increase: -3%}}", "gate.e2el_ms.max_increase", "not a percentage"),
        ("{e2el_ms: {max_increase: 0%}}", "gate.e2el_ms.max_increase", "cannot be shown for what is timed"),
        ("{e2el_ms: {max_decrease: 100%}}", "gate.e2el_ms.max_decrease", "cannot be shown for what is timed"),
        ("{e2el_ms: {max_increase: 1001%}}", "gate.e2el_ms.max_increase", "outside 0 % to 1000 %"),
        ("{e2el_ms: {max_decrease: 500%}}", "gate.e2el_ms.max_decrease", "outside 0 % to 100 %"),
        ("{e2el_ms: {max: '5'}}", "gate.e2el_ms.max", "valid number"),
        ("{e2el_ms: {max: -1}}", "gate.e2el_ms.max", "greater than or equal to 0, not -1"),
        ("{kld_mean: {max_increase: 3%}}", "gate.kld_mean", "use max or min"),
        ("{exact_match: {max_decrease: 3%}}", "gate.exact_match", "no such figure"),
        ("{kld_mean: {max: 0.1}}", "gate.kld_mean", "does not measure it"),
        ("{top1_agreement: {min: 0.9}}", "gate.top1_agreement", "does not measure it"),
        ("{kld_max: {max: 1}}", "gate.kld_max", "limit kld_p99"),
        ("{energy_per_request_j: {max: 1}}", "gate.energy_per_request_j", "has no interval"),
        ("{energy_per_request_j: {max_increase: 9%}}", "gate.energy_per_request_j", "measured once"),
        ("{mbu: {min: 0.5}}", "gate.mbu", "limit a time or cost_per_request_usd"),
        ("{changed_between_runs: {max_increase: 0%}}", "gate.changed_between_runs", "use max"),
        ("{logit_range_ratio: {max_increase: 3%}}", "gate.logit_range_ratio", "use max or min"),
        ("[e2el_ms]", "gate", "must be a block of limits"),
    ],
)  # fmt: skip
@pytest.mark.bad_input(14)
def test_a_limit_is_refused(write: Write, gate: str, key: str, words: str) -> None:
    error = refusal(write(f"{BASE}gate: {gate}\n"))
    assert (error.line, error.key) == (16, key)
    assert words in str(error)


@pytest.mark.parametrize("share", ["0%", "150%", "1000%"])
def test_counted_figures_may_not_grow_at_all_and_any_may_grow_a_lot(write: Write, share: str) -> None:
    spec = read_config(write(f"{BASE}gate: {{flops_per_request: {{max_increase: {share}}}}}\n"))
    assert spec.gate[0][1].max_increase == share


def test_a_limit_on_replies_that_are_left_out(write: Write) -> None:
    text = changed("{tokens: 0}", "{suites: []}") + "gate: {exact_match: {min: 0.5}}\n"
    assert "drift.suites has no generation" in str(refusal(write(text)))


def test_a_limit_on_a_statistic_that_is_not_asked_for(write: Write) -> None:
    text = changed("{random: tiny-llama}", "smollm2-135m") + "gate: {kld_reverse_mean: {max: 0.1}}\n"
    wanted = ["drift.tokens=2048"]
    with pytest.raises(ConfigError, match=r"drift\.statistics has no reverse-kl"):
        read_config(write(text), wanted)
    assert read_config(write(text), [*wanted, "drift.statistics=[reverse-kl]"]).gate


def test_a_limit_on_drift_that_is_switched_off(write: Write) -> None:
    text = changed("{random: tiny-llama}", "smollm2-135m") + "gate: {kld_mean: {max: 0.1}}\n"
    assert "drift.tokens is 0" in str(refusal(write(text)))
    spec = read_config(write(text), ["drift.tokens=2048"])
    assert spec.gate[0][1].max == 0.1


# ---- faults 18 to 20, 22, 25, 37, 39: models, devices, schemes -----------------------------------


@pytest.mark.parametrize(
    ("model", "key", "words"),
    [
        ("smollm2-135", "model", "did you mean 'smollm2-135m'?"),
        ("<script>alert(1)</script>", "model", "no model called"),
        ("'</script><img onerror=x>'", "model", "no model called"),
        ("'[red]x[/]'", "model", "no model called"),
        (f"'{'m' * 5000}'", "model", "no model called"),
        ("3", "model", "not a model"),
        ("[smollm2-135m]", "model", "not a model"),
        ("{}", "model", "not a model"),
        ("{layers: 3}", "model", "not a model"),
        (f"{{revision: {COMMIT}}}", "model", "not a model"),
        ("{hub: a/b, path: c}", "model", "not a model"),
        ("{hub: Qwen/Qwen3-0.6B}", "model.revision", "40 hex digits"),
        ("{hub: Qwen/Qwen3-0.6B, revision: main}", "model.revision", "40 hex digits"),
        (f"{{hub: Qwen/Qwen3-0.6B, revision: {COMMIT[:12]}}}", "model.revision", "40 hex digits"),
        (f"{{hub: Qwen/Qwen3-0.6B, revision: {COMMIT.upper()}}}", "model.revision", "40 hex digits"),
        (f"{{hub: ../../etc, revision: {COMMIT}}}", "model.hub", "OWNER/NAME"),
        (f"{{hub: --upload-pack=x/y, revision: {COMMIT}}}", "model.hub", "OWNER/NAME"),
        (f"{{hub: [a/b], revision: {COMMIT}}}", "model.hub", "should be text"),
        ("{random: tiny-lama}", "model.random", "did you mean 'tiny-llama'?"),
        ("{random: tiny-llama, layers: 0}", "model.layers", "from 1 to 1000, not 0"),
        ("{random: tiny-llama, layers: 2.0}", "model.layers", "not 2.0"),
        ("{random: tiny-llama, layers: true}", "model.layers", "not True"),
        ("{random: tiny-llama, hidden: 250}", "model.hidden", "a multiple of 16 from 32 to 65536, not 250"),
        ("{random: tiny-llama, hidden: wide}", "model.hidden", "not 'wide'"),
        ("{random: tiny-llama, experts: 4}", "model.experts", "this model has no experts"),
        ("{random: gpt-oss-20b, experts: 3}", "model.experts", "at least 4, since each token goes through 4"),
        ("{path: ., hidden: 64}", "model", "not a model"),
        ("{path: no/such/directory}", "model.path", "no model directory"),
        ("{path: /dev/zero}", "model.path", "no model directory"),
        ("{path: 3}", "model.path", "should be text"),
        (f"{{path: {'d' * 300}}}", "model.path", "File name too long"),
    ],
)  # fmt: skip
@pytest.mark.bad_input(24, 25, 39)
def test_a_model_is_refused(write: Write, model: str, key: str, words: str) -> None:
    error = refusal(write(changed("{random: tiny-llama}", model)))
    assert (error.line, error.key) == (2, key)
    assert words in str(error)


@pytest.mark.parametrize(
    "config",
    [{"auto_map": {}}, {"_attn_implementation_internal": "x/y"}, {"text": {"trust_remote_code": True}}],
)
@pytest.mark.bad_input(37)
def test_a_model_config_that_could_run_code(write: Write, tmp_path: Path, config: dict[str, object]) -> None:
    own = model_directory(tmp_path / "own", **config)
    error = refusal(write(changed("{random: tiny-llama}", f"{{path: {own}}}")))
    assert (error.line, error.key) == (2, "model.path")
    assert "run code" in str(error)


@pytest.mark.bad_input(36, 38)
def test_a_model_directory_without_sound_weights(write: Write, tmp_path: Path) -> None:
    own = model_directory(tmp_path / "own")
    text = changed("{random: tiny-llama}", f"{{path: {own}}}")
    (own / "model.safetensors").write_bytes(b"\xff" * 40)
    assert "not a sound safetensors file" in str(refusal(write(text)))
    (own / "model.safetensors").rename(own / "model.bin")
    assert "pickled weights" in str(refusal(write(text)))
    bad = tmp_path / "x.gguf"
    bad.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**63, 1))
    assert "GGUF header" in str(refusal(write(changed("{random: tiny-llama}", f"{{path: {bad}}}"))))


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cuda", "this machine shows 0 CUDA"),
        ("cuda:9", "this machine shows 0 CUDA"),
        ("cuda:-1", "one of auto, cpu"),
        ("MIG-3f2a", "one of auto, cpu"),
        ("tpu", "one of auto, cpu, cuda, cuda:N, not 'tpu'"),
    ],
)
@pytest.mark.bad_input(19)
def test_a_device_that_is_not_here(write: Write, device: str, words: str) -> None:
    error = refusal(write(changed("device: cpu", f"device: '{device}'")))
    assert (error.line, error.key) == (4, "runtime.device")
    assert words in str(error)


def test_a_second_device_where_there_is_one(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "cuda_device_count", lambda: 1)
    assert read_config(write(changed("device: cpu", "device: 'cuda:0'"))).groups[0].variants
    assert "1 CUDA device" in str(refusal(write(changed("device: cpu", "device: 'cuda:1'"))))


INT8 = "optimise: [{quantise: torch-int8-dynamic}]\n"


@pytest.mark.bad_input(20)
def test_a_scheme_without_kernels_for_the_device_asked_for(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "cuda_device_count", lambda: 1)
    text = BASE.replace("    runtime: {dtype: bfloat16}", f"    {INT8}", 1)
    for device in ("cuda", "auto"):
        arm = read_config(write(text.replace("device: cpu", f"device: {device}"))).groups[0].variants[0]
        assert "CPU kernels only" in str(arm.unsupported)
    error = refusal(
        write(changed("device: cpu", "device: cuda").replace("{dtype: bfloat16}", "{threads: 1}") + INT8)
    )
    assert (error.line, error.key) == (16, "optimise")
    assert "CPU kernels only" in str(error)


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("runtime: {device: cuda}", "cuda: this machine shows 0 CUDA device(s)"),
        ("runtime: {device: 'cuda:1'}", "cuda:1: this machine shows 0 CUDA device(s)"),
        ("optimise: [{quantise: torchao-int4}]", "torchao int4 packs for CUDA only"),
        ("optimise: [{quantise: mxfp4}]", "MXFP4 needs a CUDA device"),
        ("runtime: {device: cuda, python: /no/such/python}", "shows 0 CUDA device(s)"),
        ("runtime: {python: /no/such/python}", "/no/such/python does not exist"),
    ],
)
def test_one_row_that_cannot_run_here_leaves_the_others(write: Write, variant: str, words: str) -> None:
    text = BASE.replace(
        "    runtime: {dtype: bfloat16}", f"    {variant}\n  - name: other\n    runtime: {{threads: 1}}"
    )
    (group,) = read_config(write(text.replace("dtype: bfloat16", "dtype: float32"))).groups
    assert words in str(group.variants[0].unsupported)
    assert [arm.unsupported for arm in (group.baseline, group.variants[1])] == [None, None]


def test_a_sweep_over_devices_of_which_one_is_not_here(write: Write) -> None:
    groups = read_config(write(BASE + "sweep: {device: [cpu, cuda]}\n")).groups
    assert [bool(group.baseline.unsupported) for group in groups] == [False, True]


@pytest.mark.bad_input(20)
def test_a_scheme_that_runs_nowhere_in_that_dtype(write: Write) -> None:
    text = changed("device: cpu", "device: auto") + INT8
    assert "needs runtime.dtype float32, not bfloat16" in str(refusal(write(text)))
    swept = text.replace("    runtime: {dtype: bfloat16}\n", "")
    groups = read_config(write(f"{swept}sweep: {{dtype: [float32, bfloat16]}}\n")).groups
    assert [bool(group.baseline.unsupported) for group in groups] == [False, True]


def test_a_missing_package_is_a_row_with_the_command_that_installs_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "missing_packages", lambda module: getattr(module, "REQUIRES", ())[:1])
    reason = read_config(write(BASE)).groups[0].variants[0].unsupported
    assert reason is not None
    assert "torch" in reason
    assert "pip install 'inference-cost-bench[transformers]'" in reason


@pytest.mark.parametrize("python", ["/no/such/python", "x" * 300])
def test_an_interpreter_that_is_not_there_is_a_row_with_its_reason(write: Write, python: str) -> None:
    text = changed("{dtype: bfloat16}", f"{{python: {python}}}")
    assert "does not exist" in str(read_config(write(text)).groups[0].variants[0].unsupported)


@pytest.mark.parametrize(
    ("steps", "key", "words"),
    [
        ("{quantise: bnb-nf4}", "optimise", "must be a list of steps"),
        ("[bnb-nf4]", "optimise[0]", "names one kind"),
        ("[{}]", "optimise[0]", "names one kind"),
        ("[{quantse: bnb-nf4}]", "optimise[0]", "did you mean 'quantise'?"),
        ("[{prune: magnitude, quantise: bnb-nf4}]", "optimise[0]", "steps of their own (split them)"),
        ("[{quantise: int4}]", "optimise[0].quantise", "did you mean 'torch-int4'?"),
        ("[{quantise: bnb-nf}]", "optimise[0].quantise", "did you mean 'bnb-nf4'?"),
        ("[{quantise: os.system}]", "optimise[0].quantise", "no quantise scheme called"),
        ("[{quantise: null}]", "optimise[0].quantise", "no quantise scheme called"),
        ("[{quantise: bnb-nf4, blok_size: 64}]", "optimise[0].blok_size", "did you mean 'block_size'?"),
        ("[{quantise: bnb-nf4, block_size: 63}]", "optimise[0].block_size", "not 63"),
        ("[{quantise: bnb-nf4, double_quant: 'yes'}]", "optimise[0].double_quant", "boolean, not 'yes'"),
        ("[{quantise: bnb-nf4, double_quant: 1}]", "optimise[0].double_quant", "valid boolean, not 1"),
        ("[{quantise: torch-int8-dynamic, bits: 8}]", "optimise[0].bits", "known: no settings"),
        ("[{prune: magnitude, sparsity: '0.5'}]", "optimise[0].sparsity", "valid number, not '0.5'"),
        ("[{prune: magnitude, sparsity: 1.5}]", "optimise[0]", "strictly between 0 and 1"),
        ("[{prune: magnitude}, {prune: magnitud}]", "optimise[1].prune", "did you mean 'magnitude'?"),
    ],
)  # fmt: skip
def test_a_step_is_refused(write: Write, steps: str, key: str, words: str) -> None:
    error = refusal(write(f"{BASE}optimise: {steps}\n"))
    assert (error.line, error.key) == (16, key)
    assert words in str(error)


@pytest.mark.parametrize(
    ("steps", "at", "words"),
    [
        ("{quantise: bnb-nf4}, {quantise: bnb-int8}", 1, "quantise bnb-nf4 has packed them (keep one"),
        ("{quantise: bnb-nf4}, {quantise: kv-float8}, {quantise: hqq}", 2, "bnb-nf4 has packed them"),
        ("{quantise: bnb-nf4}, {prune: magnitude}", 1, "(put quantise bnb-nf4 after prune magnitude)"),
        ("{quantise: bnb-nf4}, {distil: logits}", 1, "(put quantise bnb-nf4 after distil logits)"),
        ("{compile: inductor}, {quantise: bnb-nf4}", 1, "comes after compiling (compile last, and once)"),
        ("{compile: inductor}, {compile: inductor}", 1, "(compile last, and once)"),
        ("{quantise: kv-float8}, {quantise: kv-quanto}", 1, "each change how tokens are decoded (keep one"),
        ("{quantise: kv-float8}, {compile: inductor}", 1, "each change how tokens are decoded (keep one"),
        ("{quantise: kv-float8}, {speculate: prompt-lookup}", 1, "each change how tokens are decoded"),
        ("{speculate: layer-skip}, {speculate: prompt-lookup}", 1, "each change how tokens are decoded"),
        ("{speculate: prompt-lookup}, {compile: inductor}", 1, "each change how tokens are decoded"),
        ("{compile: inductor}, {speculate: prompt-lookup}", 1, "comes after compiling"),
        ("{split: layers}, {quantise: bnb-nf4}", 1, "comes after splitting (split last, and once)"),
        ("{quantise: bnb-nf4}, {split: layers}", 1, "(put quantise bnb-nf4 after split layers)"),
        ("{prune: experts}", 0, "no mixture of experts"),
    ],
)
def test_steps_that_cannot_follow_each_other(write: Write, steps: str, at: int, words: str) -> None:
    error = refusal(write(f"{BASE}optimise: [{steps}]\n"))
    assert (error.line, error.key) == (16, f"optimise[{at}]")
    assert words in str(error)


@pytest.mark.parametrize("scheme", ["prompt-lookup", "layer-skip"])
@pytest.mark.parametrize(("batch_size", "can"), [(1, True), (2, False)])
def test_drafts_are_for_one_sequence(write: Write, scheme: str, batch_size: int, can: bool) -> None:
    file = write(f"{BASE}optimise: [{{speculate: {scheme}}}]\n")
    arm = read_config(file, ["workload.requests=4", f"workload.batch_size={batch_size}"]).groups[0].baseline
    said = f"speculate {scheme} is for one sequence at a time: set batch_size to 1"
    assert arm.unsupported == (None if can else said)


@pytest.mark.parametrize(
    "steps",
    [
        "{prune: depth, keep_layers: 1}, {distil: logits}, {quantise: bnb-int8}, {compile: inductor}",
        '{prune: magnitude}, {prune: magnitude, pattern: "2:4"}, {quantise: gptq, samples: 1}',
        "{quantise: kv-float8}, {quantise: bnb-nf4}",
        "{quantise: bnb-nf4}, {quantise: kv-float8}",
        "{quantise: bnb-nf4}, {prune: depth, drop: [1]}",
        "{quantise: torchao-int8}, {compile: inductor}",
    ],
)
def test_steps_that_follow_each_other(write: Write, steps: str) -> None:
    text = changed("{dtype: bfloat16}", "{threads: 2}")
    assert read_config(write(f"{text}optimise: [{steps}]\n")).groups[0].baseline.unsupported is None


def test_a_student_with_another_vocabulary_is_refused(write: Write) -> None:
    """Its tokens are not the baseline's; without the step it is compared by its replies."""
    plain = "    runtime: {dtype: bfloat16}\n"
    student = "    model: {random: smollm2-135m, layers: 2}\n    optimise: [{distil: %s}]\n"
    error = refusal(write(BASE.replace(plain, student % "sequence")))
    assert error.key == "variants[0].optimise[0]"
    assert "vocabulary of 49152 tokens, the baseline of 512" in str(error)
    assert read_config(write(BASE.replace(plain, student % "none"))).groups[0].variants


def test_a_setting_without_a_default_must_be_given(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Params:
        sparsity: float

    monkeypatch.setattr(plugins.load("optimisations.prune", "magnitude"), "Params", Params)
    error = refusal(write(f"{BASE}optimise: [{{prune: magnitude}}]\n"))
    assert (error.line, error.key) == (16, "optimise[0].sparsity")
    given = read_config(write(f"{BASE}optimise: [{{prune: magnitude, sparsity: 1}}]\n"))
    assert given.groups[0].baseline.optimise[0].params == (("sparsity", 1.0),)


# ---- workloads with keys of their own ------------------------------------------------------------


@dataclass(frozen=True)
class Sums:
    """What a kind of workload may ask for besides."""

    largest: int = 99
    signs: tuple[str, ...] = ("+",)

    def __post_init__(self) -> None:
        if self.largest < 1:
            raise ValueError("largest must be at least 1")


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workload ``chat`` as if it had keys of its own."""
    monkeypatch.setattr(plugins.load("workloads", "chat"), "Params", Sums, raising=False)


@pytest.mark.usefixtures("sums")
def test_a_workload_s_own_keys_have_their_defaults(write: Write) -> None:
    load = read_config(write(BASE)).groups[0].baseline.workload
    assert dict(load.own) == {"largest": 99, "signs": ("+",)}
    assert load.requests == 6


@pytest.mark.usefixtures("sums")
def test_a_workload_s_own_keys_are_kept_wherever_its_others_are(write: Write, tmp_path: Path) -> None:
    text = changed("output_tokens: 8", "output_tokens: 8\n  largest: 7").replace(
        "    runtime: {dtype: bfloat16}\n",
        "    workload: {requests: 3}\n  - name: w\n    workload: {largest: 8}\n",
    )
    spec = read_config(write(text))
    group = spec.groups[0]
    assert [dict(arm.workload.own)["largest"] for arm in group.arms] == [7, 7, 8]
    assert [arm.workload.requests for arm in group.arms] == [6, 3, 6]
    assert group.variants[1].workload != group.baseline.workload
    assert group.baseline.workload.to_json()["largest"] == 7
    assert "own" not in group.baseline.workload.to_json()
    assert yaml.safe_load(spec.expanded)["workload"]["largest"] == 7
    assert read_config(write(text.replace("largest: 7", "largest: 9"))).digest != spec.digest
    (tmp_path / "test.yaml").write_text(spec.expanded)
    assert read_config(tmp_path / "test.yaml") == spec


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        ("output_tokens: 8", "output_tokens: 8\n  largst: 7", 11, "workload.largst", "mean 'largest'?"),
        ("output_tokens: 8", "output_tokens: 8\n  largest: '7'", 11, "workload.largest", "integer, not '7'"),
        ("output_tokens: 8", "output_tokens: 8\n  largest: 1.5", 11, "workload.largest", "not 1.5"),
        ("output_tokens: 8", "output_tokens: 8\n  signs: [1]", 11, "workload.signs", "valid string, not 1"),
        ("output_tokens: 8", "output_tokens: 8\n  largest: 0", 7, "workload", "largest must be at least 1"),
        ("output_tokens: 8", "output_tokens: 8\n  own: []", 11, "workload.own", "unknown key"),
        (
            "    runtime: {dtype: bfloat16}", "    workload: {largst: 7}", 13, "variants[0].workload.largst",
            "did you mean 'largest'?",
        ),
        (
            "    runtime: {dtype: bfloat16}", "    workload: {largest: x}", 13,
            "variants[0].workload.largest", "not 'x'",
        ),
        (
            "    runtime: {dtype: bfloat16}", "    workload: {name: chatt}", 13, "variants[0].workload.name",
            "did you mean 'chat'?",
        ),
    ],
)  # fmt: skip
def test_a_workload_s_own_key_is_refused_at_its_line(
    write: Write, old: str, new: str, line: int, key: str, words: str
) -> None:
    error = refusal(write(changed(old, new)))
    assert (error.line, error.key) == (line, key)
    assert words in str(error)


def test_another_workload_does_not_take_them(write: Write) -> None:
    """Without ``Params`` a kind has the keys of every workload and no others."""
    error = refusal(write(changed("output_tokens: 8", "output_tokens: 8\n  largest: 7")))
    assert (error.line, error.key) == (11, "workload.largest")
    assert "unknown key" in str(error)


# ---- faults 29, 30: files the config names -------------------------------------------------------


def own_prompts(tmp_path: Path, lines: str) -> str:
    (tmp_path / "p.jsonl").write_text(lines)
    return changed("name: chat", f"name: file\n  file: {tmp_path / 'p.jsonl'}")


def test_prompts_of_your_own(write: Write, tmp_path: Path) -> None:
    spec = read_config(write(own_prompts(tmp_path, '{"prompt": "Hello"}\n' * 6)))
    assert spec.groups[0].baseline.workload.name == "file"


@pytest.mark.bad_input(30)
def test_one_bad_line_is_named(write: Write, tmp_path: Path) -> None:
    error = refusal(write(own_prompts(tmp_path, '{"prompt": "a"}\n{"prompt": }\n')))
    assert (error.line, error.key) == (9, "workload.file")
    assert "p.jsonl:2: not JSON" in str(error)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (r'{"prompt": "\ud800"}', "the prompt has half of a letter"),
        ('{"prompt": "a", "chat": "yes"}', "chat must be true or false"),
    ],
)
@pytest.mark.bad_input(27)
def test_a_line_that_no_tokenizer_takes(write: Write, tmp_path: Path, line: str, words: str) -> None:
    error = refusal(write(own_prompts(tmp_path, '{"prompt": "a"}\n' + line + "\n")))
    assert f"p.jsonl:2: {words}" in str(error)


def test_more_requests_than_prompts(write: Write, tmp_path: Path) -> None:
    error = refusal(write(own_prompts(tmp_path, '{"prompt": "a"}\n')))
    assert (error.line, error.key) == (10, "workload.requests")
    assert "holds 1 prompts" in str(error)


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "/dev/zero", "long"])
@pytest.mark.bad_input(29)
def test_a_file_of_prompts_or_text_that_is_none(write: Write, tmp_path: Path, kind: str) -> None:
    place = tmp_path / kind.strip("/").replace("/", "-")
    if kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "/dev/zero":
        place = Path(kind)
    elif kind == "long":
        place = tmp_path / ("x" * 300)
    error = refusal(write(changed("name: chat", f"name: file\n  file: {place}")))
    assert (error.line, error.key) == (9, "workload.file")
    error = refusal(write(changed("{tokens: 0}", f"{{text: {place}}}")))
    assert (error.line, error.key) == (15, "drift.text")


def test_a_text_of_your_own_must_be_text(write: Write, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"fine")
    text = changed("{tokens: 0}", f"{{text: {tmp_path / 't.txt'}}}")
    assert read_config(write(text)).drift.text.endswith("t.txt")
    (tmp_path / "t.txt").write_bytes(b"\xff\xfe")
    assert "t.txt: is not UTF-8 text" in str(refusal(write(text)))


# ---- nothing gets through ------------------------------------------------------------------------

KEYS = st.sampled_from(
    [*FILE_KEYS, "device", "dtype", "threads", "requests", "batch_size", "quantise", "hub", "random", "x"]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2000), st.floats(allow_nan=False), st.text(max_size=8),
    st.sampled_from(["smollm2-135m", "tiny-llama", "chat", "float32", "cpu", "bnb-nf4", "3%"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@settings(
    max_examples=150,
    deadline=2000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(st.dictionaries(st.sampled_from(FILE_KEYS), VALUES, max_size=5))
def test_any_content_is_read_or_refused(write: Write, extra: dict[str, object]) -> None:
    codes: set[ExitCode] = set()
    path = write(yaml.safe_dump({**yaml.safe_load(BASE), **extra}, allow_unicode=True))
    try:
        read_config(path)
    except BenchError as refused:
        codes.add(refused.exit_code)
    assert codes <= {ExitCode.USAGE}


@pytest.mark.parametrize("price", ["{usd_per_hour: 73, vcpus: 2}", "{usd_per_hour: 0.0003}"])
@pytest.mark.bad_input(17)
def test_dollars_of_another_unit_are_refused_before_anything_is_measured(tmp_path: Path, price: str) -> None:
    (tmp_path / "x.yaml").write_text(f"model: {{random: smollm2-135m, layers: 1}}\nprice: {price}\n")
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / "x.yaml")
    assert (caught.value.line, caught.value.key) == (2, "price.usd_per_hour")


@pytest.mark.parametrize("engine", ["transformers", "numpy", "onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("architectures", 5), ("model_type", ["llama"]), ("text_config", 1), ("dtype", "pickle.loads"),
     ("rope_parameters", [1]), ("eos_token_id", {"a": 1}), ("head_dim", 1e9)],
)  # fmt: skip
def test_a_model_s_config_of_a_wrong_type_is_seen_by_check_for_each_engine(
    write: Write, tmp_path: Path, engine: str, key: str, value: object
) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"model_type": "llama", key: value}))
    text = changed("{random: tiny-llama}", f"{{path: {directory}}}")
    error = refusal(write(text.replace("device: cpu", f"device: cpu\n  name: {engine}")))
    assert f"config.json: {key} is " in str(error)


# ---- GPUs ------------------------------------------------------------------------------------------------

LARGE = "model: {random: llama-3.1-8b-shape}"


def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "cuda_device_count", lambda: 1)


def test_a_model_that_is_too_large_for_the_gpu(
    write: Write, gpu_machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights alone: 8.03 billion numbers of four bytes, or of two."""
    gpu_machine(Card(total=24 * GIB, name="NVIDIA L4"))
    on_gpu(monkeypatch)
    text = changed("device: cpu", "device: cuda").replace("model: {random: tiny-llama}", LARGE)
    error = refusal(write(text))
    assert (error.key, error.line) == ("model", 2)
    assert "its weights take 29.9 GiB in float32, and the NVIDIA L4 has 24.0 GiB" in str(error)
    spec = read_config(write(text.replace("dtype: float32", "dtype: bfloat16")))
    assert spec.groups[0].baseline.unsupported is None


def test_a_variant_that_is_too_large_is_a_row_with_its_reason(
    write: Write, gpu_machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu_machine(Card(total=24 * GIB, name="NVIDIA L4"))
    on_gpu(monkeypatch)
    text = changed("device: cpu", "device: cuda").replace("- name: bf16", "- name: large")
    text = text.replace("runtime: {dtype: bfloat16}", LARGE)
    (variant,) = read_config(write(text)).groups[0].variants
    assert "its weights take 29.9 GiB in float32" in str(variant.unsupported)


@pytest.mark.parametrize(("gib", "apart"), [(24, True), (80, False)])
def test_rows_that_fit_alone_and_not_beside_their_baseline(
    write: Write, gpu_machine: Machine, monkeypatch: pytest.MonkeyPatch, gib: int, apart: bool
) -> None:
    gpu_machine(Card(total=gib * GIB))
    on_gpu(monkeypatch)
    text = changed("device: cpu", "device: auto").replace("model: {random: tiny-llama}", LARGE)
    spec = read_config(
        write(text.replace("dtype: float32", "dtype: bfloat16").replace("name: bf16", "name: b"))
    )
    said = list(one_after_other(spec.groups, find_model))
    assert [line.split(":")[0] for line in said] == (["b"] if apart else [])


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        ({"mode": 3}, "exclusive mode"),
        ({"mode": 2}, "prohibited mode"),
    ],
)
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_a_gpu_that_takes_no_pair_is_refused(
    write: Write,
    gpu_machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    machine: dict[str, int],
    words: str,
    device: str,
) -> None:
    gpu_machine(Card(**machine))
    on_gpu(monkeypatch)
    error = refusal(write(changed("device: cpu", f"device: '{device}'")))
    assert error.exit_code == ExitCode.USAGE
    assert error.key == "runtime.device"
    assert words in str(error)


# ---- energy ----------------------------------------------------------------------------------------------

DATED = "date: '2026-06-01', source: a grid"


def test_an_energy_block_is_kept_in_the_config(write: Write) -> None:
    spec = read_config(write(BASE + f"energy: {{g_co2_per_kwh: 349, {DATED}}}\n"))
    assert yaml.safe_load(spec.expanded)["energy"]["g_co2_per_kwh"] == 349
    assert "energy" not in yaml.safe_load(read_config(write(BASE)).expanded)


@pytest.mark.parametrize(
    ("block", "key", "words"),
    [
        ("{}", "energy", "give g_co2_per_kwh, modelled_watts or both"),
        ("{g_co2_per_kwh: 349}", "energy", "goes with its date and source"),
        ("{g_co2_per_kwh: 349, date: '2026-06-31', source: a grid}", "energy", "2026-06-31 is no day"),
        (f"{{g_co2_per_kwh: -1, {DATED}}}", "energy.g_co2_per_kwh", "greater than or equal to 0"),
        ("{modelled_watts: 0}", "energy.modelled_watts", "greater than 0"),
        ("{modelled_watt: 60}", "energy.modelled_watt", "did you mean 'modelled_watts'?"),
    ],
)
def test_an_energy_block_that_is_wrong(write: Write, block: str, key: str, words: str) -> None:
    error = refusal(write(BASE + f"energy: {block}\n"))
    assert error.key == key
    assert words in str(error)


@pytest.mark.parametrize(
    ("metric", "key", "block"),
    [
        ("co2_per_request_g", "g_co2_per_kwh", "{g_co2_per_kwh: 349, date: '2026-06-01', source: the grid}"),
        ("energy_modelled_per_request_j", "modelled_watts", "{modelled_watts: 65}"),
    ],
)
def test_a_limit_on_what_the_energy_block_makes_needs_it(
    write: Write, metric: str, key: str, block: str
) -> None:
    text = f"{BASE}gate: {{{metric}: {{max: 1}}}}\n"
    error = refusal(write(text))
    assert error.key == f"gate.{metric}"
    assert f"give energy: {{{key}: ...}}" in str(error)
    assert [one for one, _limit in read_config(write(f"{text}energy: {block}\n")).gate] == [metric]
