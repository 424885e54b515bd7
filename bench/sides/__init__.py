"""Prepare the two sides of a gate that compares commits: a checkout, an environment and a config for each."""
