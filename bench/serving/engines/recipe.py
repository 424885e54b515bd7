"""Define what the Python environment of a server is made of; ``bench/serving/environments.py`` makes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """The packages of an engine, in the order in which they are installed.

    ``first`` comes before all else, as pip's requirements; ``hint`` is said if that fails. Then comes
    ``package`` alone, then its own requirements, those named in ``without`` left out and those in ``also``
    added, which it imports and does not ask for. ``called`` is the name and version of an empty distribution
    that the engine looks for and does not ship. ``module`` is what the server is started from; it must be
    importable at the end. ``disk_bytes`` is what all of it takes.
    """

    package: str
    module: str
    disk_bytes: int
    first: tuple[str, ...] = ()
    hint: str = ""
    without: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    called: tuple[str, str] | None = None

    @property
    def distribution(self) -> str:
        """Return the name of the package, without its version and extras."""
        return self.package.partition("==")[0].partition("[")[0]

    @property
    def extras(self) -> str:
        """Return the extras of the package, with commas between them."""
        return self.package.partition("[")[2].partition("]")[0]


CPU_TORCH = "torch==2.13.0+cpu"
NO_CPU_TORCH = (
    "pip's index has no CPU build of PyTorch, and the usual build is 2 GB for NVIDIA: set BENCH_TORCH_INDEX "
    "to an index that has it (PyTorch's install page names one)"
)
