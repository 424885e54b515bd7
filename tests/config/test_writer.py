"""What is written as YAML: our reader (YAML 1.2) and PyYAML (1.1) read it alike."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench.config.writer import write_yaml
from bench.yaml_source import parse_yaml

ODD = ["1e3", "12e3456", "1e999", ".inf", "no", "010", "0x10", "1:30", "null", "~", "true", "", " a", "a: b",
       "# a", "two\nlines", "-", "1" * 70, "2026-01-31", "=", "<<"]  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_text_stays_text(text: str) -> None:
    data = {"name": text, "variants": [{"name": text, text or "key": 1}]} if text != "<<" else {"name": text}
    written = write_yaml(data)
    assert yaml.safe_load(written) == data
    if "\n" not in text:
        assert parse_yaml(written, "f").data == data


@given(st.from_regex(r"[-+.0-9eE_:x]{1,12}", fullmatch=True))
def test_text_that_looks_like_a_number_stays_text(text: str) -> None:
    written = write_yaml({"name": text})
    assert yaml.safe_load(written) == parse_yaml(written, "f").data == {"name": text}


def test_numbers_and_words_stay_what_they_are() -> None:
    data = {"a": 1, "b": 0.5, "c": 1e25, "d": True, "e": None, "f": [1, "x"]}
    assert parse_yaml(write_yaml(data), "f").data == data
