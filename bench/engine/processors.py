"""The processors this process may use, counted when it starts: OpenMP binds threads to some of them later,
the main one too, and then the system no longer says."""

import os

COUNT = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
