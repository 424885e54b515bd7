"""What a config may say, what it is expanded to, and that nothing else gets through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from config_files import BASE, Write, changed, refusal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.config.reader import FILE_KEYS, read_config
from bench.config.served import is_server
from bench.errors import BenchError, ConfigError, ExitCode, UsageError
from bench.models.reference import Named
from bench.store.files import digest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))
pytestmark = pytest.mark.usefixtures("cpu_machine")


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


def test_only_keeps_the_baseline_and_the_variants_named(write: Write) -> None:
    text = BASE.replace("variants:\n", "variants:\n  - name: other\n", 1)
    spec = read_config(write(text), only=["bf16"])
    assert [arm.name for arm in spec.groups[0].arms] == ["baseline", "bf16"]
    with pytest.raises(UsageError, match="did you mean 'bf16'"):
        read_config(write(text), only=["bf-16"])


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
