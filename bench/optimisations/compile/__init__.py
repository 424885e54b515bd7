"""The decode step compiled: one file a compiler."""
