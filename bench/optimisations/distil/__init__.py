"""Training a student after the baseline: one file for each way."""

PLACE = 2
WEIGHTS = "dense"
SPELLINGS = ("distill",)
