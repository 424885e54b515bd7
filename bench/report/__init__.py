"""One file a format, and the words and columns they share."""
