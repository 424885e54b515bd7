"""The number of processors this process may use, counted at its start.

OpenMP later binds threads, the main thread included, to some of them; the system then no longer reports all.
"""

import os

COUNT = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
