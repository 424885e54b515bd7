"""Figures and limits in, a verdict and its exit code out. Nothing here measures."""

LEAST_CAP = 8  # evidence at most doubles with a unit, and FAIL takes 200 to 1: fewer units cannot reach it
