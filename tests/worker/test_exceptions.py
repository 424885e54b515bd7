"""Failures of a worker get their names."""

from __future__ import annotations

import pytest

from bench.errors import NonFiniteOutput, NotApplied, Outcome, Unsupported
from bench.worker.exceptions import classify, reason


class OutOfMemoryError(RuntimeError):
    """As torch calls it, without torch."""


@pytest.mark.parametrize(
    ("error", "stage", "expected"),
    [
        (Unsupported("no"), "load", Outcome.UNSUPPORTED),
        (NotApplied("no"), "load", Outcome.NOT_APPLIED),
        (NotApplied("no kernel"), "warm_up", Outcome.NOT_APPLIED),
        (NonFiniteOutput("NaN"), "score", Outcome.NAN_OUTPUT),
        (MemoryError(), "load", Outcome.OOM_HOST),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "solo", Outcome.OOM_HOST),
        (OutOfMemoryError("CUDA out of memory"), "solo", Outcome.OOM_GPU),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might"), "warm_up", Outcome.OOM_GPU),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "load", Outcome.OOM_GPU),
        (RuntimeError("CUDA error: device-side assert triggered"), "solo", Outcome.RUN_ERROR),
        (ModuleNotFoundError("No module named 'torch'"), "load", Outcome.IMPORT_ERROR),
        (ValueError("shape"), "load", Outcome.LOAD_ERROR),
        (ValueError("shape"), "start", Outcome.LOAD_ERROR),
        (ValueError("shape"), "solo", Outcome.RUN_ERROR),
    ],
)
def test_failures_get_their_names(error: BaseException, stage: str, expected: Outcome) -> None:
    assert classify(error, stage) == expected


def test_a_failure_says_what_it_is() -> None:
    assert reason(Unsupported("no kernel")) == "no kernel"
    assert reason(ValueError("shape" * 1000)) == f"ValueError: {'shape' * 120}"
