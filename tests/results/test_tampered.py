"""A run that somebody edited loads, or is refused in one sentence: no traceback, and no false figure."""

from __future__ import annotations

import json
import random
import shutil
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journals import write_run
from rich.console import Console
from tampering import INSTEAD, edited, rechained, records_of, tampered_journal, tampered_summary

from bench import plugins
from bench.bounded import Contents
from bench.cli.main import main
from bench.errors import BenchError, ExitCode, IncomparableError, IntegrityError
from bench.gate.figures import contradicts, judge_interval
from bench.gate.limits import Rule
from bench.report.formats import csv, html, jsonl, junit, latex, markdown
from bench.report.table import render
from bench.results import summary
from bench.results.run_comparison import between_runs
from bench.results.run_summary import RunSummary
from bench.results.summary import RUN_JSON, SEAL, UNSEALED, from_journal, load_run, sealed
from bench.results.verify import verify_run
from bench.runs.directory import write_summary
from bench.stats.intervals import Interval
from bench.store.files import digest
from bench.store.replay import JOURNAL

ALLOWED = {ExitCode.OK, ExitCode.USAGE, ExitCode.INCOMPARABLE, ExitCode.INTEGRITY}
QUICK = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("sound") / "run")


def a_copy(sound: Path, tmp_path: Path) -> Path:
    here = tmp_path / "run"
    shutil.rmtree(here, ignore_errors=True)
    return Path(shutil.copytree(sound, here))


def outcome(run: Path, like: RunSummary | None = None) -> ExitCode:
    """How every reader of the run ends; anything but a BenchError is a fault."""
    try:
        found = load_run(run)
        render(found, Console(width=160, file=Nowhere()))
        for module in (csv, html, jsonl, junit, latex, markdown):
            module.render([found])
        for one, other in ((found, found), (like, found), (found, like)) if like else ():
            with suppress(IncomparableError):
                json.dumps([asdict(row) for row in between_runs(one, other)], allow_nan=False)
        verify_run(run)
    except BenchError as refused:
        return ExitCode(refused.exit_code) if str(refused).strip() else ExitCode.FAILED
    return ExitCode.OK


class Nowhere:
    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None: ...


@QUICK
@given(draw=st.randoms(use_true_random=False))
def test_a_journal_that_was_edited_and_chained_again(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, draw: random.Random
) -> None:
    run = a_copy(sound, tmp_path_factory.mktemp("tampered"))
    said = tampered_journal(run, draw)
    assert outcome(run, load_run(sound)) in ALLOWED, said


@QUICK
@given(draw=st.randoms(use_true_random=False))
def test_a_summary_that_was_edited(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, draw: random.Random
) -> None:
    run = a_copy(sound, tmp_path_factory.mktemp("tampered"))
    said = tampered_summary(run, draw)
    assert outcome(run, load_run(sound)) in ALLOWED, said


def test_the_generator_reaches_every_record_and_every_replacement(sound: Path) -> None:
    records, draw = records_of(sound), random.Random(1)
    changed = [edited(records[4], draw)[0] for _ in range(600)]
    assert sum(one != records[4] for one in changed) > 400
    assert len(INSTEAD) > 25


def edit(run: Path, **keys: Any) -> None:
    content = json.loads((run / RUN_JSON).read_text())
    (run / RUN_JSON).write_text(json.dumps({**content, **keys}))


def test_a_sealed_summary_is_believed(sound: Path) -> None:
    assert load_run(sound).to_json() == from_journal(sound).to_json()
    parts = {"content_sha256", "journal_sha256", "text_sha256"}
    assert set(json.loads((sound / RUN_JSON).read_text())[SEAL]) == parts


def test_an_edited_figure_is_refused(sound: Path, tmp_path: Path) -> None:
    run = a_copy(sound, tmp_path)
    content = json.loads((run / RUN_JSON).read_text())
    content["comparisons"][0]["ratio"] = 0.1
    (run / RUN_JSON).write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=r"run\.json: was changed after it was written"):
        load_run(run)


