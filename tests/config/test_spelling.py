"""Keys may be spelt in several ways, and ``--set`` overrides one."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_files import BASE, Write, changed, refusal

from bench.config.reader import read_config
from bench.config.set_option import override
from bench.errors import UsageError
from bench.yaml_source import BY_OPTION, MAX_DEPTH, YamlSource

pytestmark = pytest.mark.usefixtures("cpu_machine")


@pytest.mark.parametrize(
    "text", ["optimize: [{quantize: bnb-int8}]", "optimise: [{quantization: bnb-int8, threshold: 6}]"]
)
def test_other_spellings_are_the_same_keys(write: Write, text: str) -> None:
    (step,) = read_config(write(f"{BASE}{text}\n")).groups[0].baseline.optimise
    assert (step.verb, step.scheme, dict(step.params)) == ("quantise", "bnb-int8", {"threshold": 6.0})


def test_set_overrides_one_key_and_reads_it_as_yaml(write: Write) -> None:
    spec = read_config(
        write(BASE), ["workload.requests=9", "runtime.dtype=float16", "measure.max_rounds=2", "name=1e3 x"]
    )
    arm = spec.groups[0].baseline
    assert (arm.workload.requests, arm.runtime.dtype) == (9, "float16")
    assert (spec.measure.max_rounds, spec.name) == (2, "1e3 x")


def test_set_leaves_the_rest_as_it_was_read(write: Write) -> None:
    spec = read_config(write(changed("name: test", 'name: "1e3"')), ["workload.requests=9"])
    assert spec.name == "1e3"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("workload.requests", "write key=value"),
        ("=3", "write key=value"),
        ("name.deeper=3", "is not a block of keys"),
        ("workload.requests=3\nname: x", "one value, on one line"),
    ],
)
def test_set_that_cannot_be_meant(write: Write, override: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_config(write(BASE), [override])


@pytest.mark.parametrize(
    ("first", "then", "by"),
    [
        ("name=a", "name=b", "name"),
        ("workload.requests=3", "workload={requests: 4}", "workload"),
        ("optimise=[]", "optimize=[]", "optimise"),
    ],
)
def test_set_that_a_later_one_replaces(write: Write, first: str, then: str, by: str) -> None:
    """It was ignored without a word, and no other option is."""
    with pytest.raises(UsageError, match=f"does nothing: --set {by} comes after it and replaces it"):
        read_config(write(BASE), [first, "measure.max_rounds=2", then])


def test_set_of_a_block_and_then_of_a_key_in_it(write: Write) -> None:
    spec = read_config(write(BASE), ["measure={max_rounds: 2}", "measure.processes=3"])
    assert (spec.measure.max_rounds, spec.measure.processes) == (2, 3)


def test_what_the_command_line_gives_stands_on_no_line_of_the_file(write: Write, tmp_path: Path) -> None:
    """The line of the key holds another value, which is not what is wrong."""
    error = refusal(write(BASE), "workload.requests=0")
    assert str(error).startswith(f"{tmp_path / 'test.yaml'} with --set: workload.requests: ")
    error = refusal(write(BASE), "workload={requests: 0}")
    assert str(error).startswith(f"{tmp_path / 'test.yaml'} with --set: workload.requests: ")
    error = refusal(write(BASE), "mesure.max_rounds=2")
    assert str(error).startswith(
        f"{tmp_path / 'test.yaml'} with --set: mesure: unknown key (did you mean 'measure'?)"
    )
    error = refusal(write(changed("requests: 6", "requests: x")), "measure.max_rounds=2")
    assert str(error).startswith(f"{error.file}:9: workload.requests: ")


@pytest.mark.parametrize(
    ("override", "key", "words"),
    [
        ("workload.requests=0", "workload.requests", "greater than or equal to 1, not 0"),
        ("workload.requets=3", "workload.requets", "did you mean 'requests'?"),
        ("runtime.dtype=bfloat", "runtime.dtype", "did you mean 'bfloat16'?"),
        ("workload.requests=[1", "", "not valid YAML"),
    ],
)
def test_set_to_something_wrong(write: Write, override: str, key: str, words: str) -> None:
    error = refusal(write(BASE), override)
    assert error.key == key
    assert words in str(error)


def test_one_key_in_two_spellings_is_given_twice(write: Write) -> None:
    error = refusal(write(BASE + "optimise: []\noptimize: []\n"))
    assert (error.line, "given twice" in str(error)) == (17, True)


@pytest.mark.parametrize(("parts", "fits"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_a_key_has_at_most_so_many_parts(parts: int, fits: bool) -> None:
    source = YamlSource("c.yaml", {}, {})
    text = ".".join(["k"] * parts) + "=1"
    if not fits:
        with pytest.raises(UsageError, match=f"a key has at most {MAX_DEPTH} parts"):
            override(source, text)
        return
    changed_by = override(source, text)
    assert [changed_by.lines[("k",) * depth] for depth in range(1, parts + 1)] == [BY_OPTION] * parts
    assert () not in changed_by.lines
