"""Pack the weights of an OpenVINO graph with NNCF, and check the result.

Source: ``nncf.compress_weights``, https://github.com/openvinotoolkit/nncf.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.engine import one_off
from bench.engine.evidence import Census, Check, Matrix, check

LAYER, EMBEDDING = "FullyConnected", "Gather"


def packed(model: Any, mode: str, activations: str, **options: Any) -> Any:
    """Return the model with weights packed in NNCF's ``mode``, from the cache if they were packed before."""
    from bench.models.disk_cache import file_sha256
    from bench.runtimes import _openvino, openvino

    digests = " ".join(file_sha256(model.path.with_suffix(suffix)) for suffix in (".xml", ".bin"))
    versions = " ".join(openvino.ENVIRONMENT)
    place = one_off.kept_directory(
        f"openvino-{mode[:4].lower()} {mode} {options} {digests} {versions}",
        lambda staging: openvino.compressed(model, staging, mode, **options),
    )
    return model.compiled_from(place / _openvino.FILE, _openvino.ACTIVATION_GROUPS[activations])


def ends(after: Census, stored: str) -> Check:
    """Check in which dtype the embedding and the head are stored."""
    found = _spelt(one.dtype for one in after.matrices if one.is_head or one.module == EMBEDDING)
    return check("embedding and head", found, found == stored, stored)


def activations_as(after: Census, asked: str) -> Check:
    """Check how the compiled graph takes the activations of its layers."""
    found = _spelt("int8" if _group(one) else "float" for one in after.of(LAYER))
    return check("activations in products", found, found == asked, asked)


def _group(matrix: Matrix) -> float:
    return matrix.scalars["activation_group"]


def _spelt(found: Iterable[str]) -> str:
    return ", ".join(sorted(set(found))) or "none"
