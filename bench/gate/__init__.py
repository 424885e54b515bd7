"""Judge figures against limits: the result is a verdict with an exit code. Nothing here measures."""

LEAST_CAP = 8  # with one timed limit; sequential.least_cap says why, and how many units several limits need
DEFAULT_CAP = 40
