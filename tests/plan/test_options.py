"""What could serve: rows of a run, cells of a sweep by batch size, and models of cards on devices."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from bench.cli.plan_pages import plan_json, plan_page
from bench.errors import ConfigError, Outcome, UsageError
from bench.metrics import cascade, cost, throughput
from bench.models.registry import find_model
from bench.plan import measured
from bench.plan import picture as plan_picture
from bench.plan.api_comparison import Question, against_apis
from bench.plan.bytes_and_flop import Loaded
from bench.plan.devices import device_of, devices
from bench.plan.fleet import Slo, Stream, saturated_rate
from bench.plan.measured import measured_options, not_planned
from bench.plan.option_cost import cheapest, pays_from, planned
from bench.plan.options import Estimate, estimated_options
from bench.plan.pass_times import MeasuredSteps, RooflineSteps, Slower
from bench.plan.plan_result import Plan
from bench.plan.served import row_called, served_rows
from bench.pricing.book import default_book, price_called
from bench.records import RunRecord
from bench.results.run_summary import RunSummary
from bench.results.summarise import summarise
from bench.results.summary import load_run
from bench.stats.figure import value_of
from bench.store.replay import load_record

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
STREAM = Stream(1e6, 1000, 300)
KNOWN = devices()


@pytest.fixture(scope="module")
def quickstart() -> RunSummary:
    return load_run(REFERENCE / "quickstart-no-bf16")


def test_a_row_serves_what_it_measured(quickstart: RunSummary) -> None:
    """Its dollars are those of the table, and its tokens and seconds are those of its requests."""
    for served in served_rows(quickstart):
        row = next(row for row in quickstart.rows if row.title == served.title)
        ratio = quickstart.comparison(row, cost.PER_REQUEST)
        shown = ratio.value if ratio and ratio.value else value_of(row.figure(cost.PER_REQUEST))
        assert served.request_usd.value == pytest.approx(shown)
        assert (served.mix.input_tokens, served.mix.output_tokens) == (pytest.approx(48), pytest.approx(16))
        assert served.share == 0.5  # one thread of two vCPUs
        if row.is_baseline:
            assert served.own.request_s.value == pytest.approx(
                1 / (value_of(row.figure(throughput.REQUESTS)) or 0)
            )


def test_machines_are_rented_whole(quickstart: RunSummary) -> None:
    """On 8 processors there is room for two servers of 3, so a plan and the break-even pay for all 8. A
    request of the run's table is paid for 3."""
    rows = tuple(replace(row, facts=row.facts and replace(row.facts, threads=3)) for row in quickstart.rows)
    run = replace(quickstart, rows=rows, price={**quickstart.price, "vcpus": 8})
    (served, *_), (option, *_) = served_rows(run), measured_options(run)
    usd = run.price["usd_per_hour"]
    assert served.own.hour_usd == pytest.approx(usd * 3 / 8)
    assert served.own.rented_hour_usd == pytest.approx(usd / 2)
    assert (option.share, option.machine_usd) == (0.5, pytest.approx(usd))
    found = planned(option, Stream(1e6, 48, 16), Slo()).fleet
    assert found is not None
    assert found.most == 7  # 14 servers, as by hand in docs/cost.md; 14 * 3 / 8 would be 6
    asked = Question(date(2026, 11, 27), ("openai/gpt-5",))
    drawn = against_apis(run, [], asked)
    pair = drawn.apis[0].pairs[0]
    volume = pair.even.requests_per_month
    assert volume is not None
    assert plan_picture._month_usd(pair.row, volume) == pytest.approx(volume * pair.api_usd)


def test_an_unknown_row_names_the_nearest(quickstart: RunSummary) -> None:
    rows = served_rows(quickstart)
    assert row_called(rows, "bf16").title == "bf16"
    with pytest.raises(UsageError, match="did you mean 'bnb-nf4'"):
        row_called(rows, "bnb-nf3")


def test_every_row_is_an_option(quickstart: RunSummary) -> None:
    options = measured_options(quickstart)
    assert [option.title for option in options] == [row.title for row in quickstart.rows]
    baseline = options[0]
    assert isinstance(baseline.steps, MeasuredSteps)
    assert (baseline.steps.most, baseline.machine_usd, baseline.share) == (1, pytest.approx(0.1008), 0.5)


def as_a_whole(record: RunRecord) -> RunSummary:
    """The same run of an engine that gives answers as a whole: nothing is known of single tokens."""
    arms = tuple(
        replace(arm, solo=tuple(replace(one, stamps_ns=one.stamps_ns[-1:]) for one in arm.solo))
        for arm in record.arms
    )
    return summarise(replace(record, arms=arms, units=()))


