"""Weights removed: one file a method."""
