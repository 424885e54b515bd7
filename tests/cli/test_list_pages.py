"""What `bench list` prints: everything there is, found by its file, with whether it can run here."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench import environments, plugins
from bench.cli.list_pages import KINDS, align, page, render, scheme
from bench.cli.model_pages import is_cached
from bench.cli.options import LISTS
from bench.cli.scheme_pages import find, line
from bench.config import models, support
from bench.config.steps import optimisations
from bench.errors import UsageError
from bench.formatting import with_ordinals
from bench.metrics import all_metrics
from bench.models import disk_cache, fetch
from bench.models.convert import GRID_FILE
from bench.models.reference import Named
from bench.models.registry import all_models, find_model
from bench.optimisations import verbs
from bench.pricing.book import default_book
from bench.records.grid import grid_of
from bench.serving import environments as serving_environments
from bench.serving.engines.adapter import Adapter
from bench.yaml_source import parse_yaml


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU machine on which everything is installed."""
    monkeypatch.setattr(support, "cuda_device_count", lambda: 0)
    monkeypatch.setattr(plugins, "missing_packages", lambda module: ())
    monkeypatch.setattr(Adapter, "is_here", lambda _self: True)


def lines(kind: str) -> dict[str, str]:
    """The lines of one list by their first cell."""
    title, *rows = render([kind]).splitlines()
    assert title.split()[0] == kind
    return {row.strip().split("  ")[0]: row for row in rows}


def test_every_plug_in_is_listed_with_its_first_line() -> None:
    for kind, package in {
        "runtimes": "runtimes", "workloads": "workloads", "texts": "texts", "probes": "probes",
        "reports": "report.formats",
    }.items():  # fmt: skip
        found = lines(kind)
        assert tuple(found) == plugins.names(package)
        for name, module in plugins.each(package):
            assert plugins.describe(module) in found[name]
            assert "  here  " in found[name] or getattr(module, "SERVER", False)  # a program of its own


def test_suites_and_statistics_of_drift_stand_under_their_key_in_the_config() -> None:
    found = lines("drift")
    kinds = ("suites", "statistics")
    assert list(found) == [f"{key}: {name}" for key in kinds for name in plugins.names(f"drift.{key}")]
    assert {"suites: generation", "statistics: jensen-shannon"} <= set(found)
    for key in kinds:
        for name, module in plugins.each(f"drift.{key}"):
            assert plugins.describe(module) in found[f"{key}: {name}"]
            assert "  here  " in found[f"{key}: {name}"]


def test_optimisations_stand_under_their_verb() -> None:
    found = lines("optimisations")
    assert list(found) == [
        f"{verb}: {name}" for verb in verbs() for name in plugins.names(f"optimisations.{verb}")
    ]


def test_a_scheme_says_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = lines("optimisations")
    assert "  here  " in found["prune: magnitude"]
    assert found["quantise: torch-int8-dynamic"].endswith("(in float32 only)")
    monkeypatch.setattr(support, "cuda_device_count", lambda: 1)
    found = lines("optimisations")
    assert "  here  " in found["prune: magnitude"]
    assert "  not here  " in found["quantise: torch-int8-dynamic"]
    assert "(not on cuda: torch dynamic int8 has CPU kernels only" in found["quantise: torch-int8-dynamic"]


def lacking(module: ModuleType) -> tuple[str, ...]:
    """The first package of everything."""
    return getattr(module, "REQUIRES", ())[:1]


def test_what_is_missing_comes_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        plugins, "missing_packages", lambda m: () if m.__name__.endswith(".transformers") else lacking(m)
    )
    assert "pip install 'inference-cost-bench[bitsandbytes]'" in lines("optimisations")["quantise: bnb-nf4"]
    assert "pip install pyarrow" in lines("reports")["parquet"]
    monkeypatch.setattr(plugins, "missing_packages", lacking)
    assert "pip install 'inference-cost-bench[transformers]'" in lines("runtimes")["transformers"]
    assert "pip install 'inference-cost-bench[transformers]'" in lines("optimisations")["quantise: bnb-nf4"]


def test_an_engine_with_an_environment_is_here_once_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(plugins, "missing_packages", lacking)
    for kind, name in (("runtimes", "llama-cpp"), ("optimisations", "quantise: gguf")):
        row = lines(kind)[name]
        assert "  not here  " in row
        assert row.endswith("not made yet: bench env make llama-cpp)")
    home = environments.interpreter("llama-cpp", None)
    assert home is not None
    home.parent.mkdir(parents=True)
    (home.parents[2] / environments.COMPLETE).touch()
    assert lines("runtimes")["llama-cpp"].endswith("(in an environment of its own)")
    assert "  here  " in lines("optimisations")["quantise: gguf"]


def test_a_server_with_an_environment_is_here_once_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(Adapter, "is_here", lambda _self: False)
    assert lines("runtimes")["vllm-offline"].endswith("(bench env make vllm)")
    monkeypatch.setattr(serving_environments, "made", lambda _name: tmp_path)
    for name in ("vllm", "vllm-offline"):
        assert lines("runtimes")[name].endswith("(in an environment of its own)")


