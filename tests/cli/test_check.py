"""What `bench check` prints: every row, every reason and limit, and an estimate that says what it assumes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ggufs import WORDS, gguf
from safetensors.torch import save_file

from bench import plugins
from bench.cli import check_notes, estimate
from bench.cli.check import describe
from bench.cli.drift_time import VALUE_S, floors_s, suites_s, together_s
from bench.cli.expected import PROCESS_BYTES, PROMPT_TOKENS, Load
from bench.config import support
from bench.config.cascade_questions import trains
from bench.config.drafts import why_other_tokens
from bench.config.reader import read_config
from bench.config.spec import Arm, Optimisation, Spec
from bench.drift.behaviour import suites_of
from bench.engine.energy_counters import NoCounter
from bench.models.reference import LocalPath, Random
from bench.plan.roofline import Ceilings
from bench.records.grid import MAY_BE_CONFOUNDED
from bench.runs import meters

ROOT = Path(__file__).resolve().parents[2]
TEXT = """\
model: smollm2-135m
runtime: {device: cpu, dtype: float32, threads: 2}
workload: {requests: 10, output_tokens: 24}
variants:
  - name: bf16
    runtime: {dtype: bfloat16}
  - name: nf4
    optimise: [{prune: magnitude, sparsity: 0.25}, {quantise: bnb-nf4}]
