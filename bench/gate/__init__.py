"""Judge figures against limits: the result is a verdict with an exit code. Nothing here measures."""

LEAST_CAP = 8  # a unit at most doubles the evidence, and FAIL needs 200 to 1, which fewer cannot reach
CAP = 40  # units of a gate, if nobody says how many
