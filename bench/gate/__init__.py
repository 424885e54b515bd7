"""Figures and limits in, a verdict and its exit code out. Nothing here measures."""