price: {hardware: cloud-2vcpu-8gb, utilisation: 0.6}
"""
Make = Callable[..., Spec]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "cuda_device_count", lambda: 0)
    monkeypatch.setattr(plugins, "missing_packages", lambda module: ())
    monkeypatch.setattr(estimate, "cpu_count", lambda: 2)
    monkeypatch.setattr(estimate, "available_bytes", lambda: 64 * 1024**3)
    monkeypatch.setattr(estimate, "ceilings_here", lambda *_of: None)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def spec(*overrides: str, text: str = TEXT) -> Spec:
        (tmp_path / "demo.yaml").write_text(text)
        return read_config(tmp_path / "demo.yaml", overrides)

    return spec


def facts(text: str) -> dict[str, str]:
    """The lines below the rows by their first word; a repeated word keeps its last line."""
    below = text.rpartition("\n\n")[2].splitlines()
    return {line[:12].strip(): line[12:].strip() for line in below}


def test_every_row_says_what_it_runs(make: Make) -> None:
    text = describe(make())
    assert text.splitlines()[0].startswith("demo (")
    assert text.splitlines()[0].endswith(": 3 rows")
    assert re.search(r"baseline +transformers, cpu, float32, 2 threads +nothing", text)
    assert re.search(r"bf16 +transformers, cpu, bfloat16, 2 threads +nothing", text)
    assert re.search(r"nf4 .*prune magnitude \(sparsity=0.25\) \+ quantise bnb-nf4\n", text)


def test_only_settings_that_are_no_defaults_are_printed(make: Make) -> None:
    step = "{distil: logits, steps: 150, batch: 4, direction: reverse, max_minutes: 60.0}"
    text = describe(make(f"variants=[{{name: taught, optimise: [{step}]}}]"))
    assert re.search(r"taught +distil logits \(direction=reverse, steps=150\)\n", text)


def test_what_all_rows_share_is_said_once(make: Make) -> None:
    text = describe(make())
    assert text.count("smollm2-135m") == 1
    assert text.count("chat, 10 requests, 24 out, batch 1") == 1
    text = describe(make("variants=[{name: other, model: {random: tiny-llama, layers: 1}}]"))
    assert re.search(r"baseline +smollm2-135m", text)
    assert re.search(r"other +tiny-llama, random weights, 1 layer\n", text)
    encoder = describe(make(text="model: all-minilm-l6-v2\nworkload: {name: chat, requests: 10}\n"))
    assert "chat, 10 requests, batch 1" in encoder  # it writes no token


def test_no_line_ends_in_spaces(make: Make) -> None:
    assert not [line for line in describe(make()).splitlines() if line != line.rstrip()]


def test_what_cannot_run_here_says_why(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        plugins, "missing_packages", lambda m: ("bitsandbytes",) if "bnb" in m.__name__ else ()
    )
    text = describe(make())
    assert text.splitlines()[0].endswith("3 rows, 1 of them cannot run here")
    after = text[text.index("  nf4 ") :].splitlines()[1]
    assert after.strip().startswith("cannot run here: needs the package bitsandbytes")
    assert "pip install" in after


def test_each_cell_of_a_sweep_has_its_rows(make: Make) -> None:
    text = describe(make("sweep={batch_size: [1, 4]}"))
    assert text.splitlines()[0].endswith(": 6 rows")
    assert (text.count("[batch_size=1]"), text.count("[batch_size=4]")) == (1, 1)
    assert text.count("baseline  ") == 2


def test_one_request_is_no_plural(make: Make) -> None:
    assert ", 10 requests," in describe(make())
    assert ", 1 request," in describe(make("workload.requests=1"))


def test_what_is_measured_and_at_what_price(make: Make) -> None:
    found = facts(describe(make("measure.max_rounds=7", "gate={kld_mean: {max: 0.05}}")))
    assert found["measured"].endswith(
        "; 4 to 28 fresh pairs of processes in turns with the baseline, until the cost ratio is ±2.5%"
    )
    narrow = facts(describe(make("measure.max_half_width=0.0001", "price.utilisation=0.004")))
    assert narrow["measured"].endswith("until the cost ratio is ±0.01%")
    assert "used 0.4% of the time" in narrow["price"]
    single = facts(describe(make("measure.max_rounds=1", "measure.processes=1")))["measured"]
    assert "; 1 fresh pair of processes" in single
    once = facts(describe(make("measure.max_rounds=1", "measure.processes=3")))["measured"]
    assert once.endswith("; 3 fresh pairs of processes in turns with the baseline")
    alone = facts(describe(make("variants=[]")))["measured"]
    assert alone.endswith("nothing is compared: there are no variants")
    assert found["drift"].startswith("4096 tokens of 'mixed' in windows of 256")
    assert ", and the replies, against the baseline's" in found["drift"]
    alone = facts(describe(make("drift.suites=[factuality]")))["drift"]
    assert "windows of 256, against the baseline's; suites (items): factuality" in alone
    one = facts(describe(make("drift.tokens=128")))["drift"]
    assert one.startswith("256 tokens of 'mixed' in windows of 256"), "a window is never cut"
    assert re.match(
        r"cloud-2vcpu-8gb: 0\.1008 USD/h on \d{4}-\d\d-\d\d, used 60% of the time", found["price"]
    )
    assert found["gate"] == "kld_mean: max 0.05"
    own = facts(describe(make("price={usd_per_hour: 2}")))
    assert own["price"] == "2 USD/h, given in the config, used 100% of the time"


def test_drift_that_is_not_measured_says_why(make: Make) -> None:
    assert "drift.tokens is 0" in facts(describe(make("drift.tokens=0")))["drift"]
    assert "random weights" in facts(describe(make("model={random: tiny-llama}")))["drift"]


# ---- the estimate --------------------------------------------------------------------------------


def test_the_estimate_says_that_it_is_one(make: Make) -> None:
    text = describe(make())
    assert "estimated, not measured: 12 GB/s and 80 GFLOP/s a CPU thread" in text
    assert re.search(r"estimate +\d+ (s|min) to \d+ min, and [\d.]+ GiB of memory", text)


def test_a_step_of_the_default_model_takes_what_it_took_here(make: Make) -> None:
    """42 ms measured in float32 on two cores, 26 ms in bfloat16, 80 ms for a prompt."""
    spec = make()
    model = estimate._facts(spec.groups[0].baseline.model)
    assert model is not None
    loads = [Load(arm, model, estimate._rates("cpu", 2, "float32")) for arm in spec.groups[0].arms]
    assert loads[0].pass_s(1) == pytest.approx(0.042, rel=0.1)
    assert loads[1].pass_s(1) == pytest.approx(0.026, rel=0.2)
    assert loads[0].pass_s(50) == pytest.approx(0.080, rel=0.4)
    assert loads[0].weights_bytes == 2 * loads[1].weights_bytes == 134515008 * 4


def test_ceilings_that_were_measured_here_are_used(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the assumed rates in float32, none known in bfloat16: the page names both."""
    spec = make()
    slow = Ceilings(12e9, 80e9, estimate.LAYER_S)  # two threads are assumed to reach twice that
    monkeypatch.setattr(estimate, "ceilings_here", lambda *of: slow if of == ("cpu", 2, "float32") else None)
    assumed = estimate.CPU_RATES.shared(2)
    assert estimate._rates("cpu", 2, "bfloat16") == assumed
    assert estimate._rates("cpu", 2, "float32") == slow
    card = estimate._facts(spec.groups[0].baseline.model)
    assert card is not None
    fast, half = (
        Load(spec.groups[0].baseline, card, rates)
        for rates in (assumed, estimate._rates("cpu", 2, "float32"))
    )
    layers_s = card.layers * estimate.LAYER_S
    assert half.pass_s(1) - layers_s == pytest.approx(2 * (fast.pass_s(1) - layers_s))
    text = describe(spec)
    assert "the ceilings of this machine (`bench doctor --ceilings`) or 12 GB/s" in text
    monkeypatch.setattr(estimate, "ceilings_here", lambda *_of: slow)
    assert "12 GB/s" not in describe(spec)


