"""Fewer bits for each weight: one file for each scheme."""

PLACE = 3
WEIGHTS = "packs"
SPELLINGS = ("quantize", "quantization")
