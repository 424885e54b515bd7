"""Comparisons of what two models do, beside their distributions: one file for each suite.

A suite has ``METRICS`` and ``figures(arm, run)``, a pure function of what was measured. ``drift.suites``
names those that a run wants; ``figures`` gives None for each metric of one that it does not want.
"""
