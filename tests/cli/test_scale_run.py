"""``bench run --on``: what is refused before anything is begun, and what is printed at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Bench

from bench.cli.scale_run import exit_code, page
from bench.errors import ExitCode
from bench.scale.campaign import Ending


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--on", "ray://"), "--on ray://: write here"),
        (("--on", "ray://host:²"), "write here, ray, or ray://HOST:PORT"),
        (("--on", "mars"), "--on mars: write here, ray, or ray://HOST:PORT"),
        (("--budget", "2h30"), "--budget 2h30: write a time such as 30m, 2h or 1d"),
        (("--on", "here", "--budget", "2"), "--budget 2: write a time such as 30m, 2h or 1d"),
        (("--on", "here", "--budget", "-1h"), "--budget -1h: write a time such as 30m, 2h or 1d"),
        (("--on", "here", "--shard", "0/4"), "--shard 0/4: write K/N with 1 <= K <= N, such as 1/4"),
        (("--on", "here", "--shard", "5/4"), "--shard 5/4: write K/N"),
        (("--on", "here", "--shard", "\u00b2/4"), "write K/N with 1 <= K <= N"),
        (("--shard", "1/4"), "--shard divides the groups of --on"),
        (("--on", "here", "--json"), "--json prints one run"),
        (("--on", "here", "--resume", "results/reference"), "holds no campaign"),
    ],
)
def test_what_makes_no_sense_is_refused(
    bench: Bench, tmp_path: Path, arguments: tuple[str, ...], problem: str
) -> None:
    ended = bench("run", "configs/ci.yaml", "--out", tmp_path, *arguments)
    assert ended.returncode == ExitCode.USAGE
    assert problem in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_page_says_how_to_go_on() -> None:
    whole = Ending("a", "ok", Path("results/run-a"), "node")
    missing = Ending("b", "not begun", reason="the time was up")
    lines = "\n".join(page([whole, missing], Path("results/campaign")))
    assert "b      not begun" in lines
    assert "bench report results/run-a --format html" in lines
    assert "--resume results/campaign" in lines
    assert exit_code([whole, missing]) == ExitCode.FAILED
    assert exit_code([whole]) == ExitCode.OK
    assert "--resume" not in "\n".join(page([whole], Path("results/campaign")))
