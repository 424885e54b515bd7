"""Share code between the two proofs: a disturbing neighbour, and journals packed for the repository."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def neighbour(seed: str, wanted: bool) -> Iterator[None]:
    """Run a process that works 0.5 to 4 s and rests 0.5 to 4 s, on a newly drawn processor each time."""
    if not wanted:
        yield
        return
    program = (
        "import os, random, sys, time\n"
        "draw = random.Random(sys.argv[1]); block = bytearray(32 << 20)\n"
        "parent = os.getppid()\n"
        "while os.getppid() == parent:\n"  # whoever kills the campaign does not leave the neighbour behind
        "    os.sched_setaffinity(0, [draw.choice(range(os.cpu_count()))])\n"
        "    end, memory = time.monotonic() + draw.uniform(0.5, 4), draw.random() < 0.5\n"
        "    while time.monotonic() < end:\n"
        "        bytes(block) if memory else sum(range(20000))\n"
        "    time.sleep(draw.uniform(0.5, 4))\n"
    )
    hog = subprocess.Popen([sys.executable, "-c", program, seed])
    try:
        yield
    finally:
        hog.kill()
        hog.wait()


def unpacked(path: Path) -> Path:
    """Return the path of the journal; unpack it if only its committed form (``gzip -9n``) is there."""
    packed = path.with_name(f"{path.name}.gz")
    if packed.exists() and not path.exists():
        path.write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    return path
