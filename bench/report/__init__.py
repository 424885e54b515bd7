"""Reports: one file for each format, and the words and columns that all of them share."""
