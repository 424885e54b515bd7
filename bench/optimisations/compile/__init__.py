"""Compile the decode step; one file for each compiler."""

PLACE = 4
WEIGHTS = "any"
SPELLINGS = ()
