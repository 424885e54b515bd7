"""Whether a device multiplies bfloat16 itself, by the flags of its processor."""

from __future__ import annotations

import pytest
import torch

from bench.engine import bfloat16
from bench.machine import proc

X86 = "flags\t\t: fpu avx2 {} fma"
ARM = "Features\t: fp asimd {} i8mm"


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (X86.format("avx512_bf16"), True),
        (X86.format("amx_bf16 amx_tile"), True),
        (X86.format("avx512f"), False),
        (ARM.format("bf16"), True),
        (ARM.format("svebf16"), False),
        ("", False),
    ],
)
def test_the_flags_decide(monkeypatch: pytest.MonkeyPatch, info: str, expected: bool) -> None:
    """Of the second processor nothing is read."""
    text = f"processor\t: 0\n{info}\n\nprocessor\t: 1\n{X86.format('avx512_bf16')}\n"
    monkeypatch.setattr(proc, "text_of", lambda _path: text)
    assert bfloat16.multiplies(torch.device("cpu")) is expected


def test_a_system_that_says_nothing_multiplies_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "text_of", lambda _path: None)
    assert not bfloat16.multiplies(torch.device("cpu"))
    assert not bfloat16.multiplies(torch.device("meta"))
