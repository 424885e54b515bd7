"""What a machine reaches at best: measured in a process of its own, kept, and read again for plans."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from bench.errors import BenchError, UsageError
from bench.models.registry import find_model
from bench.plan import ceilings
from bench.plan.bytes_and_flop import Loaded
from bench.plan.ceilings import Measured, ceilings_here, kept, measure_all, narrow_card
from bench.plan.fleet import Stream
from bench.plan.options import estimated_here
from bench.plan.parts import Overhead
from bench.plan.roofline import decode
from bench.pricing.reprice import price_called
from bench.worker import ceilings as program
from bench.worker import pass_parts

STREAM = Stream(1e5, 48, 16)
MODEL = Loaded(find_model("smollm2-135m").architecture, 16)
PRICE = price_called("cloud-2vcpu-8gb")


BY_ROWS = {"widths": [512, 2048], "rows": [1, 128], "seconds": [[1e-9, 2e-9], [1e-9, 2e-9]]}
RATES = {name: [1e10, 2e10] for name in ("prompt", "step", "latent_prompt", "latent_step")}
PARTS = {
    "products": BY_ROWS,
    "heads": BY_ROWS,
    "attention": {"tokens": [128, 512], **RATES},
    "routed_value_s": 1e-9,
    "steps_s": {"dense": 0.004, "experts": 0.008, "latent": 0.012},
}
FEW_SIZES = {
    "WIDTHS": (128, 2048), "ROWS": (1, 512), "HEAD_WIDTHS": (512,), "HEAD_ROWS": (1,), "ATTENDED": (32, 512),
}  # fmt: skip


def made(device: str, threads: int, dtype: str) -> Measured:
    return Measured(device, threads, dtype, 12e9, 10e9, 9e9 * threads, 1e11, PARTS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, on a machine of two processors and no GPU."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(ceilings, "cpu_count", lambda: 2)
    monkeypatch.setattr(ceilings, "cuda_device_count", lambda: 0)
    return tmp_path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Fills the cache with what the fake measurement says."""
    monkeypatch.setattr(ceilings, "_measure", made)
    return lambda: [].extend(measure_all())  # type: ignore[func-returns-value]


def test_one_thread_and_all_of_them_in_each_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "_measure", made)
    found = [(one.device, one.threads, one.dtype) for one in measure_all()]
    assert found == [("cpu", n, dtype) for n in (1, 2) for dtype in ("float32", "bfloat16")]
    monkeypatch.setattr(ceilings, "cuda_device_count", lambda: 1)
    assert [one.device for one in measure_all()][-2:] == ["cuda:0", "cuda:0"]


def test_what_was_measured_is_kept(measured: Callable[[], None]) -> None:
    assert kept() == ()
    measured()
    assert len(kept()) == 4
    found = ceilings_here("cpu", 1, "float32")
    assert found is not None
    assert (found.bytes_per_s, found.flop_per_s) == (9e9, 1e11)  # products are slower than reading
    both = ceilings_here("cpu", 2, "float32")
    assert both is not None
    assert both.bytes_per_s == 12e9  # and here reading is the limit
    assert ceilings_here("cpu", 3, "float32") is None


def test_another_processor_has_other_ceilings(
    measured: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured()
    here = ceilings.fingerprint()
    monkeypatch.setattr(ceilings, "fingerprint", lambda: {**here, "cpu_model": "another"})
    assert kept() == ()


NO_PRODUCTS = json.dumps(
    [asdict(made("cpu", 1, "float32")) | {"parts": {"products": {"widths": [1], "rows": [1]}}}]
)
NO_TIMES = NO_PRODUCTS.replace('"rows": [1]', '"rows": [1], "seconds": [["x"]]')
A_STEP = json.dumps([asdict(made("cpu", 1, "float32"))]).replace("0.004", '"x"')


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Give torch its threads back afterwards: the program takes one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '[{"device": "cpu"}]', "null", NO_PRODUCTS, NO_TIMES, A_STEP]
)
def test_a_file_that_cannot_be_read_is_as_none(measured: Callable[[], None], content: str) -> None:
    measured()
    ceilings._file().write_text(content)
    assert kept() == ()


