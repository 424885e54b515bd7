"""Turn results into decisions: what an API would cost, how many machines are needed, what is cheaper.

This package only computes from finished runs and from cards: it measures nothing and imports no engine.
"""
