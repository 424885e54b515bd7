"""Gates of known truth on this device."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from gpu_check.counting import counted, while_there_is_time
from gpu_check.reading import COST
from gpu_check.setting import Setting
from gpu_check.sheet import Found, gate_figures, shown

Run = Callable[[Setting, Mapping[str, Any]], Found]


def gate(kind: str) -> Run:
    """Run gates of known truth: two equal sides, or a candidate with one more layer (3 % of 32)."""

    def run(setting: Setting, kept: Mapping[str, Any]) -> Found:
        wanted = 1 if setting.small else 60 if kind == "aa" else 40
        verdicts = list(kept.get("verdicts", []))
        model = dict(setting.large)
        if kind == "layer":
            model["layers"] = 3 if setting.small else 33

        def one_more() -> None:
            variant = {"name": "candidate", **({"model": model} if kind == "layer" else {})}
            config = setting.config(
                setting.large, f"gate-{kind}", variants=[variant], measure={"seed": len(verdicts)},
                gate={COST: {"max_increase": "2%" if kind == "layer" else "3%"}},
            )  # fmt: skip
            out = setting.out / "gates" / f"{kind}-{len(verdicts)}-{time.time_ns()}"
            cap = ["--cap", "9"] if setting.small else []
            ended = setting.bench("gate", str(config), "--out", str(out), "--json", "-q", *cap)
            try:
                verdicts.append(str(json.loads(ended.stdout)["verdict"]))
            except (ValueError, KeyError):
                raise RuntimeError(f"bench gate (exit {ended.returncode}): {ended.stderr[-400:]}") from None

        problem = while_there_is_time(setting, lambda: len(verdicts) >= wanted, one_more)
        figures = gate_figures(kind, verdicts) if verdicts else []
        if setting.small and kind == "layer":
            figures = [shown("verdicts", ", ".join(verdicts))]
            return Found("pass", tuple(figures), kept={"verdicts": verdicts})
        return counted(len(verdicts), wanted, figures, {"verdicts": verdicts}, problem)

    return run