def test_the_summary_of_another_journal_is_refused(sound: Path, tmp_path: Path) -> None:
    run = a_copy(sound, tmp_path)
    rechained(run, [*records_of(run)[:-1], {"kind": "note"}, records_of(run)[-1]])
    with pytest.raises(IntegrityError, match=r"run\.json: is not the summary of .*journal\.jsonl"):
        load_run(run)


def test_without_a_seal_the_journal_is_believed(sound: Path, tmp_path: Path) -> None:
    run = a_copy(sound, tmp_path)
    content = json.loads((run / RUN_JSON).read_text())
    del content[SEAL]
    (run / RUN_JSON).write_text(json.dumps({**content, "name": "another"}))
    assert load_run(run) == from_journal(run)
    (run / JOURNAL).unlink()
    found = load_run(run)
    assert found.name == "another"
    assert found.reasons[-1] == UNSEALED


def test_a_wrong_type_is_named_with_its_line_and_key(sound: Path, tmp_path: Path) -> None:
    run = a_copy(sound, tmp_path)
    records = records_of(run)
    records[0]["schema_version"] = "1"
    rechained(run, records)
    with pytest.raises(
        IntegrityError, match=r"journal\.jsonl:1: schema_version: Input should be a valid integer"
    ):
        from_journal(run)


@pytest.mark.parametrize(
    ("at", "key", "value", "said"),
    [
        (1, "group", None, "group"),
        (2, "loaded", {"facts": {}}, "loaded.facts.device"),
        (4, "solo", 5, "solo"),
        (0, "price", {}, "price.id"),
        (0, "text", {"name": "x", "sha256": "y"}, "text.sha256"),
        (0, "name", "two\nlines", "name"),
        (0, "machine", {"gpus": 1}, "machine.gpus"),
    ],
)
def test_each_is_refused_with_its_place(
    sound: Path, tmp_path: Path, at: int, key: str, value: object, said: str
) -> None:
    run = a_copy(sound, tmp_path)
    records = records_of(run)
    records[at][key] = value
    rechained(run, records)
    with pytest.raises(IntegrityError) as caught:
        from_journal(run)
    assert f"journal.jsonl:{at + 1}: {said}" in str(caught.value)


def test_records_that_do_not_fit_together(sound: Path, tmp_path: Path) -> None:
    """Each is right by itself: a request that ended before it was sent."""
    run = a_copy(sound, tmp_path)
    records = records_of(run)
    for record in records:
        for batch in record.get("solo") or ():
            batch["end_ns"] = batch["sent_ns"]
    rechained(run, records)
    with pytest.raises(BenchError) as caught:
        from_journal(run)
    assert caught.value.exit_code in (ExitCode.USAGE, ExitCode.INTEGRITY)


NL = "x\n::error title=mine::boo"


@pytest.mark.parametrize(
    ("at", "path"),
    [(0, ("price", NL)), (0, ("machine", "packages", NL)), (0, ("spec", "gate", NL)), (3, ("probes", NL)),
     (2, ("loaded", "bytes_by_dtype", NL)), (4, ("ceilings", NL))],
)  # fmt: skip
def test_a_key_is_one_line_in_a_message(sound: Path, tmp_path: Path, at: int, path: tuple[str, ...]) -> None:
    run = a_copy(sound, tmp_path)
    records = records_of(run)
    holder = records[at]
    for part in path[:-1]:
        holder = holder.setdefault(part, {})
    holder[path[-1]] = {"not": "a number"}
    rechained(run, records)
    with pytest.raises(BenchError) as caught:
        from_journal(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "limit",
    [{"max_increase": "abc"}, {"max_increase": "-5%"}, {"max_increase": "1e300%"}, {"max": 1e308}, {}],
)
def test_a_gate_on_a_run_with_limits_that_are_none(
    sound: Path, tmp_path: Path, limit: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_copy(sound, tmp_path)
    records = records_of(run)
    records[0]["spec"]["gate"] = {"cost_per_1k_tokens_usd": limit}
    records[0]["spec_digest"] = digest(records[0]["spec"])
    rechained(run, records)
    monkeypatch.setattr(sys, "argv", ["bench", "gate", str(run)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (ExitCode.USAGE, ExitCode.INTEGRITY)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"verdict": "ERROR", "value": 0.99}, "has a figure of pruned"),
        ({"verdict": "ERROR", "low": 0.9, "high": 1.0}, "has a figure of pruned"),
        ({"verdict": "PASS"}, "says PASS of pruned"),
    ],
)
def test_a_gate_has_no_figure_of_a_row_that_failed(
    sound: Path, tmp_path: Path, figures: dict[str, Any], words: str
) -> None:
    run = a_copy(sound, tmp_path)
    content = from_journal(run).to_json()
    rule = {"rule": "x max 1", "metric": "x", "group": "", "variant": "pruned", "kind": "timed", "reason": ""}
    content["gate"] = {
        "verdict": "PASS", "exit_code": 0, "rules": [{**rule, **figures}],
        "evidence": {"mode": "config", "units": 3, "void_units": 0, "units_from_earlier_runs": 0,
                     "seconds_per_unit": 1.0, "calibration": None},
    }  # fmt: skip
    content["variants"][1]["status"] = "oom_host"
    content = json.loads(json.dumps(content))
    (run / RUN_JSON).write_text(json.dumps(sealed(content, run / JOURNAL)))
    with pytest.raises(IntegrityError, match=f"the gate {words}, which was not measured"):
        load_run(run)


