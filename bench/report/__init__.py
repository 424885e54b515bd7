"""One file per format, and the words and columns they share."""
