"""Print the clients beside ours: ratios over rounds with intervals, and what the server saw meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.stats.intervals import Interval, mean_interval

HISTOGRAMS = {
    "ttft_ms": "time_to_first_token_seconds", "itl_ms": "inter_token_latency_seconds",
    "e2el_ms": "e2e_request_latency_seconds", "queue_ms": "request_queue_time_seconds",
}  # fmt: skip
TOTALS = {"n_in": "prompt_tokens_total", "n_out": "generation_tokens_total"}
OURS, MARKED = "ours", 0.02
METRICS = ("ttft_ms", "tpot_ms", "itl_ms", "itl_p50_ms", "tok_per_s")
Row = Mapping[str, Any]
Value = Callable[[Row, str], float | None]


def show(rows: Sequence[Row], defined: Mapping[str, Mapping[str, str]]) -> None:
    """Print all tables, and how each client defines what it prints."""
    if not rows:
        return
    print("\nmatched: from each client's times of requests, by one definition")
    table(rows, matched, METRICS)
    print("\nprinted: what each client says")
    table(rows, printed, METRICS)
    print("\nserver: its own counters during the same blocks")
    table(rows, at_server, ("ttft_ms", "itl_ms", "e2el_ms", "queue_ms", "n_in", "n_out"))
    print("\nclient ÷ server, as a ratio to ours: what is left if the server's own time is divided out")
    table(rows, beyond_server, ("ttft_ms", "itl_ms"))
    print("\nprocessor seconds of a client for each request, its start included; requests with all times")
    for client in dict.fromkeys(row["client"] for row in rows):
        own = [row for row in rows if row["client"] == client]
        timed = sum(len(row["requests"]) for row in own)
        sent = sum(row["server_counters"].get("request_success_total", 0.0) for row in own)
        print(
            f"  {client:18} {sum(row['client_cpu_s'] for row in own) / timed:8.2f} s  {timed} of {sent:.0f}"
        )
    taken = max(row["noise"]["foreign_share"] + row["noise"]["steal_share"] for row in rows)
    print(f"\nothers took at most {taken:.1%} of the machine in a block (a quiet one: 5 %)")
    print("\nhow each client defines what it prints:")
    for client, words in defined.items():
        for name, said in words.items():
            print(f"  {client:18} {name:10} {said}")


def matched(row: Row, name: str) -> float | None:
    """Return a figure by our definition."""
    found: float | None = row["matched"].get(name)
    return found


def printed(row: Row, name: str) -> float | None:
    """Return a figure as the client prints it."""
    found: float | None = row["printed"].get(name)
    return found


def at_server(row: Row, name: str) -> float | None:
    """Return a mean of the server's counters during a block."""
    seen = row["server_counters"]
    requests = seen.get("time_to_first_token_seconds_count", 0.0)
    if name in TOTALS:
        return seen.get(TOTALS[name], 0.0) / requests if requests else None
    count = seen.get(f"{HISTOGRAMS[name]}_count", 0.0)
    return 1e3 * seen.get(f"{HISTOGRAMS[name]}_sum", 0.0) / count if count else None


def beyond_server(row: Row, name: str) -> float | None:
    """Return the client's figure ÷ the server's own of the same block."""
    ours, theirs = matched(row, name), at_server(row, name)
    return ours / theirs if ours and theirs else None


def table(rows: Sequence[Row], value: Value, metrics: Sequence[str]) -> None:
    """Print a line for each metric and client: the mean, and the ratio to ours."""
    clients = list(dict.fromkeys(row["client"] for row in rows))
    clients.sort(key=lambda name: name != OURS)
    for name in metrics:
        for client in clients:
            found = [value(row, name) for row in rows if row["client"] == client]
            known = [one for one in found if one is not None]
            if known:
                mean, ratio = sum(known) / len(known), against(rows, value, name, client)
                print(f"  {name:10} {client:18} {mean:10.3f}  {ratio}")


def against(rows: Sequence[Row], value: Value, name: str, client: str) -> str:
    """Return the ratio to ours over rounds, in words."""
    if client == OURS:
        return ""
    of = {(row["round"], row["client"]): value(row, name) for row in rows}
    rounds = sorted({number for number, _ in of})
    pairs = [(of.get((number, client)), of.get((number, OURS))) for number in rounds]
    logs = [math.log(theirs / ours) for theirs, ours in pairs if theirs and ours]
    return words(mean_interval(logs)) if logs else ""


def words(logs: Interval) -> str:
    """Return a ratio with its bounds; it is marked if it is more than 2 % from 1."""
    bounds = (
        ""
        if logs.low is None or logs.high is None
        else f" [{math.exp(logs.low):.3f}, {math.exp(logs.high):.3f}]"
    )
    far = abs(math.exp(logs.value) - 1) > MARKED
    surely = logs.low is not None and logs.high is not None and not logs.low <= 0 <= logs.high
    marked = ("  > 2 %, to be explained" if surely else "  > 2 %, not beyond its interval") if far else ""
    return f"{math.exp(logs.value):.3f}{bounds}{marked}"