def test_a_training_is_estimated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 steps of 1024 tokens, 8 FLOP a token and parameter: 34.5 minutes at 160 GFLOP/s; 150 of them 17."""
    monkeypatch.setattr(estimate, "cpu_count", lambda: 2)
    monkeypatch.chdir(ROOT)
    text = describe(read_config(Path("configs/pruning-distillation-cpu.yaml")))
    assert ", 52 min of training the first time, and " in facts(text)["estimate"]


def test_the_quickstart_s_estimate_is_of_four_to_eight_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arithmetic of the estimate alone: what the quickstart takes is for its committed run to say."""
    monkeypatch.chdir(ROOT)
    assert facts(describe(read_config(Path("configs/quickstart.yaml"))))["estimate"].startswith(
        "5 min to 8 min"
    )


def test_more_work_takes_longer(make: Make) -> None:
    base = make()
    arm = base.groups[0].baseline
    model = estimate._facts(arm.model)
    assert model is not None
    rates = estimate._rates("cpu", 2, "float32")
    longer = arm.workload.model_copy(update={"output_tokens": 48})
    batched = arm.workload.model_copy(update={"batch_size": 4})
    one = Load(arm, model, rates)
    assert Load(replace(arm, workload=longer), model, rates).round_s > 1.8 * one.round_s
    assert Load(replace(arm, workload=batched), model, rates).round_s < 0.5 * one.round_s
    assert Load(replace(arm, workload=batched), model, rates).serving_bytes > one.serving_bytes
    assert Load(arm, model, estimate.GPU_RATES).round_s < one.round_s


@pytest.mark.parametrize("size", [{"layers": 15}, {"hidden": 128}, {"layers": 3, "hidden": 64}])
def test_a_size_scales_the_facts(size: dict[str, int]) -> None:
    from bench.models import anatomy
    from bench.models.reference import Random
    from bench.models.registry import find_model

    ref = Random("smollm2-135m", **size)
    facts = estimate._facts(ref)
    assert facts is not None
    exact, _active = anatomy.parameter_counts(find_model(ref.name).sized(ref.size).config)
    assert facts.parameters == pytest.approx(exact, rel=0.01)
    assert facts.layers == size.get("layers", 30)
    assert estimate._facts(Random("smollm2-135m", 30)) == find_model("smollm2-135m").architecture


def test_the_memory_of_a_check_is_that_of_the_card(make: Make) -> None:
    """`bench list models` uses the same two figures."""
    arm = (
        make(
            "model={random: gpt-oss-20b}",
            "workload.batch_size=2",
            "runtime.dtype=bfloat16",
            "runtime.attention=eager",
        )
        .groups[0]
        .baseline
    )
    card = estimate._facts(arm.model)
    assert card is not None
    tokens = (arm.workload.input_tokens or PROMPT_TOKENS) + arm.workload.output_tokens
    expected = card.weights_bytes(16) + 2 * card.cache_bytes(tokens)
    assert Load(arm, card, estimate._rates("cpu", 2, "float32")).serving_bytes == PROCESS_BYTES + expected


def test_noise_floors_are_in_the_estimate(make: Make) -> None:
    """Three circumstances, three windows each, and each beside the plain window."""
    spec = make()
    base = load_of(spec.groups[0].baseline)
    window, one = spec.drift.window, estimate._rates("cpu", 1, "float32")
    plain_s = base.pass_s(window) + window * base.facts.vocabulary * VALUE_S
    again_s = base.pass_s(window + 8) + base.pass_s(2 * window) + replace(base, rates=one).pass_s(window)
    assert floors_s(spec, base, estimate._rates) == pytest.approx(3 * (3 * plain_s + again_s))
    assert floors_s(make("drift.tokens=0"), base, estimate._rates) == 0
    prompt = base.prompt_tokens
    decoded_s = 4 * base.pass_s(prompt, 1) + base.pass_s(4 * prompt, 4)
    assert together_s(base) > decoded_s
    assert together_s(replace(base, arm=replace(base.arm, model=Random("smollm2-135m")))) == 0


