"""Store weights or the KV cache in fewer bits; one file for each scheme."""

PLACE = 3
WEIGHTS = "packs"
SPELLINGS = ("quantize", "quantization")
