"""What is on the disk: the journal is the truth, everything else can be made from it again."""