RULE = {
    "rule": "ttft_ms max_increase 3 %", "metric": "ttft_ms", "group": "", "variant": "pruned",
    "kind": "interval", "reason": "", "value": 1.0, "low": 0.99, "high": 1.01, "verdict": "PASS",
}  # fmt: skip


def with_gate(run: Path, rules: list[dict[str, Any]], **gate: Any) -> dict[str, Any]:
    content = from_journal(run).to_json()
    content["gate"] = {
        "verdict": "PASS", "exit_code": 0, "rules": rules,
        "evidence": {"mode": "config", "units": 3, "void_units": 0, "units_from_earlier_runs": 0,
                     "seconds_per_unit": 1.0, "calibration": None},
        **gate,
    }  # fmt: skip
    return content


def loaded(run: Path, content: dict[str, Any]) -> RunSummary:
    content = json.loads(json.dumps(content))
    (run / RUN_JSON).write_text(json.dumps(sealed(content, run / JOURNAL)))
    return load_run(run)


@pytest.mark.parametrize(
    ("rule", "gate", "words"),
    [
        ({}, {"verdict": "FAIL", "exit_code": 1}, "the gate says FAIL, its rules PASS"),
        ({"verdict": "FAIL", "value": 1.2, "low": 1.1, "high": 1.3}, {}, "says PASS, its rules FAIL"),
        ({"verdict": "ERROR"}, {}, "the gate says PASS, its rules ERROR"),
        ({}, {"exit_code": 1}, "the gate says PASS, its rules PASS"),
        (None, {}, "the gate says PASS, its rules ERROR"),
        ({"value": None, "low": None, "high": None}, {}, "against its own figures"),
        ({"value": 1.2, "low": 1.1, "high": 1.3}, {}, "says PASS of pruned, against its own figures"),
        ({"verdict": "FAIL"}, {"verdict": "FAIL", "exit_code": 1}, "says FAIL of pruned, against"),
        ({"rule": "top1 min 0.95", "value": 0.5, "low": 0.4, "high": 0.6}, {}, "says PASS of pruned"),
        ({"rule": "kld_mean max 0.05", "value": 2.0, "low": None, "high": None}, {}, "says PASS of pruned"),
        ({"rule": "x_change min -0.1", "value": -0.5, "low": -0.6, "high": -0.4}, {}, "says PASS of pruned"),
        ({"rule": "x max_decrease 5 %", "value": 0.5, "low": 0.4, "high": 0.6}, {}, "says PASS of pruned"),
        (
            {"kind": "timed", "verdict": "FAIL", "value": 0.9, "low": 0.8, "high": 0.95},
            {"verdict": "FAIL", "exit_code": 1},
            "says FAIL of pruned, against its own figures",
        ),
    ],
)  # fmt: skip
def test_a_verdict_is_that_of_its_rules_and_figures(
    sound: Path, tmp_path: Path, rule: dict[str, Any] | None, gate: dict[str, Any], words: str
) -> None:
    run = a_copy(sound, tmp_path)
    assert loaded(run, with_gate(run, [RULE])).gate is not None
    with pytest.raises(IntegrityError, match=words):
        loaded(run, with_gate(run, [] if rule is None else [{**RULE, **rule}], **gate))