def test_the_measurement_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one_thread: None
) -> None:
    """The real program, on one thread, with a few of its sizes: plausible rates, whatever else the machine
    does. With all of them it takes a quarter of a minute."""
    for name, few in FEW_SIZES.items():
        monkeypatch.setattr(pass_parts, name, few)
    narrow = {kind: dict(narrow_card(kind).config) for kind in ceilings.NARROW}
    program.main("1", "float32", "cpu", json.dumps(narrow))
    found = Measured("cpu", 1, "float32", **json.loads(capsys.readouterr().out))
    assert 1e8 < found.memory_bytes_per_s < 1e12
    assert 1e8 < found.copy_bytes_per_s < 1e12
    assert 1e7 < found.vector_bytes_per_s < 1e12
    assert 1e8 < found.matmul_flop_per_s < 1e14
    parts = found.ceilings.parts
    assert parts is not None
    one, many = (parts.products.weight_s(2048, rows) for rows in (1, 512))
    assert 1e-13 < one < many < 512 * one  # a row alone waits for its weights
    assert parts.products.weight_s(128, 1) > one  # and a small matrix for its call
    assert 1e-13 < parts.heads.weight_s(512, 1) < 1e-6
    assert 1e-12 < parts.routed_value_s < 1e-6
    assert all(1e6 < rate < 1e14 for rate in (*parts.attention.prompt, *parts.attention.latent_step))
    assert 1e-6 < parts.overhead.dense < 0.1


def test_the_overhead_is_what_the_parts_do_not_explain() -> None:
    """A narrow model's own estimate with it is its measured step again, by the roofline's own sum."""
    best = made("cpu", 1, "float32").ceilings
    for kind, step_s in {"dense": 0.004, "experts": 0.008}.items():
        loaded = Loaded(narrow_card(kind).architecture, 32, 4, expanded=True)
        assert decode(loaded, best, 128).seconds == pytest.approx(step_s)
    assert best.parts is not None
    assert best.parts.overhead.latent > best.parts.overhead.experts > best.parts.overhead.dense > 0


def test_a_step_faster_than_its_parts_has_no_overhead() -> None:
    quick = {**PARTS, "steps_s": {"dense": 1e-9, "experts": 1e-9, "latent": 1e-9}}
    parts = replace(made("cpu", 1, "float32"), parts=quick).ceilings.parts
    assert parts is not None
    assert parts.overhead == Overhead()


def test_a_measurement_that_fails_says_why() -> None:
    with pytest.raises(BenchError, match="cannot measure cpu in float33: AttributeError"):
        ceilings._measure("cpu", 1, "float33")


def test_a_plan_for_this_machine(measured: Callable[[], None]) -> None:
    with pytest.raises(UsageError, match="bench doctor --ceilings"):
        list(estimated_here(MODEL, PRICE, 8e9, STREAM))
    measured()
    wide, narrow = estimated_here(MODEL, PRICE, 8e9, STREAM)
    assert (wide.title, narrow.title) == ("float32", "bfloat16")
    assert wide.steps.most == 1
    best = made("cpu", 2, "float32").ceilings
    assert best.parts is not None
    step_s = MODEL.facts.parameters * 1e-9 + 30 * best.parts.overhead.dense
    assert wide.steps.seconds(1, 0, 0) == pytest.approx(step_s)
    with pytest.raises(UsageError, match="does not fit this machine's memory in float32"):
        list(estimated_here(MODEL, PRICE, 5e8, STREAM))


def test_what_is_kept_is_plain_json(measured: Callable[[], None]) -> None:
    measured()
    assert json.loads(ceilings._file().read_text())[0]["dtype"] == "float32"


def test_power_of_ones_own_processor_is_billed(measured: Callable[[], None]) -> None:
    """An idle hour has the idle watts, an hour of work the rest of the average, at the price's tariff."""
    measured()
    price = price_called("own-2core-desktop")
    wide, _narrow = estimated_here(MODEL, price, 8e9, STREAM)
    rented, _ = estimated_here(MODEL, PRICE, 8e9, STREAM)
    assert price.average_watts is not None
    assert price.usd_per_kwh is not None
    a_watt = price.usd_per_kwh * price.pue / 1000
    idle = price.idle_watts or 0.0
    assert wide.machine_usd == pytest.approx(price.hourly_usd + idle * a_watt)
    assert wide.busy_hour_usd == pytest.approx((price.average_watts - idle) * a_watt)
    assert not wide.rented
    assert rented.rented
    assert (rented.machine_usd, rented.busy_hour_usd) == (PRICE.hourly_usd, 0.0)


def test_a_measurement_without_parts_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an earlier version kept it: a plan would make prompts two times too cheap."""
    monkeypatch.setattr(ceilings, "_measure", lambda *of: replace(made(*of), parts=None))
    assert len(list(measure_all())) == 4
    assert len(kept()) == 4
    assert ceilings_here("cpu", 1, "float32") is None
