"""Find the directories that hold configs, prices and model files."""

from __future__ import annotations

from pathlib import Path


def data_directories(kind: str) -> tuple[Path, ...]:
    """Return the existing directories of ``kind`` (``"models"``, ``"configs/prices"``), in search order.

    They are below the working directory, the repository around an editable install, and the data inside an
    installed wheel.
    """
    package = Path(__file__).resolve().parent
    around = [package.parent] if (package.parent / "pyproject.toml").is_file() else []
    candidates = [(base / kind).resolve() for base in (Path.cwd(), *around, package / "_data")]
    return tuple(path for path in dict.fromkeys(candidates) if path.is_dir())