def load_of(arm: Arm) -> Load:
    return estimate._load(arm, arm.model, arm.runtime, estimate.Known(estimate._facts, estimate._rates))


def test_a_model_that_drafts_is_in_the_estimate(make: Make) -> None:
    """It has weights and a cache of its own, and a pass for each drafted token."""
    arm = make().groups[0].baseline
    step = Optimisation("speculate", "draft-model", (("model", "qwen3-0.6b"), ("tokens", 4)))
    alone, drafting = load_of(arm), load_of(replace(arm, optimise=(step,)))
    (beside,) = drafting.beside
    assert drafting.weights_bytes == alone.weights_bytes + beside.load.weights_bytes
    assert drafting.cache_bytes == alone.cache_bytes + beside.load.cache_bytes
    assert drafting.load_s > alone.load_s
    passes = 4 * (arm.workload.output_tokens - 1)
    assert drafting.batch_s == pytest.approx(alone.batch_s + passes * beside.load.pass_s(1))
    unknown = replace(step, params=(("model", "./mine"), ("tokens", 4)))
    with pytest.raises(estimate.NoFacts, match="mine"):
        load_of(replace(arm, optimise=(unknown,)))


def test_the_edge_model_of_a_cascade_is_in_the_estimate(make: Make) -> None:
    """It answers every request before the large model may."""
    edge = "{model: smollm2-135m, dtype: bfloat16, usd_per_hour: 0.01}"
    row = f"variants:\n  - {{name: c, optimise: [{{cascade: margin, threshold: 0.5, edge: {edge}}}]}}\nprice:"
    spec = make(text=re.sub(r"variants:.*price:", row, TEXT, flags=re.DOTALL))
    small = load_of(spec.groups[0].variants[0])
    (beside,) = small.beside
    assert beside.load.arm.runtime.dtype == "bfloat16"
    assert small.batch_s == pytest.approx(load_of(spec.groups[0].baseline).batch_s + beside.load.batch_s)
    said = " ".join(describe(spec).split())
    assert "a cascade as if each request went on (the most it can take)" in said
    assert "a cascade as if" not in " ".join(describe(make()).split())


def cascade_of(make: Make, rule: str, *, threshold: float = 0.5, more: str = "") -> Spec:
    edge = "{model: smollm2-135m, usd_per_hour: 0.01}"
    row = f"{{name: c, optimise: [{{cascade: {rule}, threshold: {threshold}, edge: {edge}{more}}}]}}"
    return make(text=re.sub(r"variants:.*price:", f"variants:\n  - {row}\nprice:", TEXT, flags=re.DOTALL))


def test_drawn_answers_are_in_the_estimate(make: Make) -> None:
    """Seven prompts of 50 tokens at once, and then a pass of seven tokens for each further one."""
    plain = load_of(cascade_of(make, "margin").groups[0].variants[0])
    drawing = load_of(cascade_of(make, "agreement", more=", samples: 7").groups[0].variants[0])
    (beside,) = drawing.beside
    drawn_s = beside.load.pass_s(7 * PROMPT_TOKENS, 7) + 23 * beside.load.pass_s(7)
    assert drawing.batch_s == pytest.approx(plain.batch_s + drawn_s)
    assert drawing.cache_bytes == plain.cache_bytes + 7 * beside.load.cache_bytes


