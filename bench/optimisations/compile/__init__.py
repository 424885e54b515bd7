"""The decode step compiled: one file for each compiler."""

PLACE = 4
WEIGHTS = "any"
SPELLINGS = ()
