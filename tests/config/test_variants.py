"""Variants with a sweep of their own: the rows that they make, and those that are refused."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from config_files import Write, refusal

from bench.config.json_schema import json_schema
from bench.config.reader import read_config, read_groups
from bench.config.variants import MAX_ROWS, MOST_LETTERS
from bench.errors import UsageError

pytestmark = pytest.mark.usefixtures("cpu_machine")

HEAD = "model: smollm2-135m\nvariants:\n"


PRUNED = "name: p, optimise: [{prune: magnitude}]"
TWO = f"{HEAD}  - {{{PRUNED}, sweep: {{sparsity: [0.3, 0.6]}}}}\n"


def rows(path: Path, *only: str) -> dict[str, list[str]]:
    return {
        arm.name: [f"{step.verb} {step.scheme}" for step in arm.optimise]
        for arm in read_config(path, only=only).groups[0].variants
    }


def test_a_row_for_each_value_of_a_setting(write: Write) -> None:
    path = write(
        f"{HEAD}  - name: pruned\n"
        "    optimise: [{prune: magnitude, sparsity: 0.9}, {quantise: bnb-nf4}]\n"
        "    sweep: {sparsity: [0.25, 0.5], dtype: [bfloat16]}\n  - {name: same}\n"
    )
    found = read_config(path).groups[0]
    assert [arm.name for arm in found.variants] == [
        "pruned sparsity=0.25 dtype=bfloat16", "pruned sparsity=0.5 dtype=bfloat16", "same",
    ]  # fmt: skip
    assert [dict(arm.optimise[0].params)["sparsity"] for arm in found.variants[:2]] == [0.25, 0.5]
    assert [arm.optimise[1].scheme for arm in found.variants[:2]] == ["bnb-nf4", "bnb-nf4"]
    assert [arm.runtime.dtype for arm in found.variants] == ["bfloat16", "bfloat16", "float32"]
    assert found.baseline.optimise == ()


def test_a_row_for_each_scheme_of_a_kind(write: Write) -> None:
    """Without a name the values name the rows; a kind that no step has is a step at the end."""
    path = write(f"{HEAD}  - sweep: {{quantize: [bnb-nf4, bnb-int8]}}\n")
    assert rows(path) == {
        "quantise=bnb-nf4": ["quantise bnb-nf4"], "quantise=bnb-int8": ["quantise bnb-int8"],
    }  # fmt: skip
    both = write(f"{HEAD}  - {{name: a, sweep: {{prune: [magnitude, wanda], quantise: [bnb-nf4]}}}}\n")
    assert rows(both) == {
        f"a prune={scheme} quantise=bnb-nf4": [f"prune {scheme}", "quantise bnb-nf4"]
        for scheme in ("magnitude", "wanda")
    }
    other = write(f"{HEAD}  - {{name: a, optimise: [{{prune: wanda}}], sweep: {{prune: [magnitude]}}}}\n")
    assert rows(other) == {"a prune=magnitude": ["prune magnitude"]}


def test_its_rows_are_chosen_by_their_names_or_by_its_own(write: Write) -> None:
    path = write(TWO + "  - {name: same}\n")
    assert [*rows(path, "p")] == ["p sparsity=0.3", "p sparsity=0.6"]
    assert [*rows(path, "p sparsity=0.6", "same")] == ["p sparsity=0.6", "same"]
    with pytest.raises(UsageError, match=r"did you mean 'p sparsity=0\.6'"):
        rows(path, "p sparsity=0.66")


def test_what_a_run_writes_and_a_group_alone_have_the_rows_one_by_one(write: Write, tmp_path: Path) -> None:
    path = write(TWO + "sweep: {batch_size: [1, 2]}\n")
    spec, groups = read_groups(path)
    kept = tmp_path / "kept.yaml"
    kept.write_text(spec.expanded, "utf-8")
    assert read_config(kept).groups == spec.groups
    assert [one["name"] for one in spec.content["variants"]] == ["p sparsity=0.3", "p sparsity=0.6"]
    kept.write_text(yaml.safe_dump(groups[1]), "utf-8")
    alone = read_config(kept).groups[0]
    assert (alone.baseline, alone.variants) == (spec.groups[1].baseline, spec.groups[1].variants)
    _spec, chosen = read_groups(path, only=["p sparsity=0.6"])
    assert [one["name"] for one in chosen[0]["variants"]] == ["p sparsity=0.6"]


def test_an_editor_knows_it() -> None:
    schema = jsonschema.Draft202012Validator(json_schema())
    good = {"model": "smollm2-135m", "variants": [{"sweep": {"quantise": ["bnb-nf4"], "sparsity": [0.3]}}]}
    assert not [*schema.iter_errors(good)]
    for bad in (
        {},
        {"sweep": {"quantise": ["no-such"]}},
        {"sweep": {"sparsity": []}},
        {"sweep": {"sparsty": [1]}},
    ):
        assert [*schema.iter_errors({"model": "smollm2-135m", "variants": [bad]})], bad


@pytest.mark.parametrize(
    ("variant", "key", "words"),
    [
        (f"{PRUNED}, sweep: {{}}", "variants[0].sweep", "must be a block of lists"),
        (f"{PRUNED}, sweep: null", "variants[0].sweep", "must be a block of lists"),
        (f"{PRUNED}, sweep: {{sparsity: 0.5}}", "variants[0].sweep.sparsity", "must be a list"),
        (f"{PRUNED}, sweep: {{sparsity: [0.5, 0.5]}}", "variants[0].sweep.sparsity", "given twice"),
        (f"{PRUNED}, sweep: {{sparsty: [0.5]}}", "variants[0].sweep.sparsty", "did you mean 'sparsity'?"),
        (f"{PRUNED}, sweep: {{sparsity: [0.5, 1.5]}}", "variants[0].optimise[0]", "strictly between 0 and 1"),
        (f"{PRUNED}, sweep: {{prune: [magnitud]}}", "variants[0].optimise[0].prune", "'magnitude'"),
        ("name: p, sweep: {sparsity: [0.5]}", "variants[0].sweep.sparsity", "unknown key"),
        ("optimise: 5, sweep: {quantise: [bnb-nf4]}", "variants[0].optimise", "must be a list of steps"),
        ("optimise: [5], sweep: {quantise: [bnb-nf4]}", "variants[0].optimise[0]", "names one kind"),
        ("name: 7, sweep: {dtype: [float16]}", "variants[0].name", "needs a name"),
        (
            f"name: p, sweep: {{file: [{'a' * MOST_LETTERS}]}}",
            "variants[0].name",
            "with the values of its sweep",
        ),
        (f"name: p, sweep: {{requests: {[*range(1, MAX_ROWS + 2)]}}}", "variants[0].sweep", "over the limit"),
        (
            "name: p, optimise: [{prune: magnitude}, {prune: wanda}], sweep: {sparsity: [0.3]}",
            "variants[0].sweep.sparsity",
            "belongs to two steps (write a variant for each value)",
        ),
    ],
)
def test_a_sweep_of_a_variant_is_refused(write: Write, variant: str, key: str, words: str) -> None:
    error = refusal(write(f"{HEAD}  - {{{variant}}}\n"))
    assert (error.line, error.key) == (3, key)
    assert words in str(error)


def test_two_rows_of_one_name_and_too_many_rows_are_refused(write: Write) -> None:
    twice = "  - {sweep: {dtype: [float16]}}\n" * 2
    assert "'dtype=float16' is taken" in str(refusal(write(HEAD + twice)))
    for name, other in (
        ("'caf\u00e9'", "'cafe\u0301'"),
        ("nf4", "\uff4ef4"),
        ("a b", "'a  b'"),
        ("x", "'baseline '"),
    ):
        error = refusal(write(f"{HEAD}  - {{name: {name}}}\n  - {{name: {other}}}\n"))
        assert "looks like" in str(error)
        assert error.line == 4
    many = "".join(f"  - {{name: v{n}, sweep: {{requests: {[*range(1, 601)]}}}}}\n" for n in range(2))
    assert f"make more than {MAX_ROWS} rows" in str(refusal(write(HEAD + many)))
