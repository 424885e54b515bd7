"""Define suites that compare the behaviour of two models, one file each.

The file of a suite defines ``METRICS`` and ``figures(arm, run)``, a pure function of what was measured. A
config names the suites of a run in ``drift.suites``; for a suite that it does not name, ``figures`` returns
None for each metric.

A suite that asks the model its own items also defines ``SUITE`` (``bench.drift.behaviour.Suite``). The
baseline and every variant answer these items after everything that is timed. ``OF_EVERY_ROW`` lists the
metrics that a baseline has too, so that a limit of the gate can be relative to them.
"""
