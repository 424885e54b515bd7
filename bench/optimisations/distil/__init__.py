"""Train a student model to imitate the baseline; one file for each method."""

PLACE = 2
WEIGHTS = "dense"
SPELLINGS = ("distill",)