def test_answers_as_a_whole_have_a_price_and_no_queue(quickstart: RunSummary) -> None:
    """They were refused, as if they had no times."""
    record = load_record(REFERENCE / "quickstart")
    run = as_a_whole(record)
    rows = served_rows(run)
    assert [row.title for row in rows] == [row.title for row in served_rows(quickstart)]
    for row, arm in zip(rows, record.arms, strict=True):
        took_ns = max(one.end_ns for one in arm.solo) - min(one.sent_ns for one in arm.solo)
        each_s = took_ns / 1e9 / sum(one.requests for one in arm.solo)
        assert row.own.request_s.value == pytest.approx(each_s)
        assert row.own.request_s.low is not None
    found = against_apis(run, [], Question(date(2026, 11, 1), ("openai/gpt-5-nano",)))
    price_s = 0.1008 * 0.5 / 3600 / run.price["utilisation"]  # one of two vCPUs
    ours, api = found.apis[0].pairs[0], found.apis[0].offer
    assert ours.ratio.value == pytest.approx(rows[0].own.request_s.value * price_s / api.request_usd)
    with pytest.raises(UsageError, match="answers came as a whole, so no time of a token"):
        measured_options(run)


def test_a_row_that_cannot_be_priced_says_why(quickstart: RunSummary) -> None:
    rows = [
        replace(row, metrics={**row.metrics, cascade.EDGE.key: row.figure(cost.PER_REQUEST)})
        for row in quickstart.rows
    ]
    rows[0] = replace(rows[0], status=Outcome.TIMEOUT)
    with pytest.raises(UsageError, match=r"baseline is timeout; .* is a cascade: a part of its requests"):
        served_rows(replace(quickstart, rows=tuple(rows)))


