"""Split a model between an edge and a cloud: two processes, a real socket, and a simulated link between them.

The edge is the process that is measured. What it waits for counts as its own time.
"""

PLACE = 7
WEIGHTS = "dense"
SPELLINGS = ()
CLOSES = "splitting"  # half of a model cannot be changed any more
