"""Drift of two GGUF files by this tool and by its peers (scripts/peer-drift)."""
