"""Remove weights or set them to zero; one file for each method."""

PLACE = 1
WEIGHTS = "dense"
SPELLINGS = ()
