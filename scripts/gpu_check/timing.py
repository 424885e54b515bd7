"""The harness's times and ratios against those of plain loops, and against itself."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gpu_check.counting import counted, in_pieces, while_there_is_time
from gpu_check.harness import STEPS, Harness, Plain, interleaved
from gpu_check.reading import COST, comparison, half_width_of, ratio_of, seconds_of_pairs
from gpu_check.setting import Setting
from gpu_check.sheet import (
    Figure,
    Found,
    aa_figures,
    at_most,
    judged,
    ratio_of_medians,
    shown,
    skipped,
    typical,
    within,
)  # fmt: skip

Run = Callable[[Setting, Mapping[str, Any]], Found]
SAME = {"name": "same"}


def plain_loop(model: str, modes: Sequence[str]) -> Run:
    """Hold the harness's timed pass against the plain loop, at batch 1 and 16, by interleaved requests."""

    def run(setting: Setting, kept: Mapping[str, Any]) -> Found:
        shape = setting.large if model == "8B shape" else setting.little

        def steps(mode: str, batch: int) -> dict[str, float]:
            with Plain(setting, shape, mode, batch) as plain, Harness(setting, shape, mode, batch) as ours:
                theirs_ms, ours_ms = interleaved([plain, ours], setting.requests)
            ratio = ratio_of_medians(ours_ms, theirs_ms)
            return {"ratio": ratio, "plain_ms": typical(theirs_ms), "harness_ms": typical(ours_ms)}

        def judge(done: Mapping[str, Any]) -> list[Figure]:
            figures = []
            for what, found in done.items():
                name = f"harness ÷ plain loop, {model}, {what}"
                words = f"{found['plain_ms']:.3f} ms, {found['harness_ms']:.3f} ms"
                figures.append(within(name, found["ratio"], 0.98, 1.02))
                figures.append(shown("its steps, plain and harness", words))
            return figures

        batches = (1,) if setting.small else (1, 16)
        pieces = {f"{mode}, batch {size}": partial(steps, mode, size) for mode in modes for size in batches}
        return in_pieces(setting, kept, pieces, judge)

    return run


# ---- ratios against plain loops ------------------------------------------------------------------------


def ratio(mode: str, *, between: str | None = None) -> Run:
    """Hold the ratio of two rows against that of two plain loops. With ``between`` both rows stand beside a
    third partner, and their ratios are divided by each other."""

    def run(setting: Setting, kept: Mapping[str, Any]) -> Found:
        if missing := _missing(mode, between):
            return missing
        pieces = {
            "plain": lambda: plain_ratio(setting, mode),
            "harness": lambda: _ratio_of_rows(setting, mode, between),
        }
        words = f"{mode} ÷ eager" + (f", each beside {between}" if between else "")

        def judge(done: Mapping[str, Any]) -> list[Figure]:
            if len(done) < len(pieces):
                return []
            plain, (ours, interval) = done["plain"], done["harness"]
            return [
                within(f"{words}: harness ÷ plain loops", ours / plain, 0.97, 1.03),
                shown("the ratios, plain and harness", f"{plain:.4f}, {ours:.4f} ({interval})"),
            ]

        return in_pieces(setting, kept, pieces, judge)

    return run


def plain_ratio(setting: Setting, mode: str) -> float:
    """Return the ratio of two plain loops, one of them eager."""
    with Plain(setting, setting.large, mode) as one, Plain(setting, setting.large, "eager") as other:
        return ratio_of_medians(*interleaved([one, other], setting.requests))


def _ratio_of_rows(setting: Setting, mode: str, between: str | None) -> tuple[float, str]:
    """Return the ratio of the harness and its interval in words; ``between`` is as for ``ratio``."""
    variants: list[dict[str, Any]] = [{"name": mode, "optimise": STEPS[mode](setting)}]
    if between is None:
        config = setting.config(setting.large, f"ratio-{mode}", variants=variants)
        return ratio_of(setting.run(config, partly=True), mode)
    config = setting.config(
        setting.large,
        f"ratio-{mode}-by-{between}",
        variants=[*variants, {"name": "eager", "optimise": []}],
        optimise=STEPS[between](setting),
    )
    found = setting.run(config, partly=True)
    return ratio_of(found, mode)[0] / ratio_of(found, "eager")[0], "of two rows"


def _missing(*modes: str | None) -> Found | None:
    if "nf4" in modes and importlib.util.find_spec("bitsandbytes") is None:
        return skipped("bitsandbytes is not installed")
    return None