# ---- one scheme --------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["hqq", "quantise hqq", "quantise/hqq", "quantise: hqq", "quantize hqq"])
def test_a_scheme_is_found_however_it_is_written(words: str) -> None:
    assert scheme(words.split()) == scheme(["hqq"])


def test_all_about_one_scheme() -> None:
    text = scheme(["hqq"])
    assert text.startswith("quantise: hqq\n")
    assert "Badri and Shaji 2023" in text
    assert "``group_size`` weights share a scale and a zero point." in text
    assert "  bits        4   8, 4, 3, 2 or 1\n  group_size  64  16, 32, 64 or 128\n" in text
    assert "  needs    hqq\n  engine   transformers\n  here     runs on cpu\n" in text
    assert "  repeats  runs on a CPU differ by 4.5% more than their pairs show; intervals" in text
    assert text.endswith("\n- {name: hqq, optimise: [{quantise: hqq, bits: 4, group_size: 64}]}")


def test_settings_that_need_no_value_and_those_of_other_kinds() -> None:
    rows = {
        row.split()[0]: row.split(maxsplit=2)[1:] for row in scheme(["depth"]).splitlines() if row[:2] == "  "
    }
    assert rows["keep_layers"] == ["null", "a whole number or null"]
    assert rows["drop"] == ["[]", "a list, each a whole number"]
    assert rows["by"] == ["influence", "influence or last"]
    assert re.search(r"  double_quant +false +true or false\n", scheme(["bnb-nf4"]))
    assert "runs on cpu in float32 only" in scheme(["torch-int8-dynamic"])


