"""The sides of a gate that compares commits: each is a checkout, an environment and a config of its own."""
