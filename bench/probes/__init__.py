"""Measure further things of a row, alone in its process: one file for each probe.

A probe has ``METRICS`` and ``measure(engine, batch, new_tokens)``, which runs in a worker after the timed
passes and returns a number, or None, for the key of each metric. ``measure.probes`` names the probes of a
run.
"""
