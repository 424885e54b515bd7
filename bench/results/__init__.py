"""Finished runs: their summary, its verification, and how one run differs from another."""
