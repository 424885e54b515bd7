"""Ways to train a student after the baseline, one file each."""
