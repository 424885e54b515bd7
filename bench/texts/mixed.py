"""English prose and code followed by Chinese: the default evaluation text."""

from __future__ import annotations

from bench.texts import chinese, english

PARTS = ("english", "chinese")  # who was calibrated on one of them is not judged on this text
LICENCE = f"{english.LICENCE}; {chinese.LICENCE}"


def read() -> str:
    """Return both texts. Windows are spread evenly over them, so both are scored."""
    return f"{english.read()}\n\n{chinese.read()}"
