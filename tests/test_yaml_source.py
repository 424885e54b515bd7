"""Every file `bench.yaml_source` must refuse, with its place, and what the others must come out as.

Each case runs with libyaml and with the pure-Python parser, because an installation may lack libyaml.
"""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import yaml_source
from bench.errors import ConfigError, ExitCode
from bench.yaml_source import MAX_ALIASES, MAX_BYTES, MAX_DEPTH, MAX_NODES, YamlSource, parse_yaml, read_yaml

LOADERS = [yaml.BaseLoader, *([yaml.CBaseLoader] if yaml.__with_libyaml__ else [])]
EITHER_PARSER = pytest.mark.parametrize("loader", LOADERS, indirect=True, ids=lambda one: one.__name__)


@pytest.fixture(autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(request, "param"):
        monkeypatch.setattr(yaml_source, "_LOADER", request.param)


def refused(text: str | bytes) -> ConfigError:
    """What parsing ``text`` complains about."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "spec.yaml")
    error = caught.value
    assert error.exit_code == ExitCode.USAGE
    assert error.file == "spec.yaml"
    assert "\n" not in str(error)
    return error


def value_of(plain: str) -> object:
    data = parse_yaml(f"key: {plain}\n", "spec.yaml").data
    assert isinstance(data, dict)
    return data["key"]


SPEC = """\
# a comment
model: tiny

variants:
  - name: base
    runtime: {dtype: float32, threads: 2}
  - name: quick
    runtime:
      dtype: float16
  -
    name: third
prompts: [a,
  b]
"""


@EITHER_PARSER
def test_data_and_the_line_of_every_key() -> None:
    source = parse_yaml(SPEC, "spec.yaml")
    assert source.data == {
        "model": "tiny",
        "variants": [
            {"name": "base", "runtime": {"dtype": "float32", "threads": 2}},
            {"name": "quick", "runtime": {"dtype": "float16"}},
            {"name": "third"},
        ],
        "prompts": ["a", "b"],
    }
    assert source.lines == {
        (): 2,
        ("model",): 2,
        ("variants",): 4,
        ("variants", 0): 5,
        ("variants", 0, "name"): 5,
        ("variants", 0, "runtime"): 6,
        ("variants", 0, "runtime", "dtype"): 6,
        ("variants", 0, "runtime", "threads"): 6,
        ("variants", 1): 7,
        ("variants", 1, "name"): 7,
        ("variants", 1, "runtime"): 8,
        ("variants", 1, "runtime", "dtype"): 9,
        ("variants", 2): 11,
        ("variants", 2, "name"): 11,
        ("prompts",): 12,
        ("prompts", 0): 12,
        ("prompts", 1): 13,
    }


def test_an_error_names_file_line_and_dotted_key() -> None:
    source = parse_yaml(SPEC, "spec.yaml")
    error = source.error(("variants", 1, "runtime", "dtype"), "unknown dtype", "use float16")
    assert str(error) == "spec.yaml:9: variants[1].runtime.dtype: unknown dtype (use float16)"


def test_a_missing_key_is_placed_at_its_nearest_parent() -> None:
    source = parse_yaml(SPEC, "spec.yaml")
    assert source.line(("variants", 1, "runtime", "threads")) == 8
    assert source.line(("variants", 7, "name")) == 4
    assert source.line(("seed",)) == 2
    assert YamlSource("made-up.yaml", {}, {}).line(("seed",)) is None
    assert str(source.error((), "no seed")) == "spec.yaml:2: no seed"


def test_a_hostile_key_stays_short_and_on_one_line_in_an_error() -> None:
    source = parse_yaml(json.dumps({"a\nb\x9b": 1, "x" * 900: 1, "": 1}).replace("\\u009b", "\\u202e"), "f")
    messages = [str(source.error((key,), "is unknown")) for key in source.data]  # type: ignore[attr-defined]
    assert messages[0] == "f:1: a b�: is unknown"
    assert len(messages[1]) < 100
    assert messages[2] == "f:1: '': is unknown"


def test_a_source_cannot_be_reassigned() -> None:
    with pytest.raises(FrozenInstanceError):
        parse_yaml(SPEC, "spec.yaml").file = "other"  # type: ignore[misc]


@EITHER_PARSER
@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("true", True),
        ("False", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("10", 10),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        (str(2**64), 2**64),
        ("0.5", 0.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("1e3", 1000.0),
        ("1E-3", 0.001),
        ("-1.5e+2", -150.0),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("010", "010"),
        ("0o10", "0o10"),
        ("0x10", "0x10"),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00Z"),
        ("3%", "3%"),
        ("nan", "nan"),
        ("=", "="),
        (".", "."),
        ("e3", "e3"),
        ("'10'", "10"),
        ('"true"', "true"),
        ("''", ""),
        ('".nan"', ".nan"),
        ("|\n  1\n", "1\n"),
        (">-\n  1\n", "1"),
        ("١٢", "١٢"),
        ('"a\\tb\\nc"', "a\tb\nc"),
        ('"\\u2028</script>"', "\u2028</script>"),
        ("😀", "😀"),
    ],
)
def test_what_a_value_means(plain: str, value: object) -> None:
    found = value_of(plain)
    assert type(found) is type(value)
    assert found == value


@EITHER_PARSER
@pytest.mark.parametrize("text", ["", " \n\n", "# only a comment\n", "---\n", "\ufeff", "---\n...\n", '""'])
@pytest.mark.bad_input(1)
def test_empty_file(text: str) -> None:
    assert refused(text).problem == "is empty"


@pytest.mark.bad_input(2)
def test_a_byte_order_mark_is_stripped() -> None:
    assert parse_yaml(b"\xef\xbb\xbfa: 1\n", "f") == YamlSource("f", {"a": 1}, {(): 1, ("a",): 1})


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a: 1\nb: \xff\n", 2),
        ("a: 1\n".encode("utf-16"), 1),
        (b"a: \xed\xa0\x80", 1),
        ("a: 1\nb: \ud800", 2),
    ],
)
@pytest.mark.bad_input(2)
def test_not_utf8(content: str | bytes, line: int) -> None:
    error = refused(content)
    assert (error.problem, error.line) == ("is not UTF-8 text", line)


@pytest.mark.parametrize(
    "character", ["\0", "\x07", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\ufeff", "\uffff"]
)
@pytest.mark.bad_input(2, 24)
def test_control_characters_in_the_text(character: str) -> None:
    error = refused(f"a: 1\nb: x{character}y\n")
    assert (error.problem, error.line) == (f"control character {character!r}", 2)


@EITHER_PARSER
@pytest.mark.parametrize("escape", ["\\0", "\\a", "\\e[31m", "\\r", "\\N", "\\x7f"])
def test_escaped_control_characters(escape: str) -> None:
    error = refused(f'a:\n  b: "{escape}"\n')
    assert error.problem.startswith("control character ")
    assert (error.line, error.key) == (2, "a.b")
    assert refused(f'"{escape}": 1').problem.startswith("control character ")


@EITHER_PARSER
@pytest.mark.parametrize("escape", ["\\ud800", "\\UFFFFFFFF", "\\U00110000", "\\q"])
def test_escapes_that_name_no_character(escape: str) -> None:
    refused(f'a: "{escape}"')


@EITHER_PARSER
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", 3),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\n  b: 2\n", 2),
        ("a: 1\nb: *nowhere\n", 2),
        ("a: &x 1\nb: &x 2\n", 2),
        ("a: 'open\n", 2),
        ("a: 1\nb: @x\n", 2),
        ("a: 1\nb\n", None),
    ],
)
def test_syntax_errors_name_a_line(text: str, line: int | None) -> None:
    error = refused(text)
    assert line is None or error.line == line
    assert error.line


@EITHER_PARSER
@pytest.mark.parametrize("text", ["- a\n- b\n", "[]", "text", "1", "null", "--- |\n text\n"])
@pytest.mark.bad_input(3)
def test_list_or_scalar_at_the_top(text: str) -> None:
    error = refused(text)
    assert "not a list" in error.problem
    assert error.line == 1


@EITHER_PARSER
@pytest.mark.parametrize("text", ["a: 1\n---\nb: 2\n", "a: 1\n---\n", "---\n---\na: 1"])
def test_more_than_one_document(text: str) -> None:
    error = refused(text)
    assert (error.problem, error.line) == ("more than one document", 2)


def test_document_marks_around_one_document_are_fine() -> None:
    assert parse_yaml("---\na: 1\n...\n", "f").data == {"a": 1}


@pytest.mark.parametrize(
    "text", ["%YAML 1.1\n---\na: 1", "%TAG ! tag:x,2000:\n---\na: 1", "a: 1\n...\n%X\n---\n"]
)
def test_directives(text: str) -> None:
    assert refused(text).problem == "a line may not start with %"


@EITHER_PARSER
@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system [touch pwned]",
        "!!python/name:os.system",
        "!function bench.cli.main.main",
        "!custom {a: 1}",
        "!<tag:example.org,2000:x> 1",
        "! 1",
        "!!timestamp 2024-01-31",
        "!!binary aGk=",
        "!!str 10",
    ],
)
@pytest.mark.bad_input(7, 8)
def test_tags(value: str) -> None:
    error = refused(f"a: 1\nb: {value}\n")
    assert error.problem.startswith("tags are not allowed: !") or "example.org" in error.problem
    assert error.line == 2


@EITHER_PARSER
@pytest.mark.bad_input(9)
def test_duplicate_keys_name_both_lines() -> None:
    error = refused("a:\n  - b: 1\n    c: 2\n    'b': 3\n")
    assert (error.line, error.key) == (4, "a[0].b")
    assert "lines 2 and 4" in error.problem
    assert "lines 1 and 2" in refused("a: 1\na: 1\n").problem
    assert refused("a: &x {b: 1, b: 2}").key == "a.b"


@EITHER_PARSER
@pytest.mark.parametrize("key", ["1", "1.5", "true", "null", "~", "? \n", "[a]", "{a: b}", "? - a\n", ".5"])
def test_keys_that_are_not_text(key: str) -> None:
    error = refused(f"{key}: x\n")
    assert error.problem == "a key is not text"
    assert error.line == 1


def test_quoted_and_odd_text_keys_are_fine() -> None:
    assert parse_yaml("'1': x\nno: y\n2024-01-31: z\n", "f").data == {"1": "x", "no": "y", "2024-01-31": "z"}


@EITHER_PARSER
def test_merge_keys() -> None:
    error = refused("a: &a {x: 1}\nb:\n  <<: *a\n")
    assert (error.line, error.key) == (3, "b")
    assert "merge keys" in error.problem


@EITHER_PARSER
@pytest.mark.parametrize("number", [".nan", ".NaN", ".inf", "-.inf", "+.INF", "1e999", "-1e999", "9" * 400])
@pytest.mark.bad_input(12)
def test_numbers_that_are_not_finite(number: str) -> None:
    error = refused(f"a: 1\nb: [0, {number}]\n")
    assert "finite" in error.problem
    assert (error.line, error.key) == (2, "b[1]")


@EITHER_PARSER
@pytest.mark.parametrize("number", ["9" * 1_000_000, "0." + "1" * 1_000_000, "1e" + "9" * 1_000_000])
def test_a_number_of_a_million_digits_is_refused_at_once(number: str) -> None:
    assert "at most" in refused(f"a: {number}").problem


@EITHER_PARSER
def test_an_alias_repeats_a_value_that_is_not_shared() -> None:
    source = parse_yaml("a: &a\n  x: [1, 2]\n\nb: *a\nc:\n- *a\n", "f")
    data = source.data
    assert data == {"a": {"x": [1, 2]}, "b": {"x": [1, 2]}, "c": [{"x": [1, 2]}]}
    assert isinstance(data, dict)
    assert data["a"] is not data["b"]
    assert data["a"]["x"] is not data["b"]["x"]
    assert source.line(("b",)) == 4
    assert source.line(("b", "x", 1)) == 2


@EITHER_PARSER
def test_too_many_aliases() -> None:
    def text(count: int) -> str:
        return "a: &a 1\nb:\n" + "- *a\n" * count

    assert parse_yaml(text(MAX_ALIASES), "f")
    error = refused(text(MAX_ALIASES + 1))
    assert (error.problem, error.line) == (f"more than {MAX_ALIASES} aliases", 3 + MAX_ALIASES)


def bomb(levels: int, width: int, seed: str) -> str:
    lines = [f"a0: &a0 {seed}"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels + 1)]
    return "\n".join(lines)


@EITHER_PARSER
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (bomb(9, 9, "lol"), "aliases"),
        (bomb(9, 7, "lol"), "values or"),
        (bomb(3, 9, "x" * 500_000), "characters"),
        (bomb(40, 1, "lol"), "nested deeper"),
    ],
)
@pytest.mark.bad_input(4)
def test_alias_bombs(text: str, problem: str) -> None:
    started = time.process_time()
    assert problem in refused(text).problem
    assert time.process_time() - started < 5


@EITHER_PARSER
@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "a: &a {b: *a}",
        "a: &a [*a, *a, *a]",
        "&a a: {b: &b [[*b]]}",
        "&r\na: *r",
        "a: &a {*a : 1}",
    ],
)
def test_recursive_aliases(text: str) -> None:
    refused(text)


@EITHER_PARSER
@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 10_000 + "]" * 10_000,
        "a: " + "{a: " * 10_000 + "1" + "}" * 10_000,
        "[" * 10_000,
        "- " * 10_000,
        "? " * 10_000,
        "a: " + "{? " * 10_000,
        "".join(" " * n + "a:\n" for n in range(1_000)),
    ],
)
@pytest.mark.bad_input(5)
def test_deep_nesting(text: str) -> None:
    error = refused(text)
    assert error.problem == f"nested deeper than {MAX_DEPTH} levels"
    assert error.line


@EITHER_PARSER
def test_the_depth_limit_to_the_level() -> None:
    def text(lists: int) -> str:
        return "a: " + "[" * lists + "]" * lists

    assert parse_yaml(text(MAX_DEPTH - 1), "f")
    refused(text(MAX_DEPTH))


@EITHER_PARSER
def test_too_many_values() -> None:
    assert parse_yaml("a:\n" + "- 1\n" * (MAX_NODES - 3), "f")
    error = refused("a:\n" + "- 1\n" * (MAX_NODES - 2))
    assert (error.problem, error.line) == (f"more than {MAX_NODES} values", MAX_NODES - 1)


def test_text_over_the_size_limit() -> None:
    head = "a: 1\n#"
    assert parse_yaml(head + "x" * (MAX_BYTES - len(head)), "f")
    assert refused(head + "x" * (MAX_BYTES - len(head) + 1)).problem == "is larger than 1 MiB"
    assert refused(head + "é" * (MAX_BYTES // 2)).problem == "is larger than 1 MiB"


@pytest.mark.parametrize(
    "text",
    [
        "%TAG !x! tag:x\n" * 60_000,
        "a: " + "[1, " * 200_000,
        "a: [" * 200_000,
        "a: " + "&a " * 300_000,
        "a:\n" + "- &a\n" * 200_000,
        'a: "' + "\\n" * 500_000 + '"',
        "a: |\n" + "\n" * 1_000_000,
        "a: " + "b\n " * 300_000,
        "".join(f"k{n}: 1\n" for n in range(90_000)),
        '"' + "x" * 1_000_000 + '": 1',
    ],
)
def test_the_worst_megabytes_take_no_time(text: str) -> None:
    started = time.process_time()
    result = read_or_refused(text)
    assert time.process_time() - started < 2
    assert isinstance(result, YamlSource) or len(str(result)) < 300


def test_reading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"a: 1\r\nb: 2\r\n")
    assert read_yaml(path) == YamlSource(str(path), {"a": 1, "b": 2}, {(): 1, ("a",): 1, ("b",): 2})


def unreadable(path: Path) -> ConfigError:
    started = time.process_time()
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert time.process_time() - started < 1
    assert caught.value.file == str(path)
    return caught.value


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in unreadable(tmp_path / "missing.yaml").problem


def test_a_directory(tmp_path: Path) -> None:
    assert "directory" in unreadable(tmp_path).problem


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert unreadable(tmp_path / "fifo").problem == "is a FIFO, not a regular file"


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device(device: str) -> None:
    assert unreadable(Path(device)).problem == "is a device, not a regular file"


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))  # root, as in CI, may read any file

    monkeypatch.setattr(os, "open", denied)
    assert "Permission denied" in unreadable(tmp_path / "spec.yaml").problem


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "loop"])
def test_a_name_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert unreadable(tmp_path / name).problem.startswith("cannot be read (")


@pytest.mark.bad_input(6)
def test_a_file_of_100_mb(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as stream:
        stream.truncate(100_000_000)
    assert unreadable(path).problem == "is larger than 1 MiB"


def test_importing_it_leaves_pyyaml_as_it_was() -> None:
    code = "import bench.yaml_source, yaml; print(yaml.safe_load('yes'), yaml.safe_load('1:30'))"
    root = Path(yaml_source.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "90"]


def read_or_refused(content: bytes | str) -> YamlSource | ConfigError:
    try:
        return parse_yaml(content, "f")
    except ConfigError as error:
        return error


def check_whatever_comes(content: bytes | str) -> None:
    result = read_or_refused(content)
    if isinstance(result, ConfigError):
        assert re.fullmatch(r"f(:[1-9][0-9]*)?: .+", str(result))
        return
    assert isinstance(result.data, dict)
    assert json.loads(json.dumps(result.data, allow_nan=False)) == result.data
    last_line = content.count(b"\n" if isinstance(content, bytes) else "\n") + 1  # type: ignore[arg-type]
    for path, line in result.lines.items():
        assert line >= 1
        assert line <= last_line or b"\r" in (content if isinstance(content, bytes) else content.encode())
        value: Any = result.data
        for part in path:
            value = value[part]


PIECES = st.sampled_from(
    [
        *"abc\n\n\n  :-[]{},'\"#&*!|>?%@`~\t\r\\",
        *[
            ": ",
            "- ",
            "\n- ",
            "\n  ",
            "\n    ",
            "a: ",
            "b: ",
            "---\n",
            "...\n",
            "&a ",
            "*a",
            "<<: ",
            "!!str ",
        ],
        *[
            "1",
            "1e9",
            ".nan",
            "true",
            "no",
            "010",
            '"\\x',
            "\\u12",
            "|-\n",
            "\ufeff",
            "\u2028",
            "\0",
            "é",
            "😀",
        ],
    ]
)
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"], exclude_characters="\ufeff<"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)
FUZZ = settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])


@EITHER_PARSER
@FUZZ
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    check_whatever_comes(content)


@EITHER_PARSER
@FUZZ
@given(st.lists(PIECES, max_size=60).map("".join))
def test_anything_that_looks_like_yaml_is_read_or_refused(text: str) -> None:
    check_whatever_comes(text)


@EITHER_PARSER
@settings(FUZZ, max_examples=100)
@given(st.dictionaries(TEXT, JSON, min_size=1, max_size=4), st.sampled_from([None, 1]))
def test_json_is_yaml(data: dict[str, object], indent: int | None) -> None:
    assert parse_yaml(json.dumps(data, ensure_ascii=False, indent=indent), "f").data == data
