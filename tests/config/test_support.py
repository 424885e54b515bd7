"""What cannot run on this machine: a row with its reason, or a refusal where nothing could be compared."""

from __future__ import annotations

import pytest
from config_files import BASE, Write, changed, refusal
from fake_nvml import Card, Machine, gpu_machine

from bench import plugins
from bench.config import support
from bench.config.reader import read_config
from bench.errors import ExitCode
from bench.machine import gpus

__all__ = ["gpu_machine"]
pytestmark = pytest.mark.usefixtures("cpu_machine")


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


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_a_dtype_that_an_engine_does_not_compute_in(write: Write, engine: str) -> None:
    """A baseline has to run; a variant, and all rows of a sweep over dtypes, say why they do not."""
    said = f"the {engine} engine computes in float32, not in bfloat16"
    text = BASE.replace("{random: tiny-llama}", "smollm2-135m")
    own = text.replace("runtime: {dtype: bfloat16}", f"runtime: {{name: {engine}, dtype: bfloat16}}", 1)
    assert read_config(write(own)).groups[0].variants[0].unsupported == said
    alone = text.replace("device: cpu", f"name: {engine}\n  device: cpu")
    error = refusal(write(alone.replace("dtype: float32", "dtype: bfloat16")))
    assert error.key == "runtime.dtype"
    assert said in str(error)
    swept = alone.replace("  dtype: float32\n", "") + "sweep: {dtype: [bfloat16]}\n"
    assert read_config(write(swept)).groups[0].baseline.unsupported == said


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
    monkeypatch.setattr(support, "cuda_device_count", lambda: 1)
    error = refusal(write(changed("device: cpu", f"device: '{device}'")))
    assert error.exit_code == ExitCode.USAGE
    assert error.key == "runtime.device"
    assert words in str(error)


SPLIT = "    runtime: {name: transformers-parallel, devices: 3}"


def test_a_model_that_is_split_over_more_gpus_than_there_are(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (support, gpus):
        monkeypatch.setattr(module, "cuda_device_count", lambda: 2)
    text = BASE.replace("    runtime: {dtype: bfloat16}", SPLIT, 1)
    text = text.replace("{random: tiny-llama}", "smollm2-135m").replace("device: cpu", "device: cuda")
    arm = read_config(write(text)).groups[0].variants[0]
    assert "2 CUDA device" in str(arm.unsupported)


@pytest.mark.parametrize(
    ("model", "devices", "words"),
    [
        ("{random: tiny-llama}", 2, "needs a model's weights, not random ones"),
        ("tiny-qwen3-moe", 3, "which 3 devices cannot share evenly"),
        ("tiny-qwen3-moe", 1, "devices must be from 2 to 64"),
    ],
)
def test_a_model_that_cannot_be_split(write: Write, model: str, devices: int, words: str) -> None:
    split = SPLIT.replace("3", str(devices))
    text = BASE.replace("    runtime: {dtype: bfloat16}", split, 1)
    assert words in str(refusal(write(text.replace("{random: tiny-llama}", model))))
