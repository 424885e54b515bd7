"""Summarise finished runs in ``run.json``, verify them, compare them with each other, and index them."""