@pytest.mark.parametrize("verb", verbs())
def test_the_row_that_is_shown_can_be_pasted(verb: str) -> None:
    for name in plugins.names(f"optimisations.{verb}"):
        source = parse_yaml("variants:\n" + line(*find((verb, name))), "pasted")
        data: Any = source.data
        (step,) = optimisations(source, data["variants"][0]["optimise"], ("variants", 0, "optimise"))
        assert (step.verb, step.scheme) == (verb, name)
    assert "runtime: {name: llama-cpp}" in scheme(["gguf"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hqqq", "no scheme called 'hqqq' (did you mean 'quantise hqq'?)"),
        ("quantise/hqqq", "no quantise scheme called 'hqqq' (did you mean 'hqq'?)"),
        ("zzzzzz", "no scheme called 'zzzzzz' (see `bench list optimisations`)"),
        ("prune depth width", "no scheme called 'prune depth width' (did you mean 'prune width'?)"),
        ("/", "no scheme called '' (see `bench list optimisations`)"),
    ],
)
def test_a_wrong_scheme_names_the_nearest(words: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        scheme(words.split())
    assert str(caught.value) == said


# ---- one model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [model.name for model in all_models()])
def test_a_page_has_the_whole_card(name: str) -> None:
    model = find_model(name)
    text = " ".join(page("models", [name]).split())
    assert text.startswith(f"{name} {model.description}.")
    assert all(f" {key} " in text for key in model.config)
    assert f"parameters {model.architecture.parameters:,}" in text
    for words in (model.licence, model.licence_limits, model.hub, model.precision, model.homepage):
        assert words is None or f" {words} " in text or f"{words}: " in text


def test_a_page_says_what_the_makers_say_and_how_the_model_reasons() -> None:
    text = page("models", ["deepseek-r1"])
    assert "671,026,404,352 (the makers say 671B)" in text
    assert "37,552,282,624 (the makers say 37B)" in text
    assert re.search(r"reasoning +yes, between <think> and </think>\n", text)
    assert re.search(r"cache a token +68\.6 KiB at 16 bits\n", text)
    assert re.search(r"reasoning +no\n", page("models", ["deepseek-v3"]))


@pytest.mark.parametrize(
    "name", [model.name for model in all_models() if model.kind == "decoder" and model.source is None]
)
def test_the_lines_that_are_shown_can_be_pasted(name: str) -> None:
    shown = [row.strip() for row in page("models", [name]).splitlines() if row.startswith("  model: ")]
    for row in shown:
        source = parse_yaml(row.partition("}")[0].replace("...", "a" * 40) + "}", "pasted")
        data: Any = source.data
        if "path" not in data["model"]:
            assert models.read_model(source, data["model"], ("model",), find_model)
    assert len(shown) == 2 + bool(find_model(name).hub)


def test_a_page_of_an_encoder_says_how_a_config_uses_it() -> None:
    assert "model: {random: bge-small-en-v1.5}" in page("models", ["bge-small-en-v1.5"])


def test_a_wrong_model_names_the_nearest_and_other_lists_have_no_pages() -> None:
    with pytest.raises(UsageError, match="did you mean 'gemma3-27b'"):
        page("models", ["gemma-27b"])
    with pytest.raises(UsageError, match="only optimisations and models have more to show"):
        page("texts", ["english"])


# ---- the other lists ---------------------------------------------------------------------------------


def cells_of(row: str) -> list[str]:
    return [cell.strip() for cell in row.split("  ") if cell]


def test_models_say_where_they_come_from_and_whether_they_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    found = lines("models")
    assert tuple(found) == ("name", *(model.name for model in all_models()))
    assert cells_of(found["smollm2-135m"])[:6] == [
        "smollm2-135m", "135M", "Apache-2.0", "package", "not fetched", "no",
    ]  # fmt: skip
    assert cells_of(found["deepseek-r1"])[:6] == [
        "deepseek-r1", "671B (37.6B active)", "MIT", "hub", "pin a revision", "yes",
    ]  # fmt: skip
    assert cells_of(found["gemma3-1b"])[1] == "1.00B"
    assert "package" in cells_of(found["all-minilm-l6-v2"])
    assert found["smollm2-135m"].endswith("weights moved off the grid of their file when they are fetched")
    assert "hub" in found["qwen3-0.6b"]
    assert "random only" in found["tiny-llama"]
    assert re.search(r"  directory  +here  ", found["tiny-gemma3"])


@pytest.mark.parametrize(
    "name", [model.name for model in all_models() if model.source and not model.source.directory]
)
def test_a_model_is_cached_where_a_fetch_would_put_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of a hub model is built in two places; this is what keeps them equal."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    asked: list[str] = []

    def fill(key: str, build: object) -> Path:
        asked.append(key)
        raise InterruptedError

    monkeypatch.setattr(disk_cache, "fill", fill)
    with pytest.raises(InterruptedError):
        fetch.ensure(Named(name))
    assert not is_cached(find_model(name))
    entry = disk_cache.model_cache_dir(asked[0])
    entry.mkdir(parents=True)
    (entry / disk_cache.MARKER).write_text('{"files": {}}')
    assert is_cached(find_model(name))
    assert "  cached  " in lines("models")[name]
    (entry / GRID_FILE).write_text(json.dumps(asdict(grid_of("Q5_1"))))
    said = "weights dequantised from Q5_1 (blocks of 32, 32 levels), and still on that grid"
    source = find_model(name).source
    ours = source is not None and source.package is not None  # a repository may have a file of that name
    assert lines("models")[name].endswith(said) == ours


def test_a_shape_is_never_cached() -> None:
    assert not is_cached(find_model("tiny-llama"))


def test_metrics_have_key_unit_direction_and_formula() -> None:
    found = lines("metrics")
    assert tuple(found) == tuple(all_metrics())
    for key, metric in all_metrics().items():
        assert found[key].endswith(with_ordinals(metric.formula))
        assert f"  {metric.unit}  " in found[key]
    assert "  lower is better  " in found["ttft_ms"]
    assert "  higher is better  " in found["top1_agreement"]
    assert "  -  " in found["length_ratio"]


def test_prices_have_id_dollars_date_and_source() -> None:
    found = lines("prices")
    assert list(found) == sorted(default_book())
    for price in default_book().values():
        assert f"{price.hourly_usd:.4f} USD/h" in found[price.id]
        assert str(price.date) in found[price.id]
        assert price.source.split()[0] in found[price.id]


def test_several_lists_come_one_after_the_other() -> None:
    text = render(["texts", " metrics"])
    assert text.index("texts\n") < text.index("\n\nmetrics\n")
    assert set(KINDS) == {
        "models", "optimisations", "runtimes", "workloads", "texts", "metrics", "drift", "probes", "prices",
        "reports",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("optimizations", "did you mean 'optimisations'?"),
        ("model", "did you mean 'models'?"),
        ("", "known: models"),
        ("z" * 999, "known: models"),
    ],
)
def test_an_unknown_list_names_the_nearest(kind: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        render(["texts", kind])
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_columns_are_aligned() -> None:
    assert align([("a", "bb", "c"), ("aaa", "b", "ccc ccc")]) == ["a    bb  c", "aaa  b   ccc ccc"]
    assert align([]) == []


def test_the_last_column_wraps_or_goes_below() -> None:
    long = "word " * 19 + "word"
    for width in (30, 50, 80):
        found = align([("name", "here", long), ("b", "not here", "c")], width)
        assert max(map(len, found)) <= width - 2
        assert found[0].startswith("name  here") or found[0] == "name  here"
        assert " ".join(" ".join(found).split()) == f"name here {long} b not here c"
    assert align([("name", "here", long)], 30)[1].startswith("    word")


def test_the_command_line_names_every_list() -> None:
    assert LISTS.split(",") == list(KINDS)


def test_control_characters_of_a_plug_in_do_not_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("evil")
    module.__doc__ = "red \x1b[31m text"
    monkeypatch.setattr(plugins, "each", lambda package: iter([("evil", module)]))
    assert "\x1b" not in render(["workloads"])
