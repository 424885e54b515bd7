"""Money: the price book and the cost model. Pure functions."""
