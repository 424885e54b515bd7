"""Measure from the harness's side: start workers and servers, order their passes, and check their replies."""
