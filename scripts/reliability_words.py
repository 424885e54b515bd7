"""The faults and bad inputs of docs/reliability.md in plain words: each number's (what, what happens).

The tests carry the numbers (``pytest.mark.fault``, ``pytest.mark.bad_input``); ``scripts/reliability-table``
puts both together.
"""

from __future__ import annotations

Rows = dict[int, tuple[str, str]]

FAULTS: Rows = {
    1: ("a worker needs more memory than there is", "its row is `oom_host`; the other rows are measured"),
    2: (
        "the memory of the GPU is full",
        "the row is `oom_gpu` with what the driver says of the memory; the next row gets a new process",
    ),
    3: (
        "a worker crashes in native code",
        "the row is `segfault`, with the signal and a few last words; its log is kept",
    ),
    4: (
        "a worker never finishes loading",
        "after `measure.timeout_s` the row is `timeout`, and the whole process group is ended",
    ),
    5: (
        "a worker hangs within a request",
        "the row is `timeout`; the unit does not count, and a gate ends as ERROR",
    ),
    6: (
        "a worker ignores SIGTERM",
        "it gets SIGKILL after five seconds, and the row is still called `timeout`",
    ),
    7: ("a worker leaves processes behind", "they are in its process group and end with it"),
    8: (
        "`bench` itself is killed (SIGKILL)",
        "its workers end with it; `--resume` goes on at the first row that was not closed",
    ),
    9: ("the same, at any moment", "the journal loads, its chain is whole, and no closed row is lost"),
    10: (
        "Ctrl-C once, and twice",
        "after the stage, or at once; exit code 130 both times, and the run can be continued",
    ),
    11: (
        "the disk is full",
        "exit code 5; what was written is whole, and the run can be continued",
    ),
    12: ("the disk fails when it should keep what was written", "the same; the message names the file"),
    13: (
        "the last line of a journal is cut off",
        "it is dropped with a notice, and its row is measured again",
    ),
    14: ("one bit of a journal has changed", "exit code 6 with file and line"),
    15: ("a line of a journal is gone, moved or there twice", "exit code 6 with file and line"),
    16: (
        "two `bench` processes in one directory",
        "the second is refused and told the process id of the first",
    ),
    17: ("a lock of a process that has died", "the next process takes it over, with a notice"),
    18: (
        "the index beside the journals is gone or damaged",
        "it is made again from the journals, with the same answers",
    ),
    19: (
        "the wall clock is set a day forward or back",
        "no figure changes, because durations come from clocks that nobody sets; `bench verify` notes it",
    ),
    20: (
        "a worker reports a time of zero, below it, or none",
        "the row is `worker_protocol_error`; nothing of it counts",
    ),
    21: (
        "a worker sends too much, nonsense or half of a message",
        "the same; the harness takes no more memory for it",
    ),
    22: ("an answer lacks requests or windows", "the same; nothing is averaged over what did come"),
    23: (
        "both sides answer differently",
        "it is a figure of its own, which a gate may limit; a cheaper token is no cheaper answer",
    ),
    24: (
        "a server refuses, fails, resets, drips or stops half way",
        "the request counts as failed and improves no figure; a retry is counted and stays in the latency",
    ),
    25: (
        "a server reports no token count, or a wrong one",
        "the count is marked unverified, and is never 0",
    ),
    26: (
        "another program takes the processors",
        "the pair is void, or the interval is wider; a gate is INCONCLUSIVE and not a FAIL",
    ),
    27: (
        "the processor quota of a container is used up",
        "the kernel counts how long it halted the workers; the pair is void",
    ),
    28: ("another process is on the GPU, or heat slows it", "the pair is void with the reason"),
    29: ("the GPU's library is missing or fails", "its figures are `null` with the reason, and never 0"),
    30: (
        "one side of a comparison fails",
        "a gate ends as ERROR with exit code 5, or as BROKEN_BASE with 9: neither PASS nor FAIL",
    ),
    31: ("a row is there on one side only, or nothing is left to judge", "never a PASS: exit code 2, 5 or 8"),
    32: (
        "the baseline is missing, damaged, of earlier code or of another machine",
        "exit code 5, 6 or 4; figures that earlier code did not have are empty",
    ),
    33: ("changed code is suddenly many times cheaper", "SUSPECT, exit code 7"),
    34: (
        "a report cannot be written",
        "a message says so; verdict, exit code and data stay, and the report can be made later",
    ),
    35: ("a file of a model changes during a run", "exit code 6 with the name of the file"),
    36: (
        "a killed process left the lock of a build of kernels",
        "the row is `load_error` with the file to delete, and does not wait for its time to be over",
    ),
    37: (
        "the harness is killed after its last record and before `run.json`",
        "every command makes the summary from the journal, `bench verify` says so, and `--resume` writes it",
    ),
    38: (
        "a node of a campaign is lost while it measures",
        "what it had sent stays as a run that was cut short; another node measures the group from its "
        "beginning, three times at most",
    ),
    39: (
        "the command of a campaign is ended or killed",
        "what was measured is kept; `--resume` begins only the groups that had not ended well",
    ),
    40: ("two commands continue one campaign", "the second is refused and told the process id of the first"),
    41: (
        "a config, the code or a run has changed since a campaign measured it",
        "the group is measured again; nothing old and new is mixed",
    ),
    42: (
        "a node has another version of `bench`, or not the directory of the config",
        "it is not used, and the reason is printed",
    ),
    43: (
        "a node sends files that are none of its run",
        "the group is `failed`, the node is not used any more, and nothing is written elsewhere",
    ),
    44: (
        "a scheduler starts what is measured with less priority",
        "the run gets the usual priority, or a line says that it could not",
    ),
    45: (
        "SLURM ends the job of a shard and starts it again",
        "it continues its own campaign, and not that of another shard",
    ),
    46: (
        "`bench compact`, or its undoing, is killed or finds the disk full, at any step",
        "the journal is read as before, from itself or from the files in its place; the next command goes on",
    ),
    47: (
        "the Parquet file of a compacted run is torn, altered, missing or of another run",
        "exit code 6; the bytes are compared with their digest before anything parses them",
    ),
}

