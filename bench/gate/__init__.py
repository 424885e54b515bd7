"""Judge figures against limits. The result is a verdict with an exit code; nothing here measures."""

LEAST_CAP = 9  # for one timed limit; several limits need more (see ``sequential.least_cap``)
DEFAULT_CAP = 40
