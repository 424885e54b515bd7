"""Prices and costs: the price book, and the cost model."""
