"""Present finished runs: one file for each format, and the words, columns and pictures that formats share."""
