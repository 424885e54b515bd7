"""A scheme may say where it cannot run; one that says nothing runs everywhere."""

from __future__ import annotations

from types import ModuleType

import pytest

from bench.optimisations import unsupported
from bench.optimisations.shared import bnb


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_scheme_that_says_nothing_runs_everywhere(device: str, dtype: str) -> None:
    assert unsupported(ModuleType("scheme"), device, dtype) is None


def test_a_scheme_gives_its_own_reason() -> None:
    scheme = ModuleType("scheme")
    scheme.__dict__["unsupported"] = lambda device, dtype: None if device == "cpu" else f"not in {dtype}"
    assert unsupported(scheme, "cpu", "float16") is None
    assert unsupported(scheme, "cuda", "float16") == "not in float16"


@pytest.mark.parametrize(
    ("rows", "columns", "block_size", "said"),
    [(64, 192, 128, ": block_size 64 fits"), (64, 256, 512, ": block_size 256 fits"),
     (40, 256, 128, ""), (64, 96, 64, "")],
)  # fmt: skip
def test_bitsandbytes_names_a_block_that_fits(rows: int, columns: int, block_size: int, said: str) -> None:
    assert bnb._smaller(rows, columns, block_size) == said
