"""Describe the machine: what it is, its devices, and what disturbs measurements on it."""
