"""scripts/gpu-check: what its parts are judged by, what is kept of them, and the same code small on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loaded_script import loaded_script
from warm import Warm, forking

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "scripts"))

from gpu_check import harness, reading, rows, sheet  # noqa: E402
from gpu_check import setting as setting_module  # noqa: E402
from gpu_check.counting import counted, in_pieces, while_there_is_time  # noqa: E402
from gpu_check.setting import Setting, TookTooLong  # noqa: E402
from gpu_check.sheet import Figure, Found  # noqa: E402

from bench.config.reader import read_config  # noqa: E402

VERSIONS = {"torch": "2.11.0", "source": "abc"}


def script(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "gpu-check"), *arguments]
    kept = {**os.environ, "BENCH_MACHINE_LOCK": "none", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=kept, timeout=280, check=False)


def test_schemes_of_the_gpu_have_their_drift_of_the_cpu_beside_them() -> None:
    kept = {row["name"] for row in json.loads(rows.QUANTISED_ON_CPU.read_text())["variants"]}
    asked = read_config(ROOT / "configs" / "quantisation-gpu.yaml").groups[0].variants
    assert {"bnb-nf4", "bnb-int8"} <= kept & {arm.name for arm in asked}


# ---- what is judged ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("met", "status"),
    [
        ([True, True], "pass"),
        ([True, None], "pass"),
        ([True, False], "fail"),
        ([None], "fail"),  # nothing was asked, so nothing was shown
        ([], "fail"),
    ],
)
def test_a_part_passes_if_all_that_was_asked_is_met(met: list[bool | None], status: str) -> None:
    assert sheet.judged([Figure("x", "1", "1", one) for one in met]).status == status


@pytest.mark.parametrize(("value", "met"), [(0.9799, False), (0.98, True), (1.0, True), (1.0201, False)])
def test_bounds(value: float, met: bool) -> None:
    assert sheet.within("x", value, 0.98, 1.02).met == met
    assert sheet.at_least("x", value, 0.98).met == (value >= 0.98)
    assert sheet.at_most("x", value, 1.02).met == (value <= 1.02)


def test_one_slow_request_does_not_move_the_ratio() -> None:
    theirs = [[10.0, 10.0, 99.0]] * 5
    ours = [[10.0, 10.0, 10.0]] * 4 + [[50.0, 50.0, 50.0]]
    assert sheet.ratio_of_medians(ours, theirs) == 1.0
    assert sheet.ratio_of_medians([[20.0] * 3] * 5, theirs) == 2.0


@pytest.mark.parametrize(
    ("ratios", "verdicts", "met"),
    [
        ([0.99, 1.01] * 10, ["cannot tell"] * 20, [True, True]),
        ([1.006] * 20, ["cannot tell"] * 20, [False, True]),
        ([1.0] * 20, ["cannot tell"] * 19 + ["worse"], [True, False]),
    ],
)
def test_rows_in_which_nothing_differs(ratios: list[float], verdicts: list[str], met: list[bool]) -> None:
    assert [one.met for one in sheet.aa_figures(ratios, verdicts)] == met


@pytest.mark.parametrize(
    ("kind", "verdicts", "met"),
    [
        ("aa", ["PASS"] * 59 + ["INCONCLUSIVE"], True),
        ("aa", ["PASS"] * 59 + ["FAIL"], False),
        ("layer", ["FAIL"] * 38 + ["INCONCLUSIVE"] * 2, True),
        ("layer", ["FAIL"] * 37 + ["PASS"] * 3, False),
    ],
)
def test_gates_of_known_truth(kind: str, verdicts: list[str], met: bool) -> None:
    assert [one.met for one in sheet.gate_figures(kind, verdicts)] == [met]


# ---- what is kept --------------------------------------------------------------------------------------


def found(status: Any = "pass", **more: Any) -> Found:
    return Found(status, (Figure("x", "1", "1", True),), card="H100", versions=VERSIONS, **more)


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    part = found(seconds=12.5, kept={"ratios": [1.0]}, small=True)
    sheet.write(tmp_path / "deep" / "aa.json", part)
    assert sheet.read(tmp_path / "deep" / "aa.json") == part


@pytest.mark.parametrize("content", ["", "[]", '{"status": "pass"}', '{"status": "pass", "figures": [{}]}'])
def test_what_is_no_result_is_run_again(tmp_path: Path, content: str) -> None:
    (tmp_path / "aa.json").write_text(content)
    assert sheet.read(tmp_path / "aa.json") is None
    assert sheet.read(tmp_path / "other.json") is None


@pytest.mark.parametrize(
    ("changed", "usable"),
    [
        ({}, True),
        ({"card": "H200"}, False),
        ({"versions": {"torch": "2.12.0"}}, False),
        ({"small": True}, False),
    ],
)
def test_a_result_of_another_card_or_version_is_not_used(changed: dict[str, Any], usable: bool) -> None:
    earlier = replace(found(), **changed)
    assert (sheet.usable(earlier, "H100", VERSIONS, small=False) is not None) == usable


def test_the_summary_names_every_part(tmp_path: Path) -> None:
    sheet.write(tmp_path / "one.json", found())
    sheet.write(tmp_path / "two.json", sheet.skipped("no engine"))
    table, good = sheet.summary(["one", "two"], tmp_path)
    assert good
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [["one", "pass"], ["two", "skipped"]]
    sheet.write(tmp_path / "two.json", found("unfinished"))
    assert not sheet.summary(["one", "two"], tmp_path)[1]
    table, good = sheet.summary(["one", "three"], tmp_path)
    assert not good
    assert "not run" in table


class Clock:
    """A part's time, as a number of rounds; ``small`` leaves no reserve."""

    small = True

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds

    def left_s(self) -> float:
        if self.rounds == 0:
            raise TookTooLong
        return 1000.0