@pytest.mark.parametrize("kind", ["interval", "exact"])
@given(
    limit=st.sampled_from(["max_increase", "max_decrease", "max", "min"]),
    bound=st.floats(0.001, 0.9),
    figures=st.tuples(*[st.floats(0.01, 10)] * 3).map(sorted),
)
def test_no_verdict_of_ours_contradicts_its_figures(
    kind: str, limit: Any, bound: float, figures: list[float]
) -> None:
    rule = Rule("ttft_ms" if kind == "interval" else "weights_bytes", limit, bound)
    low, value, high = figures
    below = Rule("bias_shift", "min", -bound)
    for away in (low, -low):
        few = Interval(away, away - 0.01, away + 0.01)
        assert not contradicts(judge_interval(below, ("", "x"), few, 3))
    assert not contradicts(judge_interval(rule, ("", "x"), Interval(value, low, high), 3))
    assert not contradicts(judge_interval(rule, ("", "x"), Interval(value, None, None)))


def test_a_rule_on_a_row_whose_baseline_failed(sound: Path, tmp_path: Path) -> None:
    run = a_copy(sound, tmp_path)
    content = with_gate(run, [RULE])
    content["variants"][0]["status"] = "oom_host"
    with pytest.raises(IntegrityError, match="has a figure of pruned, which was not measured"):
        loaded(run, content)


@pytest.mark.parametrize("status", ["ok", "oom_host"])
@pytest.mark.parametrize("which", [0, 1])
def test_two_rows_of_one_name(sound: Path, tmp_path: Path, which: int, status: str) -> None:
    """A failed row had the figures of the other."""
    run = a_copy(sound, tmp_path)
    content = from_journal(run).to_json()
    content["variants"].append({**content["variants"][which], "status": status})
    with pytest.raises(IntegrityError, match=r"two rows called (baseline|pruned)") as caught:
        loaded(run, content)
    assert caught.value.exit_code == ExitCode.INTEGRITY


def test_two_baselines_of_a_cell(sound: Path, tmp_path: Path) -> None:
    run = a_copy(sound, tmp_path)
    content = from_journal(run).to_json()
    content["variants"].append({**content["variants"][0], "name": "another"})
    with pytest.raises(IntegrityError, match="two baselines in one cell"):
        loaded(run, content)


OWN_PRICE = ["price", "RUN", "--usd-per-hour", "1"]  # takes the place of the old one, whose text stays
PRICES = [{"note": "a\ud800b"}, {"source": "\udfff"}, {"colour": "red"}, {"date": "x"}, {"purchase_usd": 5.0}]


