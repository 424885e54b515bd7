"""Say what the behaviour suites found, in a row's sentence and in a note below the table."""

from __future__ import annotations

from bench.formatting import format_share, format_significant, join_words
from bench.report.bands import a_different_model
from bench.results.behaviour import Tested, suite_of
from bench.results.headline import headline
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Figure
from bench.stats.holm import FAMILY_ERROR
from bench.stats.ratio_verdict import Verdict

POINTS = 100


def behaviour_words(run: RunSummary, row: Row) -> str:
    """Name the suites in which a row is worse or better than its baseline.

    If no suite differs, the text says so, because that is a result too. It is empty if no suite was run.
    A suite without right answers has "no change" only if its interval says so too.
    """
    suites = run.behaviour.get(row.key, [])
    parts = [_changed(tested) for tested in suites if tested.verdict in (Verdict.BETTER, Verdict.WORSE)]
    alike = [tested for tested in suites if tested.verdict == Verdict.CANNOT_TELL]
    moved = [words for tested in alike if (words := _moved(tested))]
    same = [tested.suite for tested in alike if not _moved(tested)]
    if same and not parts:
        parts = [f"no change seen in {join_words(same)}"]
    return "; ".join(filter(None, [*parts, *moved, _unanswered(row)]))


def _unanswered(row: Row) -> str:
    """Say how many questions only the baseline answered. They are in no figure, and a row that cannot answer
    long questions is no better for that."""
    counts = {
        suite_of(key, figure): int(figure.notes["unanswered"])
        for key, figure in row.metrics.items()
        if figure is not None and figure.notes.get("unanswered")
    }
    if not counts:
        return ""
    said = join_words([f"{count} of {suite}" for suite, count in counts.items()])
    return f"not asked, because its context is too short: {said}"


def _moved(tested: Tested) -> str:
    """Say how far preferences moved, if the interval shows that they did and too few pairs changed sides for
    a verdict. The text is empty for a suite with right answers: its figure is the share that is judged."""
    moved = tested.figure
    if moved.higher_is_better is not None:
        return ""
    if moved.ci_low is None or moved.ci_high is None or moved.ci_low <= 0 <= moved.ci_high:
        return ""
    value, low, high = map(format_significant, (moved.value, moved.ci_low, moved.ci_high))
    moves = f"{tested.suite} moved by {value} nat [{low}, {high}]{_way(moved)}"
    return f"{moves}, but {_sides(moved)}: too few for a verdict"


def _way(moved: Figure) -> str:
    """Say which sentences became likelier."""
    towards = moved.notes.get("towards")
    return f" towards {towards[0 if moved.value > 0 else 1]}" if towards else ""


def _sides(moved: Figure) -> str:
    """Say how many pairs prefer the other sentence now, and which."""
    n, lost, gained = (moved.notes[key] for key in ("n", "lost", "gained"))
    words = f"{lost + gained} of {n} pairs prefer the other sentence"
    towards = moved.notes.get("towards")
    about = [f"the one about {whom}" for whom in towards] if towards else ["the first", "the second"]
    ways = [f"{count} {which}" for count, which in zip((gained, lost), about, strict=True) if count]
    return f"{words} ({', '.join(ways)})" if ways else words


def _changed(tested: Tested) -> str:
    n, lost, gained = (tested.figure.notes[key] for key in ("n", "lost", "gained"))
    if tested.figure.higher_is_better is None:
        return f"{tested.suite} moved: {_sides(tested.figure)}"
    word = "worse" if tested.verdict == Verdict.WORSE else "better"
    shares = ""
    if (right := tested.accuracy) is not None and (base := tested.baseline) is not None:
        shares = f"{format_share(right.value)} right, the baseline {format_share(base.value)}; "
    return f"{word} at {tested.suite} ({shares}{lost} lost and {gained} gained of {n})"


def spoiled(run: RunSummary, row: Row) -> bool:
    """Return whether a row is cheaper but its output is worse or much different; its sentence is then red."""
    ratio = headline(run, row)
    if not row.ok or ratio is None or ratio.verdict != Verdict.BETTER:
        return False
    worse = any(tested.verdict == Verdict.WORSE for tested in run.behaviour.get(row.key, []))
    return worse or a_different_model(row)


def suites_note(run: RunSummary) -> str:
    """Say how sure the verdicts of the suites are, and which changes are too small for them.

    The text is empty if no suite was run.
    """
    every = [tested for of_row in run.behaviour.values() for tested in of_row]
    if not every:
        return ""
    least: dict[str, float] = {}
    for tested in every:
        if tested.verdict is not None and tested.figure.notes.get("least_change"):
            value = float(tested.figure.notes["least_change"])
            least[tested.suite] = max(value, least.get(tested.suite, 0.0))
    silent = [tested for tested in every if tested.verdict is None]
    at_chance = dict.fromkeys(tested.suite for tested in silent if tested.figure.notes.get("at_chance"))
    rarely = dict.fromkeys(tested.suite for tested in silent if tested.suite not in at_chance)
    sure = f"Suites: worse and better are said in at most {FAMILY_ERROR:.0%} of tables without a difference."
    seen = ", ".join(f"{suite} {POINTS * value:.1f}" for suite, value in least.items())
    power = f" One test alone finds with 80 % probability a change of so many points: {seen}." if seen else ""
    guess = f" The baseline is at chance at {join_words(list(at_chance))}: no verdict." if at_chance else ""
    if rarely:
        named = join_words(list(rarely))
        guess += f" The baseline is right too rarely at {named} for a loss to be found with 80 %: no verdict."
    return sure + power + guess
