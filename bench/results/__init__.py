"""Summarise finished runs, verify them, and compare them with each other."""
