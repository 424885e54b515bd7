"""Run an engine by its own Python API in a process that this package starts: no server, no HTTP.

This directory is the engine's side. It runs in the engine's interpreter and imports nothing but the standard
library, itself and, in a function, the engine. ``bench/serving/wire.py`` is the other side.
"""
