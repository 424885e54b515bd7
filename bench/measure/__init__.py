"""The harness side of a measurement: start workers, order their passes and check their replies."""