@pytest.mark.parametrize(
    ("command", "change"),
    [
        *[(["compare", "RUN"], change) for change in PRICES],
        *[(["price", "RUN", "--against", "api"], change) for change in PRICES],
        *[(["verify", "RUN"], change) for change in PRICES],
        *[(OWN_PRICE, change) for change in PRICES[:2]],
    ],
)
def test_a_price_that_no_run_has_is_damage(
    tmp_path: Path, command: list[str], change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run")
    (run / RUN_JSON).unlink()
    records = records_of(run)
    records[0]["price"] |= change
    rechained(run, records)
    monkeypatch.setattr(sys, "argv", ["bench", *[str(run) if word == "RUN" else word for word in command]])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == ExitCode.INTEGRITY


def test_a_journal_that_would_fill_the_memory(sound: Path, tmp_path: Path) -> None:
    run = a_copy(sound, tmp_path)
    line = b'{"kind":"note","x":[' + b"[]," * 600_000 + b"[]]}\n"
    (run / JOURNAL).write_bytes((run / JOURNAL).read_bytes() + line)
    said = r"journal\.jsonl:17: not JSON \(more than 100000 lists and objects"
    with pytest.raises(IntegrityError, match=said):
        from_journal(run)


def test_more_rows_than_a_config_has(sound: Path, tmp_path: Path) -> None:
    run = a_copy(sound, tmp_path)
    head, *_others = records_of(run)
    rows = [{"kind": "arm", "group": "", "name": f"row-{number}"} for number in range(2001)]
    rechained(run, [head, *rows])
    with pytest.raises(IntegrityError, match="more than 1000 rows"):
        from_journal(run)


def test_every_format_was_asked(sound: Path) -> None:
    """The others need a package, or take a gate's units."""
    names = {module.__name__.rpartition(".")[2] for module in (csv, html, jsonl, junit, latex, markdown)}
    others = {"parquet", "pr_comment", "pytest_benchmark", "github_action_benchmark"}
    assert {name.replace("-", "_") for name in plugins.names("report.formats")} == names | others


@pytest.mark.parametrize("low", [1e-300, 1e-323])
@pytest.mark.parametrize("where", ["comparisons", "drift", "metrics"])
def test_figures_between_which_there_is_no_ratio(sound: Path, tmp_path: Path, low: float, where: str) -> None:
    """Each of them is within the schema; together they ended in an OverflowError."""
    runs = []
    for value in (low, 1e24):
        run = a_copy(sound, tmp_path / str(value))
        content = json.loads((run / RUN_JSON).read_text())
        content.pop(SEAL)
        figures = [figure for row in content["variants"] for figure in row.get(where, {}).values() if figure]
        for figure in content["comparisons"] if where == "comparisons" else figures:
            for key in ("ratio", "value", "mean", "ci_low", "ci_high"):
                if figure.get(key) is not None:
                    figure[key] = value
        (run / RUN_JSON).write_text(json.dumps(sealed(content, run / JOURNAL)))
        runs.append(run)
    found = [load_run(run) for run in runs]
    for one, other in (found, found[::-1]):
        try:
            json.dumps([asdict(row) for row in between_runs(one, other)], allow_nan=False)
        except IntegrityError as bad:
            assert str(bad).startswith("run-1 and run-1: a figure is out of range (OverflowError: ")  # noqa: PT017
        else:
            assert where != "comparisons"
    assert between_runs(found[0], found[0])


@pytest.mark.parametrize("what", ["variants", "comparisons", "reasons", "rules", "keys", "values", "bytes"])
def test_a_summary_of_more_than_any_run_has(sound: Path, tmp_path: Path, what: str) -> None:
    run = a_copy(sound, tmp_path)
    content = json.loads((run / RUN_JSON).read_text())
    content.pop(SEAL)
    rule = {
        "rule": "x max 1", "metric": "x", "group": "", "variant": "v", "kind": "exact", "reason": "",
        "verdict": "PASS",
    }  # fmt: skip
    if what == "rules":
        content["gate"] = {"verdict": "PASS", "exit_code": 0, "rules": [rule] * 5001}
        content["gate"]["evidence"] = {"mode": "code"}
    elif what in ("keys", "values", "bytes"):
        content["spec"]["x"] = {
            "keys": {str(number): 0 for number in range(1_100_000)},
            "values": [0] * 1_100_001,
            "bytes": "x" * (32 << 20),
        }[what]
    else:
        content[what] = content[what][:1] * (1001 if what == "variants" else 20_001) or ["x"] * 20_001
    (run / RUN_JSON).write_text(json.dumps(sealed(content, run / JOURNAL)))
    said = {"keys": "1100000 keys", "values": "1100000 values", "bytes": "larger than 32 MiB"}
    words = said.get(what, f"{what}: List should have at most [0-9]+ items")
    with pytest.raises(IntegrityError, match=words):
        load_run(run)


@pytest.mark.parametrize("bound", ["MAX_BYTES", "MOST"])
def test_a_summary_that_could_not_be_read_is_not_written(
    sound: Path, tmp_path: Path, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_copy(sound, tmp_path)
    (run / RUN_JSON).unlink()
    monkeypatch.setattr(summary, bound, 1000 if bound == "MAX_BYTES" else Contents(10, 10, 10))
    with pytest.raises(BenchError, match="would be too large to be read back"):
        write_summary(run)
    assert not (run / RUN_JSON).exists()
    assert load_run(run).rows
