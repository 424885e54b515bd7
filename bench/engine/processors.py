"""Count the processors that this process may use, at its start.

Later OpenMP binds threads, including the main thread, to some processors, and the system reports fewer.
"""

import os

COUNT = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