BAD_INPUTS: Rows = {
    1: ("an empty config", "exit code 2"),
    2: (
        "a config that is not UTF-8, or has a byte-order mark or a NUL",
        "exit code 2 with the line; the mark is ignored",
    ),
    3: ("a config that is a list or a single value", "exit code 2"),
    4: ("YAML aliases that multiply", "exit code 2, at once"),
    5: ("10,000 nested lists", "exit code 2 with the line"),
    6: ("a config of 100 MB", "exit code 2; no more than 1 MiB is read"),
    7: ("a tag that would run a program", "exit code 2; tags are not allowed"),
    8: ("names of functions to import", "exit code 2; plug-ins are found by their names only"),
    9: ("a key that is there twice", "exit code 2 with both lines"),
    10: ("a misspelt key", "exit code 2 with the nearest key"),
    11: ("a value of a wrong type", "exit code 2 with the line and the key"),
    12: ("NaN and infinity", "exit code 2"),
    13: ("less than one request, thread, sequence or second", "exit code 2"),
    14: ("a limit of 0 % on a time, or of 500 % on a decrease", "exit code 2"),
    15: (
        "an error rate of your own for a gate",
        "exit code 2: there is no such key, because the error rates are fixed",
    ),
    16: ("a cap with which a gate cannot end", "exit code 2"),
    17: (
        "a price that is zero, negative, missing, or of another unit or currency",
        "exit code 2 with the key",
    ),
    18: ("a price or an API that is not in the book", "exit code 2 with the nearest name"),
    19: ("a device that this machine does not have", "exit code 2, or a row with its reason"),
    20: ("a data type that an engine or a scheme does not have", "exit code 2, or a row with its reason"),
    21: ("a sweep of a billion cells", "exit code 2 before they are made"),
    22: ("more threads than processors", "a note in `bench check`"),
    23: ("no new tokens, or a prompt longer than the context", "exit code 2 with the key"),
    24: (
        "a model's name with control characters or terminal markup",
        "exit code 2; nothing that is printed controls the terminal",
    ),
    25: ("a model's name with HTML", "exit code 2; in a report text stays text"),
    26: ("a row's name that a spreadsheet would compute", "an apostrophe stands before it"),
    27: (
        "a prompt with HTML, odd line ends or a lone surrogate",
        "text stays text; a lone surrogate is exit code 2",
    ),
    28: ("an empty prompt, one of 10 MB, no requests", "exit code 2 with file and line"),
    29: (
        "a file of prompts that is missing, a directory, a FIFO or a device",
        "exit code 2; the command does not wait for it",
    ),
    30: ("one bad line among the prompts", "exit code 2 with the line"),
    31: ("two requests with one id", ""),
    32: ("an address of another scheme, with a password or a query", "exit code 2; it is not shown"),
    33: ("a key that would cross a network in the clear", "exit code 2; it is not sent"),
    34: ("a variable for a key that is empty or not set", "exit code 2"),
    35: ("a key in the config, or in the place of a variable's name", "exit code 2; it is not shown"),
    36: ("pickled weights, a safetensors header that is impossible", "exit code 2; nothing is unpickled"),
    37: ("a model's config that asks for code", "exit code 2 with the key"),
    38: (
        "a GGUF header that is impossible, a hostile chat template",
        "exit code 2, or a row with its reason",
    ),
    39: ("a revision that is no commit", "exit code 2"),
    40: (
        "links and names that lead out of the results",
        "exit code 2, or a name that is made safe; nothing is written elsewhere",
    ),
    41: (
        "the same model or the same commit on both sides",
        "a row is a control and says *cannot tell*; a gate is UNREACHED, and never a PASS",
    ),
    42: ("a commit that does not exist, or an option of git in its place", "exit code 2"),
    43: ("a result that was edited, or of newer code", "exit code 6"),
    44: ("a result with NaN, a key twice, or a number of 400 digits", "exit code 6"),
    45: (
        "a huge variable, another language, another time zone, no home",
        "nothing changes; without a place for the cache exit code 2",
    ),
    46: ("a filter that matches nothing", "exit code 2 with the names that there are"),
}

# Numbers without a test, and why.
NOT_HERE: dict[str, dict[int, str]] = {
    "fault": {},
    "bad_input": {
        31: "not applicable here: a line of a file of prompts has no id; requests are known by their place"
    },
}
