"""A small model for the tests of suites."""

from __future__ import annotations

from typing import Any

import pytest
from byte_tokenizer import write_tokenizer
from engines import saved, sizes

from bench.engine import Options
from bench.runtimes import transformers as runtime


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import transformers

    path = saved(
        transformers.LlamaConfig(**sizes(96), max_position_embeddings=128), tmp_path_factory.mktemp("m")
    )
    write_tokenizer(path)
    return runtime.load(path, Options(device="cpu", threads=1))
