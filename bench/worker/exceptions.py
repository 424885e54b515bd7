"""Name a failure of a worker by its exception and by what the worker was doing."""

from __future__ import annotations

from bench.errors import Outcome, VariantFailed

# The messages of torch's CPU allocator, of C++ and of the kernel.
OUT_OF_HOST_MEMORY = ("can't allocate memory", "bad_alloc", "bad allocation", "Cannot allocate memory")
# The messages of CUDA and cuBLAS when they run out of memory outside torch's allocator.
OUT_OF_GPU_MEMORY = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def reason(error: BaseException) -> str:
    """Return what the failure says of itself, at most 600 characters of an exception that is not ours."""
    if isinstance(error, VariantFailed):
        return error.reason
    return f"{type(error).__name__}: {str(error)[:600]}"


def classify(error: BaseException, stage: str) -> str:
    """Return the outcome that an exception stands for."""
    if isinstance(error, VariantFailed):
        return error.outcome
    if isinstance(error, MemoryError) or any(text in str(error) for text in OUT_OF_HOST_MEMORY):
        return Outcome.OOM_HOST
    if type(error).__name__ == "OutOfMemoryError" or any(text in str(error) for text in OUT_OF_GPU_MEMORY):
        return Outcome.OOM_GPU
    if isinstance(error, ImportError):
        return Outcome.IMPORT_ERROR
    return Outcome.LOAD_ERROR if stage in ("start", "load") else Outcome.RUN_ERROR
