"""Name the files of a run, in a module without imports for code that only looks through directories."""

from __future__ import annotations

JOURNAL = "journal.jsonl"
PACKED = f"{JOURNAL}.gz"
REST, SAMPLES = "journal.rest.gz", "samples.parquet"  # a journal that was compacted: frames, and numbers
JOURNALS = (JOURNAL, PACKED, REST)  # the first that is there is the one that is read
RUN_JSON = "run.json"
CAMPAIGN = "campaign.jsonl"  # of a campaign, whose runs are beside it
LOAD_JSON = "load.json"  # of a `bench load`, which also has a journal but is not a run
