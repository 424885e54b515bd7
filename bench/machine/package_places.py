"""Say where this interpreter finds packages, for children that must find the same ones.

Packages may lie in the interpreter, in an environment or in directories on ``PYTHONPATH``, as on a cluster
whose interpreter nobody may change. A child gets a ``PYTHONPATH`` of its own, made here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

OURS = str(Path(__file__).resolve().parents[2])  # the directory that has this package
INSTALLED = ("site-packages", "dist-packages")  # the second is Debian's


def package_places() -> list[str]:
    """Return the directories on ``PYTHONPATH`` as absolute paths, because a child may run in another
    directory. An empty entry, which is the user's current directory, is left out: nothing is imported from
    there."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [str(Path(place).absolute()) for place in given if place]


def python_path() -> dict[str, str]:
    """Return the ``PYTHONPATH`` of a child with this interpreter: it finds this package, if it is not
    installed, and every other package where this process finds it.

    A checkout comes first. An installed package comes last, because its neighbours would hide those on the
    user's ``PYTHONPATH``, which this process has found before them.
    """
    others = [place for place in package_places() if place != OURS]
    return {"PYTHONPATH": os.pathsep.join([*others, OURS] if OURS.endswith(INSTALLED) else [OURS, *others])}


def inherited_places() -> list[str]:
    """Return the directories of packages of this interpreter and its ``PYTHONPATH``, for an environment that
    sees them below its own packages. A checkout of this package is none of them."""
    named = [place for place in package_places() if place != OURS]
    return list(dict.fromkeys([*named, *(path for path in sys.path if path.endswith(INSTALLED))]))