def test_both_models_of_a_cascade_answer_the_suites(make: Make) -> None:
    """Each of two models of the same size, so twice as long; a reply is drawn again three times."""
    base, margin, agreement = (
        load_of(arm)
        for arm in (
            make().groups[0].baseline,
            cascade_of(make, "margin").groups[0].variants[0],
            cascade_of(make, "agreement", more=", samples: 3").groups[0].variants[0],
        )
    )
    (closed,), (open_,) = suites_of(["factuality"]), suites_of(["arithmetic"])
    items = [(closed, closed.items())]
    whole_s = sum(
        base.pass_s(len(item["prompt"] + choice) // 4)
        for item in closed.items()
        for choice in item["choices"]
    )
    assert suites_s(items, margin) == pytest.approx(2 * whole_s)  # one item at a time is read whole
    assert suites_s(items, base) < whole_s
    assert suites_s(items, agreement) == pytest.approx(suites_s(items, margin))
    one = next(iter(open_.items()))
    more_s = suites_s([(open_, [one])], agreement) - suites_s([(open_, [one])], margin)
    (beside,) = agreement.beside
    prompt, steps = len(one["prompt"]) // 4, open_.output_tokens - 1
    assert more_s == pytest.approx(beside.load.pass_s(3 * prompt, 3) + steps * beside.load.pass_s(3))


def test_the_training_of_a_rule_is_in_the_estimate(make: Make) -> None:
    """Both models answer one half of two suites, once for all thresholds."""
    assert "of training" not in facts(describe(cascade_of(make, "margin")))["estimate"]
    spec = cascade_of(make, "learnt")
    assert "of training the first time" in facts(describe(spec))["estimate"]
    low, high = (load_of(cascade_of(make, "learnt", threshold=at).groups[0].variants[0]) for at in (0.2, 0.9))
    found = estimate._trainings_s(low) | estimate._trainings_s(high)
    expected = 0.0
    for name, together in (("factuality", 1), ("arithmetic", 4)):
        (suite,) = suites_of([name])
        for item in filter(trains, suite.items()):
            prompt, choices = max(len(item["prompt"]) // 4, 1), item.get("choices", ())
            read_s = low.pass_s(prompt, 0 if choices else None)
            if choices:
                read_s += low.pass_s(sum(max(len(choice) // 4, 1) for choice in choices))
            reply_s = suite.output_tokens * low.pass_s(1)
            expected += 2 * read_s + reply_s + reply_s / together
    assert list(found.values()) == [pytest.approx(expected)]


@pytest.mark.parametrize(("method", "noted"), [("compressed-tensors", True), ("gptq", False), (None, False)])
def test_a_checkpoint_that_is_unpacked_when_it_is_used_is_noted(
    make: Make, tmp_path: Path, method: str | None, noted: bool
) -> None:
    """It would be known after minutes of loading and measuring its baseline."""
    about = {"text_config": {"quantization_config": {"quant_method": method}}} if method else {}
    (tmp_path / "config.json").write_text(json.dumps(about))
    arm = replace(make().groups[0].baseline, model=LocalPath(tmp_path))
    said = str(check_notes._unpacked_when_used(arm))
    assert ("is packed by compressed-tensors" in said) == noted
    assert check_notes._unpacked_when_used(make().groups[0].baseline) is None


def test_an_adapter_has_the_notes_of_its_base(make: Make, tmp_path: Path) -> None:
    """Its own directory has no config.json, so what is asked of a model is asked of its base."""
    base, adapter = Path(__file__).parents[2] / "models" / "tiny-gemma3", tmp_path / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": str(base), "r": 1, "lora_alpha": 1}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    matrix = "base_model.model.model.layers.0.mlp.down_proj.lora"
    factors = {"A": torch.ones(1, 512), "B": torch.ones(128, 1)}
    save_file(
        {f"{matrix}_{side}.weight": factor for side, factor in factors.items()},
        adapter / "adapter_model.safetensors",
    )
    spec = make("drift.window=1024")
    cell = spec.groups[0]

    def said(model: Path) -> list[str]:
        arm = replace(cell.baseline, model=LocalPath(model))
        notes = check_notes.notes(replace(spec, groups=(replace(cell, baseline=arm, variants=()),)))
        return [line.replace(str(model), "it") for line in notes]

    assert said(adapter) == said(base)
    assert any("does not fit a context of 512" in line for line in said(adapter))


def test_a_model_without_facts_has_no_estimate(make: Make) -> None:
    """Nor has it the assumptions of one; a command that gives one is named."""
    commit = "c1899de289a04d12100db370d81485cdf75e47ca"
    text = describe(make(f"model={{hub: Qwen/Qwen3-0.6B, revision: {commit}}}"))
    said = facts(text)["estimate"]
    assert said.startswith("time and memory unknown: no facts about Qwen/Qwen3-0.6B@c1899de2")
    assert "--set 'model={random: NAME}'" in said
    assert "estimated, not measured" not in text
    assert "estimated, not measured" in describe(make("model={random: tiny-llama}"))


def test_memory_that_is_not_there_is_said(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "only" not in facts(describe(make()))["estimate"]
    monkeypatch.setattr(estimate, "available_bytes", lambda: 1024**3)
    assert facts(describe(make()))["estimate"].endswith("; only 1.0 GiB are free")


@pytest.mark.bad_input(22)
def test_more_threads_than_processors_is_noted(make: Make) -> None:
    assert "note" not in facts(describe(make()))
    assert facts(describe(make("runtime.threads=16")))["note"].startswith("16 threads on 2 processors")


def test_a_single_pair_of_processes_is_noted(make: Make) -> None:
    found = facts(describe(make("measure.processes=1", "measure.max_rounds=1")))
    assert found["note"].startswith("a ratio rests on a single pair of processes")
    for setting in ("measure.processes=2", "measure.max_rounds=2"):
        other = {"measure.processes": "1", "measure.max_rounds": "1"}
        other |= dict([setting.split("=")])
        assert "note" not in facts(describe(make(*(f"{key}={value}" for key, value in other.items()))))
    assert "note" not in facts(describe(make("measure.processes=1", "measure.max_rounds=1", "variants=[]")))


def test_too_few_batches_of_another_workload_are_noted(make: Make) -> None:
    """Such a row has no turns: its interval is one of the passes alone, and needs five of each."""
    batched = "variants=[{name: batched, workload: {batch_size: 6}}]"
    found = facts(describe(make("workload.requests=24", batched)))
    assert found["note"].startswith("a ratio of two workloads rests on 4 batches on one side, too few")
    assert "note" not in facts(describe(make("workload.requests=30", batched)))


def test_a_pair_is_estimated_by_its_slower_load_and_the_sum_of_its_turns(make: Make) -> None:
    spec = make("workload.requests=24", "workload.warmup=2")
    model = estimate._facts(spec.groups[0].baseline.model)
    assert model is not None
    base, one, *_ = (Load(arm, model, estimate._rates("cpu", 2, "float32")) for arm in spec.groups[0].arms)
    slower = max(base.load_s + 2 * base.batch_s, one.load_s + 2 * one.batch_s)
    assert one.pair_s(base, 4) == pytest.approx(slower + 6 * (base.batch_s + one.batch_s))
    assert one.pair_s(base, 5) == pytest.approx(slower + 5 * (base.batch_s + one.batch_s))


def test_too_few_windows_of_text_for_an_interval_are_noted(make: Make) -> None:
    found = facts(describe(make("drift.tokens=512", "drift.window=128")))
    assert found["note"].startswith("drift rests on 4 windows of text")
    assert "note" not in facts(describe(make("drift.tokens=640", "drift.window=128")))
    assert "note" not in facts(describe(make("drift.tokens=0")))


@pytest.mark.parametrize(("letters", "noted"), [(2_000, True), (20_000, False)])
def test_a_text_with_too_few_tokens_is_noted(make: Make, tmp_path: Path, letters: int, noted: bool) -> None:
    """It would be known after minutes of measuring. Most tokens are of three letters or more."""
    file = tmp_path / "text.txt"
    file.write_text("a" * letters)
    said = "drift.text has 2,000 bytes, in which may be fewer than the 1,024 tokens asked for"
    found = describe(make("drift.tokens=1024", "drift.window=128", f"drift.text={file}"))
    assert (said in " ".join(found.split())) == noted


def test_a_kind_of_workload_has_notes_of_its_own(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "one", "max_tokens": 9}\n' * 6)
    found = describe(make("workload.name=file", f"workload.file={file}", "workload.requests=6"))
    assert "a line has only prompt and chat; without a meaning here: max_tokens" in " ".join(found.split())


@pytest.mark.parametrize(
    ("letters", "said"),
    [
        (18, "drift.text has 18 bytes, which are less than a window of 128 tokens: that drift will not be"),
        (300, "drift rests on 2 windows of text, too few for an interval"),
        (3, "drift.text has 3 bytes, which are less than"),
    ],
)
def test_a_text_shorter_than_its_windows_is_noted(
    make: Make, tmp_path: Path, letters: int, said: str
) -> None:
    file = tmp_path / "text.txt"
    file.write_text("a" * letters)
    found = " ".join(describe(make("drift.tokens=1024", "drift.window=128", f"drift.text={file}")).split())
    assert said in found
    assert ("rests on" in found) == (letters == 300)


def test_a_limit_on_energy_that_nothing_measures_is_noted(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        meters, "find", lambda device, gpu=None: NoCounter("no_energy_counter", f"none of {device}")
    )
    grid = "energy={g_co2_per_kwh: 349.0, date: 2026-06-01, source: grid}"
    said = "bench gate would refuse this here: a limit on energy, which cannot be measured here: none of cpu"
    limit = "gate={co2_per_request_g: {max: 1}}"
    assert said in " ".join(describe(make(limit, grid)).split())
    assert "bench gate would refuse" not in describe(make(limit, grid, "energy.modelled_watts=65"))
    assert "bench gate would refuse" not in describe(make(grid))


def test_quantising_a_gguf_is_noted(make: Make, tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(gguf(WORDS, 1))
    text = TEXT.replace("model: smollm2-135m", f"model: {{path: {tmp_path}/mine.gguf}}")
    plain = ("workload.name=fixed", "workload.input_tokens=8")  # no chat: this file has no template
    assert facts(describe(make(*plain, text=text)))["note"] == MAY_BE_CONFOUNDED
    text = text.replace(", {quantise: bnb-nf4}", "")
    assert "note" not in facts(describe(make(*plain, text=text)))


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configs_have_enough_samples_for_intervals(path: Path) -> None:
    assert "too few for an interval" not in describe(read_config(path))


@pytest.mark.parametrize(
    ("seconds", "words"), [(3, "10 s"), (42, "40 s"), (100, "2 min"), (3000, "50 min"), (9000, "2.5 h")]
)
def test_an_estimate_has_few_digits(seconds: float, words: str) -> None:
    assert estimate._about(seconds) == words


@pytest.mark.parametrize(
    ("batches", "variants", "more"), [(49, 0, 0), (50, 0, 0), (60, 0, 10), (150, 2, 400)]
)
def test_only_the_first_rows_are_printed_in_full(make: Make, batches: int, variants: int, more: int) -> None:
    names = [("a", "bnb-nf4"), ("b", "torchao-int4")][:variants]
    text = "model: smollm2-135m\nruntime: {threads: 2}\nworkload: {requests: 150, output_tokens: 2}\n"
    text += "drift: {tokens: 1024}\nvariants:\n"
    text += "".join(f"  - {{name: {name}, optimise: [{{quantise: {scheme}}}]}}\n" for name, scheme in names)
    text = text if names else text.replace("variants:\n", "")
    sizes = ", ".join(str(size) for size in range(1, batches + 1))
    said = describe(make(text=f"{text}sweep: {{batch_size: [{sizes}]}}\n"))
    rows = batches * (variants + 1)
    assert len(re.findall(r"(?m)^  (baseline|a|b) ", said)) == min(rows, 50)
    if not more:
        assert "more row" not in said
        return
    (line,) = [line for line in said.splitlines() if "more row" in line]
    assert line.startswith(f"  and {more} more rows: ")
    if variants:
        assert "134 quantise torchao-int4, 133 not optimised, 133 quantise bnb-nf4" in line
        assert line.endswith("; 134 of them cannot run here")
    assert len(said) < 20_000


# ---- on a GPU ----------------------------------------------------------------------------------------

ON_GPU = TEXT.replace("device: cpu", "device: cuda").replace("cloud-2vcpu-8gb", "h100-80gb")
COMPILED = ON_GPU + "optimise: [{compile: inductor, mode: reduce-overhead}]\n"


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "cuda_device_count", lambda: 1)


@pytest.mark.usefixtures("one_gpu")
def test_an_eager_baseline_on_a_gpu_is_the_wrong_yardstick(make: Make) -> None:
    assert "the baseline is eager on a GPU" in describe(make(text=ON_GPU))
    assert "the baseline is eager on a GPU" not in describe(make(text=COMPILED))


def test_an_eager_baseline_on_a_cpu_is_not(make: Make) -> None:
    assert "eager on a GPU" not in describe(make())


@pytest.mark.usefixtures("one_gpu")
@pytest.mark.parametrize(
    ("design", "words"),
    [
        ("auto", "in turns by request,"),
        ("steps", "in turns with the baseline,"),
        ("requests", "in turns by request,"),
        ("abba", "one after the other,"),
    ],
)
def test_how_the_sides_share_a_gpu(make: Make, design: str, words: str) -> None:
    assert words in describe(make(f"measure.design={design}", text=COMPILED))


@pytest.mark.parametrize(
    ("design", "words"),
    [("auto", "in turns with the baseline,"), ("slices", "at the same time on one processor,")],
)
def test_how_the_sides_share_a_cpu(make: Make, design: str, words: str) -> None:
    assert words in describe(make("runtime.threads=1", f"measure.design={design}"))


def test_rows_of_the_baselines_kernels_share_a_cpu(make: Make) -> None:
    both = TEXT.replace(
        "price:", "  - name: pruned\n    optimise: [{prune: magnitude, sparsity: 0.25}]\nprice:"
    )
    said = describe(make("runtime.threads=1", text=both))
    assert "at the same time on one processor or in turns by token," in said
    assert "at the same time" not in describe(make("runtime.threads=2", text=both))


@pytest.mark.usefixtures("one_gpu")
@pytest.mark.parametrize("name", ["quantisation-gpu", "pruning-gpu"])
def test_the_shipped_gpu_configs_have_a_compiled_baseline(name: str) -> None:
    """And an eager variant, which is one; every row that can be compiled is."""
    spec = read_config(ROOT / "configs" / f"{name}.yaml", ())
    assert "eager on a GPU" not in describe(spec)
    (group,) = spec.groups
    assert [step.label for step in group.baseline.optimise] == [
        "compile inductor (least_tokens=256, mode=reduce-overhead)"
    ]
    rows = {arm.name: arm for arm in group.variants}
    assert rows["eager"].optimise == ()
    assert group.baseline.workload.requests >= 12


@pytest.mark.usefixtures("one_gpu")
def test_a_pair_on_a_gpu_is_estimated_with_its_twelve_requests(make: Make) -> None:
    spec = make("workload.requests=4", text=COMPILED)
    few = Load(spec.groups[0].baseline, estimate._facts(spec.groups[0].baseline.model), estimate.GPU_RATES)
    assert few.pair_s(few, 4) - few.pair_s(few, 1) == 0
    begun_s = few.load_s + few.arm.workload.warmup * few.batch_s
    assert few.pair_s(few, 4) == pytest.approx(begun_s + 12 * 2 * few.batch_s)


def same_file(one: str, other: str) -> bool:
    """Whether two models beside their cards have the same tokenizer."""
    first, second = (ROOT / "models" / name / "tokenizer.json" for name in (one, other))
    return first.read_bytes() == second.read_bytes()


def test_a_drafting_model_of_another_tokenizer_is_found_before_the_run(make: Make, tmp_path: Path) -> None:
    """It was found after both models were loaded. A model that is not here yet is not judged."""
    for name, words in (("large", "{}"), ("small", '{"other": 1}'), ("like", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_text(words)
    large = LocalPath(tmp_path / "large")

    def why(drafting: str) -> str | None:
        return why_other_tokens(large, [Optimisation("speculate", "draft-model", (("model", drafting),))])

    assert why(str(tmp_path / "like")) is None
    assert why(str(tmp_path / "large")) is None
    assert "has another tokenizer" in (why(str(tmp_path / "small")) or "")
    assert why("qwen3-235b-a22b") is None
    variants = "variants: [{name: v, optimise: [{speculate: draft-model, model: tiny-gemma3}]}]"
    (beside,) = make(text=f"model: tiny-qwen3-moe\n{variants}\n").groups[0].variants
    assert (beside.unsupported is None) == same_file("tiny-qwen3-moe", "tiny-gemma3")


@pytest.mark.parametrize(
    ("edge", "said"),
    [
        ("{model: smollm2-135m, usd_per_hour: 0.01}", True),
        ("{model: smollm2-135m, usd_per_hour: 0.01, dtype: float32}", True),
        ("{model: smollm2-135m, usd_per_hour: 0.01, dtype: bfloat16}", False),
        ("{model: smollm2-135m, usd_per_hour: 0.01, optimise: [{prune: depth, keep_layers: 26}]}", False),
        ("{model: qwen3-0.6b, usd_per_hour: 0.01}", False),
    ],
)
def test_a_cascade_of_one_model_is_told(make: Make, edge: str, said: bool) -> None:
    step = f"{{cascade: log-probability, threshold: -0.7, edge: {edge}}}"
    page = describe(make(text=f"model: smollm2-135m\nvariants: [{{name: v, optimise: [{step}]}}]\n"))
    assert ("v: its edge model is the large model itself" in page) == said


@pytest.mark.parametrize(
    ("suites", "cloud", "said"),
    [
        ("factuality, arithmetic", True, "so it is not asked factuality\n"),
        ("factuality", False, ""),
        ("arithmetic", True, ""),
    ],
)
def test_what_a_server_is_not_asked_is_told(make: Make, suites: str, cloud: bool, said: str) -> None:
    server = "{url: 'http://127.0.0.1:8000', model: m, usd_per_1m_input: 1, usd_per_1m_output: 2}"
    step = "cascade: margin, threshold: 0.5, edge: {model: smollm2-135m, usd_per_hour: 0.01}"
    row = f"{{{step}, cloud: {server}}}" if cloud else f"{{{step}}}"
    text = (
        f"model: smollm2-135m\ndrift: {{tokens: 0, suites: [{suites}]}}\n"
        f"variants: [{{name: v, optimise: [{row}]}}]\n"
    )
    page = f"{describe(make(text=text))}\n"
    assert ("no likelihoods of choices" in page) == bool(said)
    assert said in page
