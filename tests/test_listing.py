"""What `bench list` prints: everything there is, found by its file, with whether it can run here."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from bench import arms, plugins
from bench.errors import UsageError
from bench.listing import KINDS, align, is_cached, render
from bench.metrics import METRICS
from bench.models import cache, fetch
from bench.models.reference import Named
from bench.models.registry import all_models
from bench.optimisations import VERBS
from bench.pricing.book import default_book


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU machine on which everything is installed."""
    monkeypatch.setattr(arms, "cuda_device_count", lambda: 0)
    monkeypatch.setattr(plugins, "missing_packages", lambda module: ())


def lines(kind: str) -> dict[str, str]:
    """The lines of one list by their first cell."""
    title, *rows = render([kind]).splitlines()
    assert title == kind
    return {row.strip().split("  ")[0]: row for row in rows}


def test_every_plug_in_is_listed_with_its_first_line() -> None:
    for kind, package in {
        "runtimes": "runtimes", "workloads": "workloads", "texts": "texts", "drift": "drift",
        "reports": "report.formats",
    }.items():  # fmt: skip
        found = lines(kind)
        assert tuple(found) == plugins.names(package)
        for name, module in plugins.each(package):
            assert plugins.describe(module) in found[name]
            assert "  here  " in found[name]


def test_optimisations_stand_under_their_verb_with_their_settings() -> None:
    found = lines("optimisations")
    assert list(found) == [
        f"{verb}: {name}" for verb in VERBS for name in plugins.names(f"optimisations.{verb}")
    ]
    assert "sparsity=0.5" in found["prune: magnitude"]
    assert "double_quant=False, compute_dtype=None, block_size=64" in found["quantise: bnb-nf4"]
    assert "no settings" in found["quantise: torch-int8-dynamic"]


def test_a_scheme_says_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = lines("optimisations")
    assert "  runs on cpu  " in found["prune: magnitude"]
    assert "  runs on cpu in float32  " in found["quantise: torch-int8-dynamic"]
    monkeypatch.setattr(arms, "cuda_device_count", lambda: 1)
    found = lines("optimisations")
    assert "  runs on cuda  " in found["prune: magnitude"]
    assert "not on cuda: torch dynamic int8 has CPU kernels only" in found["quantise: torch-int8-dynamic"]


def test_what_is_missing_comes_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "missing_packages", lambda module: getattr(module, "REQUIRES", ())[:1])
    assert "pip install 'inference-cost-bench[bitsandbytes]'" in lines("optimisations")["quantise: bnb-nf4"]
    assert "pip install 'inference-cost-bench[transformers]'" in lines("runtimes")["transformers"]
    assert "pip install pyarrow" in lines("reports")["parquet"]


def test_models_say_where_they_come_from_and_whether_they_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    found = lines("models")
    assert tuple(found) == tuple(model.name for model in all_models())
    assert [cell.strip() for cell in found["smollm2-135m"].split("  ") if cell][1:5] == [
        "package", "not fetched", "135M", "Apache-2.0",
    ]  # fmt: skip
    assert "hub" in found["qwen3-0.6b"]
    assert "random only" in found["tiny-llama"]


@pytest.mark.parametrize("name", [model.name for model in all_models() if model.source])
def test_a_model_is_cached_where_a_fetch_would_put_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is built in two places; this is what keeps them equal."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    asked: list[str] = []

    def fill(key: str, build: object) -> Path:
        asked.append(key)
        raise InterruptedError

    monkeypatch.setattr(cache, "fill", fill)
    with pytest.raises(InterruptedError):
        fetch.ensure(Named(name))
    assert not is_cached(name)
    entry = cache.model_cache_dir(asked[0])
    entry.mkdir(parents=True)
    (entry / cache.MARKER).write_text('{"files": {}}')
    assert is_cached(name)
    assert "  cached  " in lines("models")[name]


def test_a_shape_is_never_cached() -> None:
    assert not is_cached("tiny-llama")


def test_metrics_have_key_unit_direction_and_formula() -> None:
    found = lines("metrics")
    assert tuple(found) == tuple(METRICS)
    for key, metric in METRICS.items():
        assert found[key].endswith(metric.formula)
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
        "models", "optimisations", "runtimes", "workloads", "texts", "metrics", "drift", "prices", "reports",
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


def test_control_characters_of_a_plug_in_do_not_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("evil")
    module.__doc__ = "red \x1b[31m text"
    monkeypatch.setattr(plugins, "each", lambda package: iter([("evil", module)]))
    assert "\x1b" not in render(["runtimes"])