def test_what_was_counted_is_kept_when_the_time_is_over() -> None:
    clock, done = Clock(3), []

    def one_more() -> None:
        clock.left_s()
        clock.rounds -= 1
        done.append(1.0)

    while_there_is_time(clock, lambda: len(done) >= 5, one_more)  # type: ignore[arg-type]
    assert len(done) == 3
    part = counted(len(done), 5, [], {"ratios": done})
    assert (part.status, part.kept) == ("unfinished", {"ratios": [1.0] * 3})
    assert counted(5, 5, [Figure("x", "1", "1", True)], {}).status == "pass"


def ratios(done: Any) -> list[Figure]:
    return [sheet.within(name, value, 0.9, 1.1) for name, value in done.items()]


def test_pieces_that_are_done_are_not_done_again() -> None:
    asked: list[str] = []

    def piece(name: str) -> Any:
        return lambda: asked.append(name) or 1.0

    pieces = {name: piece(name) for name in ("one", "two", "three")}
    part = in_pieces(Clock(9), {"pieces": {"two": 1.0}}, pieces, ratios)  # type: ignore[arg-type]
    assert asked == ["one", "three"]
    assert (part.status, len(part.figures)) == ("pass", 3)


def test_a_piece_that_fails_keeps_the_others_and_is_left_for_the_next_go() -> None:
    def broken() -> float:
        raise RuntimeError("the plain loop died")

    part = in_pieces(Clock(9), {}, {"one": broken, "two": lambda: 1.0}, ratios)  # type: ignore[arg-type]
    assert (part.status, part.kept) == ("unfinished", {"pieces": {"two": 1.0}})
    assert "one: RuntimeError: the plain loop died" in part.reason


def test_a_piece_that_the_time_does_not_suffice_for_is_left_for_the_next_go() -> None:
    def late() -> float:
        raise TookTooLong

    part = in_pieces(Clock(9), {}, {"one": lambda: 1.0, "two": late}, ratios)  # type: ignore[arg-type]
    assert (part.status, part.kept) == ("unfinished", {"pieces": {"one": 1.0}})


