"""A GGUF file as it was made: the one that the model's weights came in, or one given by its path.

The baseline in transformers has the same weights, unpacked. Drift therefore comes from the arithmetic:
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
    """``file`` is the path of a GGUF of the same model, or of the first of its parts.

    The default is the file that the model's weights came in.
    """

    file: str | None = None


def check_settings(params: Params) -> None:
    """Refuse a file that is not there or not whole, before anything is loaded. Raises UsageError."""
    from bench.models.gguf_parts import check_parts

    if params.file is not None:
        check_parts(Path(params.file))


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason on a GPU: llama.cpp as installed here runs on the CPU."""
    return None if device == "cpu" else "the llama-cpp engine runs on the CPU"


def apply(model: Any, params: Params) -> Any:
    """Load the file in place of the unquantised one. Raises Unsupported if there is none."""
    from bench.runtimes import llama_cpp

    path = Path(params.file) if params.file is not None else _own_file(model.directory)
    if not path.is_file():
        raise Unsupported(f"no GGUF file at {path}")
    return llama_cpp.Model(path, model.directory)


def _own_file(directory: Path) -> Path:
    """Return the file that the weights in ``directory`` were converted from. One beside the weights of
    somebody's own directory is any file: nobody has checked it, and a run does not note it."""
    from bench.models.disk_cache import is_entry

    beside = sorted(directory.glob("*.gguf")) if is_entry(directory) else []
    if len(beside) != 1:
        raise Unsupported("the model's weights did not come in one GGUF file: name it with file")
    return beside[0]


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for the same matrices as before, some of them packed, and for fewer bytes loaded."""
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
