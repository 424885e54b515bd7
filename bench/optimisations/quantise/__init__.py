"""Fewer bits a weight: one file a scheme."""