def test_a_run_that_is_late_is_told_to_end_and_gives_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in writes its summary when it gets SIGTERM, as a run does."""
    child = (
        "import pathlib, signal, sys, time\n"
        "place = pathlib.Path(sys.argv[sys.argv.index('--out') + 1]) / 'one'\n"
        "def end(*_):\n"
        "    place.mkdir(parents=True)\n"
        "    (place / 'run.json').write_text('{\"variants\": []}')\n"
        "    sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "time.sleep(60)\n"
    )
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").touch()
    (tmp_path / "bench" / "__main__.py").write_text(child)
    monkeypatch.setattr(setting_module, "ROOT", tmp_path)
    monkeypatch.setattr(setting_module, "environment", lambda: {"PATH": os.environ["PATH"]})
    for partly in (True, False):
        setting = Setting("cpu", True, tmp_path / str(partly), "cpu", {}, time.monotonic() + 3)
        if partly:
            assert setting.run(tmp_path / "x.yaml", partly=True)["variants"] == []
        else:
            with pytest.raises(TookTooLong):
                setting.run(tmp_path / "x.yaml")
            assert list((tmp_path / "False" / "runs").glob("*/run.json"))


def test_rows_that_an_earlier_go_has_measured_are_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(name: str, status: str) -> dict[str, Any]:
        return {"name": name, "status": status, "reason": "why", "is_baseline": name == "baseline"}

    asked: list[str] = []
    answers = [
        [row("baseline", "load_error"), row("one", "unsupported"), row("two", "interrupted")],
        [row("baseline", "load_error"), row("two", "unsupported")],
    ]

    def run(_setting: Any, _config: Path, *arguments: str, partly: bool) -> dict[str, Any]:
        assert partly
        asked.extend(one for one in arguments if one.startswith("--only"))
        return {"variants": answers.pop(0)}

    monkeypatch.setattr(Setting, "run", run)
    setting = Setting("cpu", True, tmp_path, "cpu", {}, time.monotonic() + 99)
    part = rows.schemes(["one", "two"], "quantisation-gpu.yaml")
    first = part(setting, {})
    assert (first.status, list(first.kept["rows"])) == ("unfinished", ["one"])
    second = part(setting, json.loads(json.dumps(first.kept)))
    assert (second.status, len(second.figures)) == ("pass", 2)
    assert asked == ["--only=one", "--only=two", "--only=two"]


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize(
    ("names", "config", "short"),
    [
        (["2of4-dense", "2of4-kernels"], "pruning-gpu.yaml", False),
        (["bnb-int8", "bnb-nf4-compiled"], "quantisation-gpu.yaml", True),
    ],
)
def test_the_rows_of_a_part_are_read_with_its_model_and_its_workload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], config: str, short: bool, small: bool
) -> None:
    """A small model has a short context, which the prompts of one config did not fit."""
    read: list[str] = []

    def run(_setting: Any, file: Path, *arguments: str, partly: bool) -> dict[str, Any]:
        asked, only = ([one.removeprefix(key) for one in arguments if one.startswith(key)] for key in KEYS)
        read.extend(arm.name for arm in read_config(file, asked, only).groups[0].variants)
        return {"variants": []}

    monkeypatch.setattr(Setting, "run", run)
    setting = Setting("cpu", small, tmp_path, "cpu", {"usd_per_hour": 1.0}, time.monotonic() + 99)
    rows.schemes(names, config, short=short)(setting, {})
    assert read == names


KEYS = ("--set=", "--only=")


# ---- the script itself ---------------------------------------------------------------------------------


def test_every_part_is_listed_with_what_it_shows() -> None:
    listed = script("--list").stdout.splitlines()
    names = [line.split()[0] for line in listed]
    assert len(names) == len(set(names)) >= 20
    assert names[0] == "plain-8b-compiled"
    assert all(len(line.split()) > 3 for line in listed)
    page = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in page and not name.startswith("quantisation")] == []


def test_a_machine_without_the_device_is_told_how_to_try_it() -> None:
    ended = script("--device", "cuda:7", "--part", "aa")
    assert ended.returncode == 2
    assert "cuda:7: this machine shows" in ended.stderr
    assert "--small --device cpu" in ended.stderr


@pytest.mark.usefixtures("warm_workers")
def test_a_part_runs_small_on_a_cpu_and_not_twice(
    tmp_path: Path, warm: Warm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plain loop and a real worker of the harness, both forked, by turns."""
    monkeypatch.setattr(harness, "subprocess", forking(warm, lambda python: python == sys.executable))
    arguments = ["--small", "--device", "cpu", "--part", "plain-8b-eager", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["gpu-check", *arguments])
    check = loaded_script("gpu-check").main
    check()
    first = capsys.readouterr()
    assert "harness ÷ plain loop, 8B shape, eager, batch 1" in first.out, first.err
    kept = json.loads((tmp_path / "plain-8b-eager.json").read_text())
    assert kept["status"] in ("pass", "fail"), kept  # of a busy machine's times nothing is asked here
    assert not kept["reason"]
    assert len(kept["figures"]) == 2
    assert kept["card"] == "cpu"
    check()
    assert "(an earlier result)" in capsys.readouterr().out


def test_one_that_fails_stops_the_counting_and_is_said() -> None:
    done: list[float] = []

    def one_more() -> None:
        if done:
            raise RuntimeError("no ratio of same: unfit: the machine was too busy")
        done.append(1.0)

    problem = while_there_is_time(Clock(9), lambda: len(done) >= 5, one_more)  # type: ignore[arg-type]
    part = counted(len(done), 5, [], {"ratios": done}, problem)
    assert (part.status, part.kept) == ("unfinished", {"ratios": [1.0]})
    assert "unfit: the machine was too busy" in part.reason


def test_a_failed_row_has_no_figure_and_gives_its_reason() -> None:
    rows = [
        {"name": "baseline", "status": "ok"},
        {"name": "same", "status": "oom_gpu", "reason": "too large"},
    ]
    good = {"variant": "same", "metric": "tpot_ms", "ratio": 1.0, "ci_low": 0.99, "ci_high": 1.01}
    with pytest.raises(RuntimeError, match="no ratio of same: oom_gpu: too large"):
        reading.ratio_of({"comparisons": [], "variants": rows}, "same")
    run = {"comparisons": [{**good, "design": "duet", "pairs": 4}], "variants": rows}
    assert reading.ratio_of(run, "same") == (1.0, "[0.9900, 1.0100], duet, 4 pairs")
