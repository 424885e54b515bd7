"""The parent's side of measuring: worker processes, the order of the passes, turns, replies checked."""
