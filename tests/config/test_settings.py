"""Each block of a config: values that are wrong are refused at their line, with the nearest right ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from config_files import BASE, Write, changed, refusal

from bench.config.reader import read_config
from bench.errors import ConfigError

pytestmark = pytest.mark.usefixtures("cpu_machine")


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
        ("requests: 6", "requests: 1e3", 9, "workload.requests", "valid integer, not 1000.0 (write 1000)"),
        ("requests: 6", "requests: 012", 9, "workload.requests", "not '012' (write 12)"),
        ("requests: 6", "requests: 1_000", 9, "workload.requests", "not '1_000' (write 1000)"),
        ("requests: 6", "requests: 0x10", 9, "workload.requests", "not '0x10'"),
        ("requests: 6", "requests: true", 9, "workload.requests", "valid integer, not true"),
        ("requests: 6", "requests: 6.0", 9, "workload.requests", "valid integer, not 6.0"),
        ("requests: 6", "requests: [6]", 9, "workload.requests", "valid integer, not [6]"),
        ("requests: 6", "requests:", 9, "workload.requests", "valid integer, not null"),
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
        ("{tokens: 0}", "{tokens: 0}\nmeasure: {timeout_s: 1e300}", 16, "measure.timeout_s", "to 604800"),
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
        ("{tokens: 0}", "{suites: generation}", 15, "drift.suites", "should be a list, not 'generation'"),
        ("{tokens: 0}", "{suites: generation}", 15, "drift.suites", "(write [generation])"),
        ("{tokens: 0}", "{suites: [bias, bias]}", 15, "drift.suites", "'bias' is given twice"),
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


@pytest.mark.parametrize("price", ["{usd_per_hour: 73, vcpus: 2}", "{usd_per_hour: 0.0003}"])
@pytest.mark.bad_input(17)
def test_dollars_of_another_unit_are_refused_before_anything_is_measured(tmp_path: Path, price: str) -> None:
    (tmp_path / "x.yaml").write_text(f"model: {{random: smollm2-135m, layers: 1}}\nprice: {price}\n")
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / "x.yaml")
    assert (caught.value.line, caught.value.key) == (2, "price.usd_per_hour")


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
        ("{modelled_watts: 60, pue: 1.2}", "energy", "date, source and pue are those of g_co2_per_kwh"),
        ("{modelled_watt: 60}", "energy.modelled_watt", "did you mean 'modelled_watts'?"),
    ],
)
def test_an_energy_block_that_is_wrong(write: Write, block: str, key: str, words: str) -> None:
    error = refusal(write(BASE + f"energy: {block}\n"))
    assert error.key == key
    assert words in str(error)
