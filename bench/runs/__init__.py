"""A whole run, from a config to its directory; ``run`` is the file to read first."""
