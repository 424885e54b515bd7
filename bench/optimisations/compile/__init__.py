"""Compile the decode step; one file for each compiler."""

PLACE = 4
WEIGHTS = "any"
SPELLINGS = ()
CLOSES = "compiling"  # a compiled model cannot be changed any more
