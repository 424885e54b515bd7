"""Read and check the YAML of a run, and turn it into what is to be measured."""
