"""Write the notes below a run's table: about its columns, its verdicts, and the texts of its drift."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.formatting import format_significant, join_words, printable
from bench.metrics import cost, output_drift
from bench.records.loads import sharing_words
from bench.report.behaviour import suites_note
from bench.report.encoders import encoded_note
from bench.results.disturbance import OTHERS_SHARE, others_in_turns
from bench.results.paired_figures import in_turns
from bench.results.run_summary import RunSummary
from bench.stats.figure import value_of
from bench.stats.holm import FAMILY_ERROR
from bench.stats.pairs import LEAST_PAIRS
from bench.stats.ratio_verdict import RatioDesign

FRONT = "on the Pareto front: no other row is both cheaper and closer to the baseline"
WORTH_SAYING_DIFFERENCE = 0.05  # difference of two log ratios above which a note mentions it


def front_words(run: RunSummary) -> str:
    """Explain the star after a row's name; the text is empty if no row has one."""
    return FRONT if any(run.fronts.values()) else ""


def timed_words(run: RunSummary) -> str:
    """Explain the columns of time and money, and how sure a verdict is."""
    pairs = [ratio.pairs for ratio in run.comparisons if ratio.metric == cost.PER_1K.key and ratio.pairs]
    if not pairs:
        return " ".join(filter(None, (_alone_words(run), _solo_words(run))))
    count = str(min(pairs)) if min(pairs) == max(pairs) else f"{min(pairs)} to {max(pairs)}"
    pairs_word = "pair" if count == "1" else "pairs"
    alone = "A single pair does not show how much pairs differ. " if min(pairs) < LEAST_PAIRS else ""
    void = sum(row.void_pairs for row in run.rows)
    left_out = f" ({void} more left out, while {_void_words(run)})" if void else ""
    busy = max((others_in_turns(row) for row in run.rows), default=0.0)
    sure = f"Verdicts: at most {FAMILY_ERROR:.0%} of tables without a difference say better or worse."
    if busy > OTHERS_SHARE:
        sure = (
            f"Others had up to {busy:.0%} of the processors meanwhile (see measure.max_disturbance), so no "
            "rate of wrong verdicts is promised."
        )
    if run.served:
        return (
            f"Each ratio comes from {count} {pairs_word} of servers, new for each pair, under the same load "
            f"in blocks that alternate{left_out}; a variant's times, tokens per second and dollars are the "
            "baseline's multiplied by its ratio (~: its own figures, because it was not measured in blocks). "
            f"{alone}{sure}{_sharing_words(run)}"
        )
    return (
        f"Each ratio comes from {count} fresh {pairs_word} of processes that {_how(run)}{left_out}; a "
        "variant's times, tokens per second and dollars are the baseline's, measured alone, multiplied by "
        f"its ratio (~: its own figures, because it was not measured in turns). {alone}{sure}"
    )


def _how(run: RunSummary) -> str:
    """Say how the two sides of a pair shared the machine."""
    paired = (ratio for ratio in run.comparisons if ratio.metric == cost.PER_1K.key and ratio.pairs)
    designs = {ratio.design for ratio in paired}
    words = {
        RatioDesign.DUET: "take turns",
        RatioDesign.SLICES: "share one processor (rows with the baseline's kernels)",
        RatioDesign.ABBA: "run one after the other",
    }
    return ", or ".join(said for design, said in words.items() if design in designs) or "take turns"


def _sharing_words(run: RunSummary) -> str:
    """Say how client and servers shared the processors.

    The text is empty for runs of earlier versions, which did not record it.
    """
    steps = (step for row in run.rows if row.evidence for step in row.evidence.steps)
    servers = [step["server"] for step in steps if step.get("server")]
    said = dict.fromkeys(
        sharing_words(each.get("pinned"), str(each.get("not_pinned", ""))) for each in servers
    )
    return "".join(f" {printable(words[0].upper() + words[1:])}." for words in said if words)


def _void_words(run: RunSummary) -> str:
    return "the client was late or others used the machine" if run.served else "others used the machine"


def _alone_words(run: RunSummary) -> str:
    """Say what a ratio is whose two rows were not measured together, in a run that has no other ratio."""
    ratios = (ratio for ratio in run.comparisons if ratio.metric == cost.PER_1K.key)
    if all(map(in_turns, ratios)):
        return ""
    return (
        "A ratio with ~ is that of two rows which were measured alone, one after the other: it includes what "
        "this machine's speed changed meanwhile."
    )


def _solo_words(run: RunSummary) -> str:
    """Say how far the dollars of rows that were measured alone are from the ratios measured in turns.

    This concerns only runs of earlier versions, whose other columns were measured alone.
    """
    alone = {row.key: value_of(row.figure(cost.PER_1K)) for row in run.rows}
    base = {row.group: alone[row.key] for row in run.rows if row.is_baseline}
    apart = [0.0]
    for ratio in run.comparisons:
        ours, theirs = alone.get((ratio.group, ratio.variant)), base.get(ratio.group)
        if ratio.metric == cost.PER_1K.key and in_turns(ratio) and ours and theirs:
            apart.append(abs(math.log(ours / theirs / ratio.ratio)))
    if max(apart) < WORTH_SAYING_DIFFERENCE:
        return ""
    return (
        "Other columns were measured on each row alone, one after the other, while this machine's speed "
        f"changed: the ratios of their dollars are up to {math.expm1(max(apart)):.0%} off the cost ratio, "
        "which was measured in turns."
    )


def drift_note(run: RunSummary) -> str:
    """Say on which texts drift was measured, and how sure the suites' verdicts are."""
    return " ".join(filter(None, (scored_words(run), floor_words(run), encoded_note(run), suites_note(run))))


def scored_words(run: RunSummary) -> str:
    """Say on how many tokens of which text the drift figures were measured.

    The text is empty for runs of earlier versions, which did not record it.
    """
    figures = [row.figure(output_drift.KLD) for row in run.rows]
    known = [figure for figure in figures if figure and figure.notes.get("windows")]
    if not known:
        return ""
    most = max(known, key=lambda figure: int(figure.notes["n"])).notes
    words = f"Drift is over {most['n']:,} tokens in {windows_words(most)}."
    asked, window = int(most.get("asked") or 0), int(most.get("window") or 0)
    short = asked and window and most["windows"] < asked // window
    return f"{words} {output_drift.scored_words(most['n'], asked)}." if short else words


def floor_words(run: RunSummary) -> str:
    """Say how far the baseline is from itself, and under which conditions.

    The text is empty for runs of earlier versions, which did not record it.
    """
    figures = (row.figure(output_drift.KLD) for row in run.rows)
    known = [floors for figure in figures if figure and (floors := figure.notes.get("floors"))]
    if not known:
        return ""
    kinds = dict.fromkeys(kind for floors in known for kind in floors)
    most = max(value or 0.0 for floors in known for value in floors.values())
    return printable(f"Noise floor {format_significant(most)} nat (other {join_words(list(kinds))}).")


def windows_words(notes: Mapping[str, Any]) -> str:
    """Say on which text a drift figure with these notes was measured: ``8 windows of 256 (mixed)``."""
    windows = "1 window" if notes["windows"] == 1 else f"{notes['windows']} windows"
    size = f" of {notes['window']}" if notes.get("window") else ""
    return printable(f"{windows}{size}" + (f" ({notes['text']})" if notes.get("text") else ""))
