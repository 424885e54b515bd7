"""A GGUF file as it came, quantised by whoever made it: the one the model was taken from, or one by its path.

The baseline of transformers has the same weights unpacked, so what drift there is comes of the arithmetic:
llama.cpp rounds activations to int8 before it multiplies them with packed weights.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.engine.evidence import Census, Check, check
from bench.errors import Unsupported

REQUIRES = ("llama_cpp",)
RUNTIMES = ("llama-cpp",)
FLOATS = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class Params:
    """``file``: path of a GGUF of the same model; without it, the one that the model's weights came in."""

    file: str | None = None


def unsupported(device: str, dtype: str) -> str | None:
    """llama.cpp as installed here runs on the CPU."""
    return None if device == "cpu" else "the llama-cpp engine runs on the CPU"


def apply(model: Any, params: Params) -> Any:
    """The file, loaded in place of the unquantised one. Unsupported where there is none."""
    from bench.runtimes import llama_cpp

    if params.file is not None:
        path = Path(params.file)
    else:
        beside = sorted(model.directory.glob("*.gguf"))
        if len(beside) != 1:
            raise Unsupported("the model's weights did not come in one GGUF file: name it with file")
        path = beside[0]
    if not path.is_file():
        raise Unsupported(f"no GGUF file at {path}")
    return llama_cpp.Model(path, model.directory)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """The same matrices as before, some of them packed, fewer bytes loaded."""
    old, new = ({m.name: m.elements for m in census.matrices} for census in (before, after))
    kinds = Counter(m.dtype for m in after.matrices)
    packed = sum(count for kind, count in kinds.items() if kind not in FLOATS)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "none"
    return [
        check("matrices of the same names and sizes", len(new), bool(old) and new == old, len(old)),
        check("formats of the matrices", found, packed > 0, "some packed"),
        check(
            "bytes loaded",
            after.weights_bytes,
            after.weights_bytes < before.weights_bytes,
            f"< {before.weights_bytes}",
        ),
    ]
