"""The files of a run: the journal is the truth, and everything else can be made from it again."""
