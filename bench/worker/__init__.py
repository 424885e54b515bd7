"""Hold what runs inside the process that is timed: its protocol, its command loop and its timed passes.

It imports only the standard library and the packages of the engine.
"""
