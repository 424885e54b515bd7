"""The YAML of a run: read, checked and turned into what is to be measured."""
