"""The parts of scripts/schemes-by-family: which families there are, one cell in a process, and the page."""
