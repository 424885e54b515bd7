"""Write and read the files of a run. The journal is the truth: all other files can be made from it again."""