def test_of_many_rows_the_cheapest_and_the_baseline(
    quickstart: RunSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """990 rows took 51 s."""
    assert not not_planned(quickstart)
    monkeypatch.setattr(measured, "MOST_SIMULATED", 3)
    assert [option.title for option in measured_options(quickstart)] == [
        "baseline", "int8-dynamic", "pruned-50"
    ]  # fmt: skip
    (left_out,) = not_planned(quickstart)
    assert left_out.endswith("not 3 others")


def test_a_plan_of_a_run_by_hand(quickstart: RunSummary) -> None:
    """Without limits a server takes 80 % of one request after the other; two servers share a machine."""
    option = measured_options(quickstart)[0]
    served = served_rows(quickstart)[0]
    stream = Stream(1e6, 48, 16)
    request_s = (served.prefill_s or 0) + 15 * served.step_s
    found = planned(option, stream, Slo())
    assert found.capacity.rate == pytest.approx(0.8 / request_s, rel=1e-6)
    servers = -(-1e6 / 86_400 // found.capacity.rate)
    assert found.fleet is not None
    assert found.fleet.most == -(-servers // 2)
    assert found.month_usd == pytest.approx(found.fleet.most * 0.1008 * 730)
    assert found.request_usd(stream) == pytest.approx(found.month_usd / (1e6 * 730 / 24))


def test_batch_sizes_of_a_sweep_are_one_server(quickstart: RunSummary) -> None:
    """Two cells that differ by their batch size give a step that grows with the sequences in it."""
    base = quickstart.rows[0]
    cells = []
    for size, slower in ((1, 1.0), (4, 2.0)):
        metrics = dict(base.metrics)
        tpot = metrics["tpot_ms"]
        assert tpot is not None
        metrics["tpot_ms"] = replace(tpot, value=tpot.value * slower)
        workload = {**base.workload, "batch_size": size}
        cells.append(replace(base, group=f"batch_size={size}", workload=workload, metrics=metrics))
    run = replace(quickstart, rows=tuple(cells), comparisons=())
    (option,) = measured_options(run)
    one, four = (option.steps.seconds(count, 0, 0) for count in (1, 4))
    assert four == pytest.approx(2 * one)
    assert option.steps.most == 4
    assert option.passes == "steps of batches of 1 and 4 measured, others interpolated"
    assert {option.passes for option in measured_options(quickstart)} == {""}


def test_closed_loops_of_a_server_are_one_server() -> None:
    """Three engines with 1, 4 and 16 users. A server under load was planned as a loop of batch size 1."""
    run = load_run(REFERENCE / "serving" / "users")
    llama, transformers, vllm = measured_options(run)
    assert [option.title for option in (llama, transformers, vllm)] == ["baseline", "transformers", "vllm"]
    assert [option.steps.most for option in (llama, transformers, vllm)] == [16, 1, 16]
    assert transformers.steps.chunk is None
    stream = Stream(2e4, 64, 32)
    per_s = {(row.title, row.users): 1 / row.own.request_s.value for row in served_rows(run)}
    for option in (llama, transformers, vllm):
        assert "16 users" in option.passes
        plan = Plan(run.name, (), stream, Slo(), (option,), (), ())
        answer = plan.answered((), None, 1.0, date(2026, 11, 29))
        assert f"passes       {option.title}: {option.passes}" in plan_page(answer)
        assert plan_json(answer)["options"][0]["passes"] == option.passes
        best = max(rate for (title, _), rate in per_s.items() if title.endswith(f" {option.title}"))
        assert saturated_rate(option.steps, Stream(1, 64, 32)) == pytest.approx(best, rel=0.2)


def test_a_server_without_a_closed_loop_is_not_planned() -> None:
    """Random arrivals do not say how long a pass takes."""
    run = load_run(REFERENCE / "serving")
    closed = [row for row in run.rows if row.workload["name"] == "closed-loop"]
    (cell,) = {row.group for row in closed}
    assert [option.steps.most for option in measured_options(run)] == [2, 1, 2]
    assert not not_planned(run)
    without = tuple(row for row in run.rows if row.group != cell or row.name != "vllm")
    (words,) = not_planned(replace(run, rows=without))
    assert words.startswith("vllm is not planned: no row of it has a closed loop")
    opened = tuple(row for row in run.rows if row.group != cell)
    with pytest.raises(UsageError, match="no row of it has a closed loop"):
        measured_options(replace(run, rows=opened))


@pytest.mark.parametrize("name", ["llama-3.1-8b", "qwen3-30b-a3b", "deepseek-r1"])
def test_a_card_takes_the_devices_that_hold_it(name: str) -> None:
    price = price_called("h200-141gb")
    device = device_of(price, KNOWN)
    facts = find_model(name).architecture
    options = list(estimated_options(Loaded(facts, 16), price, device, STREAM, Estimate()))
    assert [option.title for option in options] == ["16 bits", "8 bits", "4 bits"]
    for option, bits in zip(options, (16, 8, 4.5), strict=True):
        assert facts.parameters * bits / 8 < 0.9 * 141e9 * option.share
        assert option.share == 1 or facts.parameters * bits / 8 > 0.9 * 141e9 * option.share / 2 * 0.9
        assert option.machine_usd == price.hourly_usd
    needed = [option.share for option in options]
    assert needed == sorted(needed, reverse=True)


def test_a_share_of_the_data_sheet_slows_everything() -> None:
    price = price_called("h100-80gb")
    device = device_of(price, KNOWN)
    loaded = Loaded(find_model("llama-3.1-8b").architecture, 16)
    for bandwidth, arithmetic in ((1.0, 1.0), (0.5, 0.5)):
        how = Estimate((16.0,), bandwidth, arithmetic)
        (option,) = estimated_options(loaded, price, device, STREAM, how)
        assert isinstance(option.steps, RooflineSteps)
        read_s = loaded.read_bytes(1) / (3350e9 * bandwidth)
        assert option.steps.seconds(1, 0, 0) == pytest.approx(read_s)
        assert option.steps.seconds(0, 0, 2048) == pytest.approx(
            (loaded.flop(2048, 1) + loaded.attention_flop(2048**2 / 2, 0)) / (989e12 * arithmetic)
        )


def test_a_stream_longer_than_the_context() -> None:
    loaded = Loaded(find_model("qwen3-8b").architecture, 16)
    with pytest.raises(UsageError, match="do not fit the model's context of 40,960"):
        list(
            estimated_options(
                loaded, price_called("h100-80gb"), KNOWN["h100-80gb"], Stream(1, 1e5, 1), Estimate()
            )
        )


def test_power_of_ones_own_devices_is_billed() -> None:
    """450 watts at 0.1872 a kWh while it works, by the share of the hours in which it does."""
    price = price_called("rtx-4090")
    loaded = Loaded(find_model("qwen3-8b").architecture, 16)
    (option,) = estimated_options(loaded, price, device_of(price, KNOWN), STREAM, Estimate((4.0,)))
    found = planned(option, STREAM, Slo())
    assert found.fleet is not None
    assert found.month_usd is not None
    work_hours = STREAM.per_month / found.capacity.saturated / 3600
    power_usd = 0.45 * 0.1872 * work_hours * option.share
    assert found.month_usd == pytest.approx(found.fleet.most * price.hourly_usd * 730 + power_usd)
    assert found.scaled_usd is None  # one's own machines cannot be given back for an hour


def test_on_a_flat_day_by_the_hour_is_by_the_month(quickstart: RunSummary) -> None:
    found = planned(measured_options(quickstart)[0], Stream(1e6, 48, 16), Slo())
    assert found.scaled_usd == pytest.approx(found.month_usd)


def test_a_precision_that_does_not_fit_is_left_out() -> None:
    price = price_called("l4-24gb")
    loaded = Loaded(find_model("kimi-k2").architecture, 16)
    options = list(estimated_options(loaded, price, KNOWN["l4-24gb"], STREAM, Estimate()))
    assert [option.title for option in options] == ["8 bits", "4 bits"]


def test_a_model_that_no_number_of_devices_holds() -> None:
    loaded = Loaded(find_model("kimi-k2").architecture, 16)
    with pytest.raises(UsageError, match="not even 64 × NVIDIA L4 24 GB hold the model at 16 bits"):
        list(estimated_options(loaded, price_called("l4-24gb"), KNOWN["l4-24gb"], STREAM, Estimate((16.0,))))


@pytest.mark.parametrize("share", [0, 1.1, -1, 1e-308, float("nan")])
def test_a_share_of_a_ceiling_is_at_most_1(share: float) -> None:
    how = Estimate((16.0,), share, 0.5)
    loaded = Loaded(find_model("qwen3-8b").architecture, 16)
    with pytest.raises(UsageError, match="share of a ceiling"):
        list(estimated_options(loaded, price_called("h100-80gb"), KNOWN["h100-80gb"], STREAM, how))


# ---- data sheets ---------------------------------------------------------------------------------


def test_every_device_is_plausible() -> None:
    for device in KNOWN.values():
        assert 16 <= device.memory_gb <= 300
        assert 100 <= device.bandwidth_gb_s <= 10_000
        # A dense 8-bit rate is about twice the 16-bit rate; a sparse figure would be four times.
        ratio = (device.dense_8_bit_tflops or 0) / device.dense_16_bit_tflops
        assert 1.9 <= ratio <= 2.1 or device.name.startswith("NVIDIA GeForce")
        assert device.source


def test_every_gpu_price_of_a_common_device_finds_its_data_sheet() -> None:
    """Those that do not are variants with other figures; a wrong sheet would be worse than none."""
    none = set()
    for price in default_book().values():
        if price.kind == "gpu":
            try:
                device_of(price, KNOWN)
            except UsageError:
                none.add(price.device)
    assert none == {"H100 94GB NVL", "H100 80GB PCIe", "A10G 24GB", "T4 16GB", "B200 SXM", None}


def test_a_price_without_a_data_sheet_says_which_there_are() -> None:
    assert device_of(price_called("h100-80gb"), KNOWN) is KNOWN["h100-80gb"]
    with pytest.raises(UsageError, match=r"no data sheet of H100 80GB PCIe .*h100-80gb"):
        device_of(price_called("scaleway-h100-pcie"), KNOWN)


def test_a_bad_data_sheet_names_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs" / "devices").mkdir(parents=True)
    (tmp_path / "configs" / "devices" / "my.yaml").write_text("mine:\n  name: x\n  memory_gb: -1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"my.yaml.*mine"):
        devices()


LIMITED = Slo(2000, 200)


def test_the_bounds_of_a_month_are_those_of_the_time(quickstart: RunSummary) -> None:
    """Without limits of time a server that is 3 % slower takes 3 % less: machines by hand."""
    stream = Stream(1e8, 48, 16)
    for option in measured_options(quickstart):
        assert option.slower is not None
        low, high = option.slower
        assert 0.5 < low < 1 < high < 2
        found = planned(option, stream, Slo())
        assert found.month_bounds_usd is not None
        servers = [stream.per_day / 86_400 / found.capacity.rate * factor for factor in (low, high)]
        by_hand = [math.ceil(math.ceil(one) * option.share) * option.machine_usd * 730 for one in servers]
        assert found.month_bounds_usd == pytest.approx(by_hand)


def test_with_limits_a_slower_server_takes_still_less(quickstart: RunSummary) -> None:
    """The bounds found in a narrow range are those of a whole search for the slower server."""
    stream = Stream(1e8, 48, 16)
    for option in measured_options(quickstart)[:3]:
        found = planned(option, stream, LIMITED)
        assert found.month_usd is not None
        assert found.month_bounds_usd is not None
        assert option.slower is not None
        for factor, usd in zip(option.slower, found.month_bounds_usd, strict=True):
            whole = planned(replace(option, steps=Slower(option.steps, factor), slower=None), stream, LIMITED)
            assert usd == pytest.approx(whole.month_usd, rel=0.02)
        assert found.month_bounds_usd[0] < found.month_usd < (found.month_bounds_usd[1] or math.inf)


def test_an_upper_bound_that_misses_the_limit(quickstart: RunSummary) -> None:
    """A request alone takes 50.13 ms a token, and 2 % more at the bound: no server is in time then."""
    option = measured_options(quickstart)[0]
    found = planned(replace(option, slower=(0.99, 1.02)), Stream(1e5, 48, 16), Slo(None, 50.5))
    assert found.month_bounds_usd is not None
    low, high = found.month_bounds_usd
    assert low is not None
    assert high is None


def test_an_estimate_has_no_interval() -> None:
    price = price_called("h100-80gb")
    loaded = Loaded(find_model("qwen3-8b").architecture, 16)
    (option,) = estimated_options(loaded, price, device_of(price, KNOWN), STREAM, Estimate((16.0,)))
    assert option.slower is None
    assert planned(option, STREAM, Slo()).month_bounds_usd is None


def test_the_volume_at_which_both_cost_the_same(quickstart: RunSummary) -> None:
    """There a whole machine's day is what the API bills for it; and a machine of one's own adds its power."""
    stream = Stream(1000, 48, 16)
    found = planned(measured_options(quickstart)[0], stream, Slo())
    api_usd = 40e-6
    volume = pays_from(found, stream, api_usd)
    assert volume == pytest.approx(found.option.machine_usd * 24 / api_usd)
    assert planned(found.option, replace(stream, per_day=volume), Slo()).request_usd(
        replace(stream, per_day=volume)
    ) == pytest.approx(api_usd)
    powered = replace(found, option=replace(found.option, busy_hour_usd=0.02))
    each_usd = 0.02 / 3600 / found.capacity.saturated
    assert pays_from(powered, stream, api_usd) == pytest.approx(
        found.option.machine_usd * 24 / (api_usd - each_usd)
    )


@pytest.mark.parametrize("api_usd", [0.0, 1e-9, 1.57e-5])
def test_it_may_never_pay(quickstart: RunSummary, api_usd: float) -> None:
    """0.1008 dollars an hour / 3600 / (2 * 0.88921) requests a second: a full machine costs 15.75 dollars a
    million requests, and an API below that stays cheaper."""
    stream = Stream(1000, 48, 16)
    found = planned(measured_options(quickstart)[0], stream, Slo())
    assert pays_from(found, stream, api_usd) is None
    assert pays_from(found, stream, 1.58e-5) is not None
    assert pays_from(found, replace(stream, peak=2.0), 1.58e-5) is None  # half of it is idle


def test_a_server_of_several_devices_is_paid_whole() -> None:
    price = price_called("h200-141gb")
    loaded = Loaded(find_model("deepseek-r1").architecture, 16)
    stream = Stream(1e5, 1000, 300)
    (option,) = estimated_options(loaded, price, device_of(price, KNOWN), stream, Estimate((8.0,)))
    found = planned(option, stream, Slo())
    assert pays_from(found, stream, 0.01) == pytest.approx(8 * price.hourly_usd * 24 / 0.01)


def test_the_cheapest_option_answers(quickstart: RunSummary) -> None:
    stream = Stream(1e6, 48, 16)
    rows = [planned(option, stream, Slo()) for option in measured_options(quickstart)]
    assert cheapest(rows) is rows[2]
    assert cheapest([planned(rows[0].option, stream, Slo(1))]) is None


@pytest.mark.parametrize(("share", "words"), [(0.5, "1/2 machine"), (1.0, "1 machine"), (2.0, "2 machines")])
def test_a_page_says_what_one_server_is(quickstart: RunSummary, share: float, words: str) -> None:
    option = replace(measured_options(quickstart)[0], share=share)
    plan = Plan("", (), STREAM, Slo(), (option,), (), ())
    assert f"  {words}  " in plan_page(plan.answered((), 0.0, 1.0, date(2026, 11, 1)))
