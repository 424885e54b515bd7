"""A small config as text, and the refusal of one that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.reader import read_config
from bench.errors import ConfigError, ExitCode

BASE = """\
name: test
model: {random: tiny-llama}
runtime:
  device: cpu
  dtype: float32
  threads: 1
workload:
  name: chat
  requests: 6
  output_tokens: 8
variants:
  - name: bf16
    runtime: {dtype: bfloat16}
price: {hardware: cloud-2vcpu-8gb}
drift: {tokens: 0}
"""
Write = Callable[[str], Path]


def refusal(path: Path, *overrides: str) -> ConfigError:
    """What the file is refused with: exit 2, its name and line, one line of text."""
    with pytest.raises(ConfigError) as caught:
        read_config(path, overrides)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return caught.value


def changed(old: str, new: str) -> str:
    """The small config with one part of its text replaced."""
    assert old in BASE
    return BASE.replace(old, new, 1)
