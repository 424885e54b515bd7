"""From results to decisions: what an API would cost, how many machines are needed, when an optimisation pays.

Nothing here measures, and nothing imports an engine.
"""