def aa(setting: Setting, _kept: Mapping[str, Any]) -> Found:
    """Measure a row that changes nothing, and see how narrow its interval is and how long it took."""
    found = setting.run(setting.config(setting.large, "aa", variants=[SAME]), partly=True)
    half, seconds = half_width_of(found, "same"), seconds_of_pairs(found, "same")
    return judged([
        at_most("half width of the A/A interval", half, 0.02),
        at_most("seconds of its pairs", seconds, 60),
        shown("its ratio", f"{ratio_of(found, 'same', COST)[0]:.4f}"),
    ])  # fmt: skip


def aa_rows(setting: Setting, kept: Mapping[str, Any]) -> Found:
    """Measure twenty rows that change nothing, a few each time."""
    wanted = 2 if setting.small else 20
    ratios, verdicts = list(kept.get("ratios", [])), list(kept.get("verdicts", []))

    def one_more(number: int) -> None:
        found = setting.run(
            setting.config(setting.large, f"aa-{number}", variants=[SAME], measure={"seed": number})
        )
        row = comparison(found, "same", COST)
        ratios.append(row["ratio"])
        verdicts.append(row["verdict"])

    problem = while_there_is_time(setting, lambda: len(ratios) >= wanted, lambda: one_more(len(ratios)))
    state = {"ratios": ratios, "verdicts": verdicts}
    return counted(len(ratios), wanted, aa_figures(ratios, verdicts) if ratios else [], state, problem)


def untouched(setting: Setting, _kept: Mapping[str, Any]) -> Found:
    """Time steps before and after everything that the harness does to a process between timed passes.

    The profiler's own effect is shown on a plain loop; of the harness it is asked that no worker is timed
    after it.
    """
    from bench.errors import VariantFailed
    from bench.measure import replies

    rounds = max(setting.requests // 2, 2)
    with Harness(setting, setting.large, "eager") as ours:
        before = [ours.request() for _ in range(rounds)]
        for do in ("memory", "energy", "count"):
            ours.ask(do)
        after = [ours.request() for _ in range(rounds)]
        refused = not hasattr(replies, "PROFILE")
        if not refused:
            ours.ask("profile")
            try:
                ours.request()
            except VariantFailed:
                refused = True
    with Plain(setting, setting.large, "eager") as plain:
        fresh = [plain.request() for _ in range(rounds)]
        profiled = [plain.request(profile=number == 0) for number in range(rounds)]
    low, high = (0.99, 1.01) if not setting.small else (0.2, 5.0)
    name = "a step after the memory, energy and counting passes ÷ before"
    return judged([
        within(name, ratio_of_medians(after, before), low, high),
        Figure("a timed pass after the profiler", "refused", "refused" if refused else "run", refused),
        shown("a plain step after the profiler ÷ before", f"{ratio_of_medians(profiled, fresh):.4f}"),
    ])  # fmt: skip


def designs(setting: Setting, kept: Mapping[str, Any]) -> Found:
    """Measure compiled ÷ eager in each design, and hold it against plain loops."""
    from bench.config.settings import MeasureBlock

    if "design" not in MeasureBlock.model_fields:
        return skipped("this version has one design only")
    variants = [{"name": "compiled", "optimise": STEPS["compiled"](setting)}]

    def by(design: str) -> tuple[float, str, float]:
        config = setting.config(
            setting.large, f"design-{design}", variants=variants,
            measure={"design": design, "max_rounds": 1},
        )  # fmt: skip
        found = setting.run(config, partly=True)
        return *ratio_of(found, "compiled"), seconds_of_pairs(found, "compiled")

    def judge(done: Mapping[str, Any]) -> list[Figure]:
        if "plain" not in done:
            return []
        plain, figures = done["plain"], [shown("plain loops", f"{done['plain']:.4f}")]
        for design in (name for name in done if name != "plain"):
            ours, interval, seconds = done[design]
            words = f"{ours / plain:.4f} of the plain loops', {interval}, {seconds:.0f} s"
            figures.append(
                within("auto: harness ÷ plain loops", ours / plain, 0.97, 1.03)
                if design == "auto"
                else shown(design, words)
            )
        return figures

    pieces: dict[str, Callable[[], Any]] = {"plain": lambda: plain_ratio(setting, "compiled")}
    pieces |= {design: partial(by, design) for design in ("auto", "steps", "requests", "abba")}
    return in_pieces(setting, kept, pieces, judge)
