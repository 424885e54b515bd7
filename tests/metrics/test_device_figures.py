"""What bounds a step on a GPU, from recorded counters: shares, launches, and the words for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import arm_record, facts_record, loaded, pairs, run_record, timed_batch

from bench.metrics import device
from bench.records import ArmRecord, DeviceTimes, Kernel, StepProfile
from bench.report.notes import timed_words
from bench.report.row_sentence import sentence
from bench.report.table_columns import columns_of
from bench.results.explanation import bound_words, launch_words
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.results.summarise import summarise

GPU = loaded(device="cuda:0", device_name="NVIDIA H100")
MANGLED = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float> >(int)"


def arm(name: str, step_ms: float, busy_ms: float | None, launches: int | None, *steps: str) -> ArmRecord:
    stamps = [50 + step_ms * number for number in range(5)]
    solo = tuple(timed_batch(0, stamps, stamps[-1], [8], [[1] * 5]) for _ in range(3))
    profile = StepProfile((Kernel(MANGLED, 3, self_ms=1.0, share=0.9),), launches, busy_ms)
    times = DeviceTimes((40_000_000,), ((9_000_000, 10_000_000),))
    return arm_record(
        name, solo=solo, profile=profile, device_times=times, loaded=GPU, optimise=steps,
        ceilings={"memory_bytes_per_s": 1e9, "matmul_flop_per_s": 1e12},
    )  # fmt: skip


EAGER = arm("baseline", 20.0, 8.2, 1203)
COMPILED = arm("v", 8.4, 8.19, 3, "compile inductor")
STILL = arm("v", 8.4, 4.2, 300, "compile inductor")


def summary(*arms: ArmRecord) -> RunSummary:
    return summarise(run_record(*arms))


def row(*arms: ArmRecord, number: int = 0) -> Row:
    return summary(*arms).rows[number]


def test_figures_by_hand() -> None:
    found = device.figures(EAGER, run_record(EAGER))
    values = {key: figure.value for key, figure in found.items() if figure}
    assert values == {
        "gpu_busy_ms": 8.2,
        "gpu_busy_share": pytest.approx(0.41),
        "launches_per_step": 1203,
        "gpu_step_ms": pytest.approx(9.5),
        "gpu_prefill_ms": 40,
    }
    assert device.worked(EAGER, run_record(EAGER)) == {"gpu_busy_share": "8.2 / 20"}


def test_a_cpu_has_none() -> None:
    plain = arm_record("baseline", profile=StepProfile(()), device_times=None)
    assert set(device.figures(plain, run_record(plain)).values()) == {None}
    assert device.worked(plain, run_record(plain)) == {}
    assert launch_words(row(plain)) == ""


def test_a_row_bound_by_launches_says_so() -> None:
    words = (
        "bound by the processor: the GPU works 41% of a step in 1,203 launches; "
        "compile it or use a serving engine"
    )
    assert launch_words(row(EAGER)) == words
    assert sentence(summary(EAGER), row(EAGER)) == f"the baseline; {words}"
    assert bound_words(row(EAGER)).startswith(f"{words}; a step reads ")


def test_memory_does_not_bind_where_the_gpu_waits() -> None:
    """Also if the bytes of a step seem to be most of what memory delivers."""
    ceilings = {"memory_bytes_per_s": 2.4e5, "matmul_flop_per_s": 1e12}
    waits, works = (
        row(replace(one, name="baseline", is_baseline=True, ceilings=ceilings)) for one in (EAGER, COMPILED)
    )
    assert "memory binds" not in bound_words(waits)
    assert "memory binds" in bound_words(works)


def test_a_compiled_row_is_not_told_to_compile() -> None:
    found = launch_words(row(EAGER, STILL, number=1))
    assert (
        found == "bound by the processor: the GPU works 50% of a step in 300 launches; use a serving engine"
    )
    assert "the GPU's own time of a step is 0.51 times" in sentence(
        summary(EAGER, STILL), row(EAGER, STILL, number=1)
    )


def test_a_row_whose_gpu_works_is_not_bound_by_the_processor() -> None:
    assert launch_words(row(EAGER, COMPILED, number=1)) == ""


def test_a_kernel_in_the_sentence_has_its_short_name() -> None:
    slow = arm("v", 40.0, 39.0, 3)
    assert "a step spends 90% elementwise add" in sentence(summary(EAGER, slow), row(EAGER, slow, number=1))


def test_the_table_of_a_gpu_has_its_columns() -> None:
    names = [column.title for column in columns_of(summary(EAGER, COMPILED))]
    assert names[-3:] == ["GPU busy", "MBU", "MFU"]
    run = summary(EAGER, COMPILED)
    cells = [column.cell(run, run.rows[1]) for column in columns_of(run)[-3:]]
    assert cells[0] == "97.5%"
    assert all(cell.endswith("%") for cell in cells)
    plain = replace(EAGER, loaded=replace(GPU, facts=facts_record()))
    assert "MBU" not in [column.title for column in columns_of(summary(plain))]


def test_earlier_runs_profiled_in_the_warm_up() -> None:
    assert EAGER.warm_up is not None
    old = replace(
        EAGER, profile=None, warm_up=replace(EAGER.warm_up, kernels=(Kernel("aten::mm", 1, 1.0, 1.0),))
    )
    evidence = row(old).evidence
    assert evidence is not None
    assert [kernel.operator for kernel in evidence.kernels] == ["aten::mm"]


# ---- processes that ran one after the other ----------------------------------------------------------


def paired(design: str) -> RunSummary:
    turns = [[10_000_000, 5_000_000, 5_000_000]]
    units = pairs(*[(turns, [[7_000_000, 3_500_000, 3_500_000]])] * 4, design=design)
    return summarise(run_record(EAGER, COMPILED, units=units))


def test_pairs_at_the_same_time_on_one_processor_say_so() -> None:
    run = paired("slices")
    found = run.comparison(run.rows[1], "cost_per_1k_tokens_usd")
    assert found is not None
    assert found.design == "slices"


def test_a_pair_of_processes_apart_has_a_wider_interval_and_says_what_it_is() -> None:
    in_turns, apart = paired("requests"), paired("abba")
    one, other = (run.comparison(run.rows[1], "cost_per_1k_tokens_usd") for run in (in_turns, apart))
    assert one is not None
    assert other is not None
    assert (one.design, other.design) == ("duet", "abba")
    assert one.ratio == other.ratio
    assert one.ci_high is not None
    assert other.ci_high is not None
    assert other.ci_high > one.ci_high
    assert "processes that take turns" in timed_words(in_turns)
    assert "processes that run one after the other" in timed_words(apart)


def test_it_is_read_back_from_run_json() -> None:
    run = paired("abba")
    assert RunSummary.from_json(run.to_json()).comparisons == run.comparisons
