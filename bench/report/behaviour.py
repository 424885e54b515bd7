"""Say in words what the behaviour suites found: beside a row's sentence, and as a note on the table."""

from __future__ import annotations

from bench.formatting import format_share, join_words
from bench.report.bands import a_different_model
from bench.results.behaviour import Tested
from bench.results.headline import headline
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.pairs import FAMILY_ERROR
from bench.stats.verdict import Verdict

POINTS = 100


def behaviour_words(run: RunSummary, row: Row) -> str:
    """Name the suites at which a row is worse or better than its baseline; empty where none was asked.

    If nothing differs, that is said too: what was looked for and not found is a finding.
    """
    found = run.behaviour.get(row.key, [])
    if not found:
        return ""
    parts = [_changed(one) for one in found if one.verdict in (Verdict.BETTER, Verdict.WORSE)]
    same = [one.suite for one in found if one.verdict == Verdict.CANNOT_TELL]
    if not parts:
        return f"no change seen in {join_words(same)}" if same else ""
    return "; ".join(parts)


def _changed(one: Tested) -> str:
    n, lost, gained = (one.figure.notes[key] for key in ("n", "lost", "gained"))
    if one.figure.higher_is_better is None:
        most = max(lost, gained)
        return f"{one.suite} moved ({lost + gained} of {n} pairs prefer the other sentence, {most} one way)"
    word = "worse" if one.verdict == Verdict.WORSE else "better"
    shares = ""
    if one.accuracy is not None and one.baseline is not None:
        shares = (
            f"{format_share(one.accuracy.value)} right, the baseline {format_share(one.baseline.value)}; "
        )
    return f"{word} at {one.suite} ({shares}{lost} lost and {gained} gained of {n})"


def spoiled(run: RunSummary, row: Row) -> bool:
    """Return whether a row is cheaper by its sentence and no longer does what the baseline does: the sentence
    is red."""
    ratio = headline(run, row)
    if not row.ok or ratio is None or ratio.verdict != Verdict.BETTER:
        return False
    worse = any(one.verdict == Verdict.WORSE for one in run.behaviour.get(row.key, []))
    return worse or a_different_model(row)


def suites_note(run: RunSummary) -> str:
    """Say how sure the verdicts of suites are and what they could not see; empty without suites."""
    every = [one for found in run.behaviour.values() for one in found]
    if not every:
        return ""
    least: dict[str, float] = {}
    for one in every:
        if one.verdict is not None and one.figure.notes.get("least_change"):
            value = float(one.figure.notes["least_change"])
            least[one.suite] = max(value, least.get(one.suite, 0.0))
    at_chance = list(dict.fromkeys(one.suite for one in every if one.verdict is None))
    sure = f"Suites: worse and better are said in at most {FAMILY_ERROR:.0%} of tables without a difference."
    seen = ", ".join(f"{suite} {POINTS * value:.1f}" for suite, value in least.items())
    power = f" A change of so many points one way would be found with 80 %: {seen}." if seen else ""
    guess = f" The baseline is at chance at {join_words(at_chance)}: no verdict." if at_chance else ""
    return sure + power + guess
