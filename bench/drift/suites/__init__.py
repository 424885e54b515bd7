"""Comparisons of what two models do, beside their distributions: one file for each suite.

A suite has ``METRICS`` and ``figures(arm, run)``, a pure function of what was measured. ``drift.suites``
names the suites of a run; ``figures`` returns None for each metric of a suite that is not among them.

A suite that asks the model something of its own also has ``SUITE`` (``bench.drift.behaviour.Suite``): its
items are put to the baseline and to every variant, after everything that is timed. ``OF_EVERY_ROW`` has the
metrics that a baseline has too, so that a limit of the gate can be relative to them.
"""
