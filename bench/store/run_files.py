"""The names of the files of a run, for what looks at many of them and needs nothing else."""

from __future__ import annotations

JOURNAL = "journal.jsonl"
PACKED = f"{JOURNAL}.gz"
RUN_JSON = "run.json"
