"""An interpreter for workers: ``fake_worker.py path/to/bench/worker/__main__.py FD PARENT``.

Adds the runtime ``fake`` to whatever ``bench`` the worker registers, and a ``torch`` that is just large
enough for the commands that look at a machine or a kernel: a worker then starts in a tenth of a second.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
import types
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


class FakeRuntimes:
    """A finder of modules as ``importlib`` calls it; to import its base class would take longer than this."""

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        file = HERE / "fake_runtimes" / f"{fullname.rpartition('.')[2]}.py"
        if fullname.startswith("bench.runtimes.") and file.is_file():
            return importlib.util.spec_from_file_location(fullname, file)
        return None


class Block:
    """A matrix of any size that is summed, copied and multiplied at once."""

    nbytes = 1 << 27

    @property
    def T(self) -> Block:  # noqa: N802 - as torch calls it
        return self

    def sum(self) -> Block:
        return self

    def clone(self) -> Block:
        return self

    def copy_(self, _other: Block) -> Block:
        return self

    def to(self, _dtype: object) -> Block:
        return self

    def __matmul__(self, _other: object) -> Block:
        return self


@contextmanager
def profile(**_settings: object):  # type: ignore[no-untyped-def]
    yield types.SimpleNamespace(events=list)


def fake_torch() -> Any:
    torch: Any = types.ModuleType("torch")
    torch.float32 = torch.bfloat16 = torch.float16 = "dtype"
    torch.ones = torch.randn = torch.empty_like = lambda *shape, **settings: Block()
    torch.inference_mode = nullcontext
    torch.cuda = types.SimpleNamespace(is_initialized=lambda: False)
    activity = types.SimpleNamespace(CPU="cpu", CUDA="cuda")
    torch.profiler = types.SimpleNamespace(profile=profile, ProfilerActivity=activity)
    return torch


def prepare() -> None:
    """Make this Python the interpreter that the docstring of this file tells of."""
    sys.path.insert(0, str(HERE))
    sys.meta_path.insert(0, FakeRuntimes())
    sys.modules["torch"] = fake_torch()


if __name__ == "__main__":
    prepare()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
