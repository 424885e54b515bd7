"""GGUF: llama.cpp's own formats, from Q8_0 down to Q2_K, written by llama.cpp's own quantiser.

Source: ``llama_model_quantize`` of llama.cpp. A file type is a recipe: K-quants give more bits to some
matrices. If the length of a row is not a multiple of 256, an older format is used; the evidence counts this.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from bench.engine import one_off
from bench.engine.evidence import Census, Check, check

REQUIRES = ("llama_cpp",)
RUNTIMES = ("llama-cpp",)
FLOATS = ("F32", "F16", "BF16")
FileType = Literal[
    "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0",
    "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K",
]  # fmt: skip


@dataclass(frozen=True)
class Params:
    """``type`` is llama.cpp's name of the recipe."""

    type: FileType = "Q4_K_M"


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason on a GPU: llama.cpp as installed here runs on the CPU."""
    return None if device == "cpu" else "the llama-cpp engine runs on the CPU"


def apply(model: Any, params: Params) -> Any:
    """Return a model loaded from the quantised file, which is kept for the next run."""
    from bench.models.disk_cache import file_sha256
    from bench.runtimes import _gguf, llama_cpp

    path = one_off.kept_file(
        f"gguf {params.type} {file_sha256(model.path)}",
        "model.gguf",
        lambda out: _gguf.quantised(model.path, out, params.type),
    )
    return llama_cpp.Model(path, model.directory)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that every matrix is packed in fewer bytes, and that fewer bytes are loaded.

    All matrices together must take less than 10 bits per weight.
    """
    old = [m for m in before.matrices if not m.is_head]
    new = {m.name: m for m in after.matrices}
    smaller = sum(m.name in new and new[m.name].stored_bytes < m.stored_bytes for m in old)
    kinds = Counter(m.dtype for m in after.matrices)
    main = "_".join(params.type.split("_")[:2])
    elements = sum(m.elements for m in after.matrices)
    bits = 8 * sum(m.stored_bytes for m in after.matrices) / elements if elements else 0.0
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "none"
    packed = bool(kinds) and not any(kind in FLOATS for kind in kinds)
    return [
        check("matrices stored in fewer bytes", smaller, 0 < len(old) == smaller, len(old)),
        check(
            "formats of the matrices", found, packed, f"{main} and what it falls back to, nothing in floats"
        ),
        check("bits per weight over all matrices", f"{bits:.2f}", 0 < bits < 10, "< 10"),
        check(
            "bytes loaded",
            after.weights_bytes,
            after.weights_bytes < before.weights_bytes,
            f"< {before.weights_bytes}",
        ),
    ]
