"""Hold the same weights in another form; one file for each form."""

PLACE = 5
WEIGHTS = "dense"
SPELLINGS = ()
