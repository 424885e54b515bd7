"""The smallest planted change that each drift suite finds, on a real model (scripts/drift-power)."""
