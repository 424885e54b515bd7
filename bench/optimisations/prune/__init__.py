"""Weights removed: one file for each method."""

PLACE = 1
WEIGHTS = "dense"
SPELLINGS = ()
