"""A gate's run in every format: each rule with its verdict, figure and reason, and once what was compared."""

from __future__ import annotations

import csv as csv_reader
import importlib
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from bench.errors import IntegrityError
from bench.gate.findings import Effort, Finding, GateBlock, GateVerdict, block
from bench.records import UnitRecord
from bench.report.formats import (
    csv,
    flat_rows,
    github_action_benchmark,
    harmless,
    html,
    jsonl,
    junit,
    latex,
    markdown,
    parquet,
    pr_comment,
    pytest_benchmark,
)
from bench.report.gate import MARKER, MOST_RULES, comment, differences, lines, workflow_commands
from bench.report.gate import markdown as job_summary
from bench.report.gate_reading import bounds, measured, summary, verdict_on, without_replaced
from bench.report.gate_sides import compared
from bench.report.row_sentence import sentence
from bench.report.table import render as print_table
from bench.report.table_columns import COLUMNS, columns_of
from bench.results.run_summary import RunSummary

TEXT_FORMATS = (
    csv, github_action_benchmark, html, jsonl, junit, latex, markdown, pr_comment, pytest_benchmark,
)  # fmt: skip
# What would be markup, a link or a command on GitHub.
ODD = "::stop-commands::x | <img src=x> `code` @team ##[add-mask]y\r\n::error::z\n| a | b |"


def short(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def gated(sample: ModuleType) -> RunSummary:
    return sample.summary(sample.gate_run())  # type: ignore[no-any-return]


def gate_of(run: RunSummary) -> GateBlock:
    assert run.gate is not None
    return run.gate


def hostile_gate(sample: ModuleType, text: str) -> GateBlock:
    return gate_of(sample.summary(sample.hostile_gate_run(text)))


def plain(module: ModuleType, text: str) -> str:
    """What a reader of the format sees, as far as these tests need it."""
    if module is jsonl:
        return "\n".join(json.dumps(json.loads(line), ensure_ascii=False) for line in text.splitlines())
    if module in (pytest_benchmark, github_action_benchmark):
        return json.dumps(json.loads(text), ensure_ascii=False)
    if module in (html, junit, markdown, pr_comment):
        text = unescape(text)
    for command, sign in ((r"\textgreater{}", ">"), (r"\textless{}", "<"), (r"$\to$", "→")):
        text = text.replace(command, sign)
    return re.sub(r"\\(?=[^A-Za-z0-9\s])", "", text) if module in (markdown, pr_comment, latex) else text


class TestEveryFormat:
    @pytest.mark.parametrize("module", TEXT_FORMATS, ids=short)
    def test_it_shows_the_whole_verdict(self, module: ModuleType, sample: ModuleType) -> None:
        """The verdict, each rule with its verdict and its reason, both sides and what differs."""
        found = plain(module, module.render(sample.read(sample.gate_run())))
        for rule in sample.RULES:
            assert rule.rule in found
            assert str(rule.verdict) in found
            assert rule.reason in found
        for said in (sample.BASE[:12], sample.CANDIDATE[:12], "workload.requests: 8 → 16",
                     "torch: 2.12.0 → 2.13.0", "server/file7.py and 3 more", "nf4"):  # fmt: skip
            assert said in found

    @pytest.mark.parametrize("module", TEXT_FORMATS, ids=short)
    def test_no_bound_that_says_nothing_and_no_second_ratio(
        self, module: ModuleType, sample: ModuleType
    ) -> None:
        found = module.render(sample.read(sample.gate_run()))
        assert not re.search(r"0\.0024|403\.4", found)
        assert "0.179" not in found

    @pytest.mark.parametrize("module", [html, latex, markdown, pr_comment, junit], ids=short)
    def test_a_figure_has_the_bounds_that_it_has(self, module: ModuleType, sample: ModuleType) -> None:
        found = plain(module, module.render(sample.read(sample.gate_run())))
        for figure in (
            "1.062 [1.041, 1.084] at 99 %",
            "1.003, too few units for an interval",
            "1.002, < 1.028 at 99 %",
            "0.981, > 0.962 at 99 %",
            "0.00144 nat [0.0002, 0.0093] at 97.5 %",
        ):
            assert figure in found

    @pytest.mark.parametrize("module", TEXT_FORMATS, ids=short)
    @pytest.mark.parametrize("verdict", [GateVerdict.IDENTICAL, GateVerdict.UNREACHED])
    def test_a_gate_without_a_single_row_is_shown_too(
        self, module: ModuleType, verdict: GateVerdict, sample: ModuleType
    ) -> None:
        found = plain(module, module.render(sample.read(sample.unmeasured_run(verdict))))
        assert str(verdict) in found
        assert "same to the last file" in found
        assert "cost_per_request_usd max_increase 3 %" in found

    def test_parquet_has_the_columns_of_csv(self, sample: ModuleType) -> None:
        pq = pytest.importorskip("pyarrow.parquet")
        runs = sample.read(
            sample.gate_run(), sample.sweep_run(), sample.unmeasured_run(GateVerdict.UNREACHED)
        )
        assert pq.read_table(io.BytesIO(parquet.render(runs))).to_pylist() == harmless(flat_rows(runs))

    def test_the_terminal_shows_it_below_the_table(self, sample: ModuleType) -> None:
        out = io.StringIO()
        print_table(gated(sample), Console(width=160, file=out))
        text = " ".join(out.getvalue().split())
        assert "FAIL bf16 candidate: cost_per_request_usd max_increase 3 %: 1.062 [1.041, 1.084]" in text
        assert "0.179" not in text
        assert "TTFT ms" not in text


class TestFigures:
    def rule(self, value: float, low: float | None, high: float | None, **more: Any) -> Finding:
        known = {"kind": "timed", "confidence": 0.99, **more}
        return Finding("m max_increase 3 %", "m", "", "v", known.pop("kind"), GateVerdict.PASS, "because",
                       value, low, high, **known)  # fmt: skip

    @pytest.mark.parametrize(
        ("value", "low", "high", "shown"),
        [
            (1.003, 0.99, 1.02, "1.003 [0.99, 1.02] at 99 %"),
            (1.003, 0.002479, 403.4, "1.003, too few units for an interval"),
            (1.003, 0.002479, 1.02, "1.003, < 1.02 at 99 %"),
            (1.003, 0.99, 403.4, "1.003, > 0.99 at 99 %"),
            (5.0, 1.9, 403.4, "5, > 1.9 at 99 %"),  # far off, but it shows that there is a difference
            (0.2, 0.002479, 0.6, "0.2, < 0.6 at 99 %"),
            (0.5, 0.25, 1.0, "0.5 [0.25, 1] at 99 %"),
            (0.5, 0.24, 1.1, "0.5, too few units for an interval"),
            (1.003, None, None, "1.003, too few units for an interval"),
            (1.0, 1.02, 1.04, "1 [1, 1.04] at 99 %"),  # an outlier that the sequence hardly looks at
            (1.0, 1.02, 403.4, "1, ≥ 1 at 99 %"),
            (1.01, 0.1, 0.99, "1.01, ≤ 1.01 at 99 %"),
        ],
    )
    def test_a_bound_of_a_sequence(
        self, value: float, low: float | None, high: float | None, shown: str
    ) -> None:
        assert measured(self.rule(value, low, high)) == shown

    def test_a_plain_interval_is_shown_as_it_is(self) -> None:
        wide = self.rule(0.01, 0.0001, 3.0, kind="interval", confidence=0.975)
        assert measured(wide) == "0.01 [0.0001, 3] at 97.5 %"
        assert bounds(wide) == (0.0001, 3.0)

    def test_a_bound_never_stands_on_the_wrong_side_of_its_figure(self) -> None:
        """Both were rounded to the nearest: 0.00250004 was ``0.0025, > 0.0025``."""
        seldom = {"kind": "interval", "confidence": 0.95}
        assert measured(self.rule(0.00250004, 0.00249999, None, **seldom)) == "0.0025, > 0.002499 at 95 %"
        assert measured(self.rule(0.00250004, 0.00250001, None, **seldom)) == "0.0025, ≥ 0.0025 at 95 %"
        assert measured(self.rule(1.0, 0.99996, 1.00004, **seldom)) == "1 [0.9999, 1.001] at 95 %"

    def test_a_count_has_no_interval_and_a_missing_figure_is_a_dash(self) -> None:
        assert measured(self.rule(1.25, 1.25, 1.25, kind="exact", confidence=1.0)) == "1.25"
        assert measured(replace(self.rule(1.0, None, None), value=None)) == "-"

    def test_a_figure_that_is_no_ratio_has_its_unit(self, sample: ModuleType) -> None:
        rule = sample.finding("ttft_ms", "max 5", GateVerdict.FAIL, "beyond", kind="interval", value=10.0,
                              low=9.0, high=11.0, confidence=0.95)  # fmt: skip
        assert measured(rule) == "10 ms [9, 11] at 95 %"


class TestWhatWasCompared:
    def test_commits(self, sample: ModuleType) -> None:
        found = compared(sample.between_commits())
        assert (found.base_commit, found.candidate_commit) == (sample.BASE, sample.CANDIDATE)
        assert found.lines == [
            "compare main (3f3f3f3f3f3f) with the working tree (a7a7a7a7a7a7)",
            "config: workload.requests: 8 → 16",
            "packages: torch: 2.12.0 → 2.13.0",
            f"11 files: {', '.join(sample.FILES[:8])} and 3 more",
            "not compared, because only one side has it: nf4",
        ]

    @pytest.mark.parametrize(
        ("effort", "sides"),
        [
            (Effort("config"), "the baseline with the variants of the same config"),
            (Effort("run", details={"run_id": "r7"}), "the baseline with the variants of run r7"),
            (Effort("stored", details={"run_id": "r7", "base": "r6"}), "run r6 with run r7"),
            (Effort("code"), "the base with the candidate"),
            (
                Effort("code", details={"sides": {"base": {"label": "old/python", "python": "3.11.7"},
                                        "candidate": {"label": "this environment", "python": "3.12.1"}}}),
                "old/python (Python 3.11.7) with this environment (Python 3.12.1)",
            ),
        ],
    )  # fmt: skip
    def test_other_sides(self, effort: Effort, sides: str) -> None:
        assert compared(effort).lines == [f"compare {sides}"]

    def test_nothing_differs(self, sample: ModuleType) -> None:
        gate = gate_of(sample.summary(sample.unmeasured_run(GateVerdict.IDENTICAL)))
        assert compared(gate.effort).differing == [
            "nothing differs: not a file, not a package, not a key of the config"
        ]

    def test_a_long_value_and_many_keys_are_cut(self) -> None:
        one = {"what": "prompt", "base": "x" * 500, "candidate": "y"}
        found = differences({"config": [one] * 40, "packages": [], "files": ["a.py"]}, "main", "worktree")
        assert found[0] == "compare main with worktree"
        assert max(map(len, found)) < 120
        assert found[-2:] == ["  config: 28 more", "  1 file: a.py"]

    @pytest.mark.parametrize("details", [{}, {"sides": {}}, {"sides": "x"}, {"sides": {"base": None}}])
    def test_evidence_that_no_gate_writes_is_called_damaged(self, details: dict[str, Any]) -> None:
        with pytest.raises(IntegrityError, match="the gate's evidence is damaged"):
            compared(Effort("commits", details=details))


class TestOnTheTerminal:
    def test_sides_differences_and_rows_of_one_side(self, sample: ModuleType) -> None:
        found = lines("gated", gate_of(gated(sample)))
        assert found[0] == "FAIL  gated  (exit 1)"
        assert found[1:6] == [f"  {line}" for line in compared(sample.between_commits()).lines]
        assert found[6].startswith(
            "  FAIL         bf16 candidate: cost_per_request_usd max_increase 3 %: 1.062"
        )
        assert found[-1].startswith("  12 units, 1 void, 3 s each")

    @pytest.mark.parametrize(
        ("effort", "said"),
        [
            (Effort("run", units=4, void_units=1), "by what it has, 4 pairs of new processes, 1 void"),
            (Effort("run", units=1), "by what it has, 1 pair of new processes; nothing"),
            (Effort("run"), "by what it has, no valid pairs of processes; nothing"),
            (
                Effort("stored", details={"run_id": "r7", "base": "r6"}),
                "the figures of both runs were judged as they are",
            ),
        ],
    )
    def test_a_finished_run_says_what_it_has(self, effort: Effort, said: str, sample: ModuleType) -> None:
        """It said "0 units", and which change a gate sees that measures."""
        last = lines("gated", replace(gate_of(gated(sample)), effort=effort))[-1]
        assert said in last
        assert "calibrate" not in last

    @pytest.mark.parametrize(("sharing", "said"), [(12, ""), (5, "5 of them with ")])
    def test_how_both_sides_shared_the_machine(self, sharing: int, said: str, sample: ModuleType) -> None:
        gate = gate_of(gated(sample))
        shared = replace(gate, effort=replace(gate.effort, units_sharing=sharing))
        assert (
            f"12 units, {said}both sides at the same time on one processor, 1 void"
            in lines("gated", shared)[-1]
        )

    @pytest.mark.parametrize("write", [lines, lambda *a: job_summary(*a).split("\n"),
                                       lambda *a: comment(*a).split("\n")])  # fmt: skip
    def test_what_to_do_about_a_change_that_was_not_reached(self, write: Any, sample: ModuleType) -> None:
        said = "measure something that it reaches, or accept that with --allow-identical"
        for verdict, wanted in ((GateVerdict.UNREACHED, 1), (GateVerdict.IDENTICAL, 0)):
            gate = gate_of(sample.summary(sample.unmeasured_run(verdict)))
            assert sum(said in line for line in write("gated", gate)) == wanted

    def test_no_line_is_a_command_to_github(self, sample: ModuleType) -> None:
        """The runner trims a line before it looks for ``::``, and finds ``##[`` anywhere."""
        gate = hostile_gate(sample, ODD)
        head = differences(gate.effort.details["differences"], ODD, ODD)
        for line in (*lines(ODD, gate), *head):
            assert not line.lstrip().startswith("::")
            assert "##[" not in line
            assert not set(line) & set("\r\n")


class TestOnGithub:
    def test_a_command_a_rule_and_nothing_else_in_it(self, sample: ModuleType) -> None:
        found = workflow_commands(hostile_gate(sample, ODD))
        assert len(found) == 3
        for command in found:
            level, title, data = re.fullmatch(r"::(error|warning) title=([^:,]*)::(.*)", command).groups()  # type: ignore[union-attr]
            assert title == "bench gate"
            assert "##[" not in data
            assert not re.search(r"%(?!25|0D|0A)", data), "a bare % begins an escape"
            assert level == ("warning" if "UNREACHED" in data else "error")
        assert "3 %25: 1.062" in found[0]
        assert "--allow-identical" in found[1]

    @pytest.mark.parametrize("write", [job_summary, comment])
    def test_text_stays_text_in_one_table(self, write: Any, sample: ModuleType, hostile_text: str) -> None:
        for text in (hostile_text, ODD):
            gate = hostile_gate(sample, text)
            page = str(write(text, gate)).removeprefix(f"{MARKER}\n")
            page = re.sub(r"</?(details|summary)>", "", page)
            parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
            tokens = [one for top in parser.parse(page) for one in (top, *(top.children or ()))]
            kinds = {token.type for token in tokens}
            assert not kinds & {
                "html_block",
                "html_inline",
                "link_open",
                "image",
                "fence",
                "code_block",
                "hr",
            }
            assert sum(token.type == "table_open" for token in tokens) == 1
            assert sum(token.type == "td_open" for token in tokens) == 6 * len(gate.rules)
            assert sum(token.type == "code_inline" for token in tokens) == 1  # `bench calibrate`
            assert "@team" not in page

    def test_a_comment_finds_itself_again(self, sample: ModuleType) -> None:
        run = gated(sample)
        found = comment(run.name, gate_of(run)).split("\n")
        assert found[0] == MARKER == "<!-- inference-cost-bench -->"
        assert found[1] == "### FAIL: gated"
        assert found[3].startswith("7 rules: 1 FAIL, 1 ERROR, 1 INCONCLUSIVE, 4 PASS. bf16 candidate: ")
        verdicts = [line.split("**")[1] for line in found if line.startswith("| bf16")]
        assert verdicts == ["FAIL", "ERROR", "INCONCLUSIVE", *["PASS"] * 4]
        inside = "\n".join(found).partition("<details>")[2].partition("</details>")[0]
        assert "- compare main" in inside
        assert "- packages: torch" in inside
        assert pr_comment.render([run]) == "\n".join(found)

    def test_a_comment_on_many_rules_is_one_that_github_takes(self, sample: ModuleType) -> None:
        long = [replace(rule, reason="word | " * 300) for rule in sample.RULES[1:]] * 60
        gate = block([*long, sample.RULES[0]], sample.between_commits())
        found = comment("gated", gate)
        assert len(found) < 65_536
        assert sum(line.startswith("| bf16") for line in found.split("\n")) == MOST_RULES
        assert f"{len(gate.rules) - MOST_RULES} more rules" in found
        assert "**FAIL**" in found

    def test_one_marker_for_several_runs_with_a_gate_and_without(self, sample: ModuleType) -> None:
        found = pr_comment.render(sample.read(sample.gate_run(), sample.rich_run()))
        assert found.startswith(f"{MARKER}\n### FAIL: gated")
        assert found.count(MARKER) == 1
        assert "## sample: tiny-135m" in found

    @pytest.mark.parametrize(
        ("verdicts", "said"),
        [
            ([], "no rule was judged"),
            (["PASS"], "1 rule: 1 PASS"),
            (["IDENTICAL", "PASS"], "2 rules: 1 PASS, 1 IDENTICAL"),
            (["PASS", "UNREACHED"], "2 rules: 1 UNREACHED, 1 PASS. bf16 candidate: m max 1: - (because)"),
        ],
    )
    def test_a_summary_is_one_line(self, verdicts: list[str], said: str, sample: ModuleType) -> None:
        rules = [sample.finding("m", "max 1", GateVerdict(one), "because") for one in verdicts]
        assert summary(block(rules, Effort("code"))) == said


class TestRows:
    def test_a_ratio_of_one_request_apart_does_not_stand_beside_the_gates(self, sample: ModuleType) -> None:
        run = gated(sample)
        assert [one.ratio for one in run.comparisons] == [0.179]
        assert without_replaced(run).comparisons == ()
        assert without_replaced(replace(run, gate=None)).comparisons == run.comparisons

    def test_a_figure_that_the_gate_did_not_judge_stays(self, sample: ModuleType) -> None:
        memory = {**sample.ratio("candidate", 0.8, 0.7, 0.9, "better", "bf16"), "metric": "peak_rss_bytes",
                  "design": "solo"}  # fmt: skip
        found = sample.gate_run(sample.RULES[:1])
        found["comparisons"].append(memory)
        assert [one.ratio for one in without_replaced(sample.summary(found)).comparisons] == [0.8]
        found = sample.gate_run(sample.RULES[4:5])  # drift alone: the cost of the whole run is all there is
        assert [one.ratio for one in without_replaced(sample.summary(found)).comparisons] == [0.179]

    def test_a_run_judged_by_its_own_ratios_keeps_them(self, sample: ModuleType) -> None:
        found = sample.summary(sample.gate_run(effort=Effort("run", details={"run_id": "r"})))
        assert without_replaced(found).comparisons == found.comparisons

    def test_the_sentence_and_the_column_have_the_verdict(self, sample: ModuleType) -> None:
        run = without_replaced(gated(sample))
        base, candidate = run.rows
        assert verdict_on(run, candidate) is GateVerdict.FAIL
        assert sentence(run, candidate).startswith(
            "the gate says FAIL: cost_per_request_usd max_increase 3 %: 1.062 [1.041, 1.084] at 99 %"
        )
        assert sentence(run, base) == "the baseline"
        columns = columns_of(run)
        assert [column.key for column in columns] == ["variant", "weights", "verdict"]
        assert [column.cell(run, candidate) for column in columns] == ["bf16 candidate", "512", "FAIL"]
        assert columns_of(replace(run, gate=None)) == COLUMNS
        assert (run.fronts, replace(run, gate=None).fronts["bf16"]) == ({}, {"base"})


class TestFlatRows:
    def test_the_run_the_rules_and_only_bounds_that_say_something(self, sample: ModuleType) -> None:
        base, candidate = flat_rows([gated(sample)])
        for row in (base, candidate):
            assert row["gate_verdict"] == "FAIL"
            assert (row["gate_exit_code"], row["gate_mode"]) == (1, "commits")
            assert (row["gate_base_commit"], row["gate_candidate_commit"]) == (sample.BASE, sample.CANDIDATE)
            assert row["gate_config_differs"] == "workload.requests: 8 → 16"
            assert row["gate_packages_differ"] == "torch: 2.12.0 → 2.13.0"
            assert row["gate_files_differ"] == 11
            assert row["gate_not_compared"] == "nf4"
        key = "gate_cost_per_request_usd"
        assert (candidate[f"{key}_ratio"], candidate[f"{key}_verdict"]) == (1.062, "FAIL")
        assert (candidate[f"{key}_ratio_low"], candidate[f"{key}_ratio_high"]) == (1.041, 1.084)
        assert candidate[f"{key}_rule"] == "cost_per_request_usd max_increase 3 %"
        assert candidate[f"{key}_units"] == 12
        assert (candidate["gate_ttft_ms_ratio_low"], candidate["gate_ttft_ms_ratio_high"]) == (None, 1.028)
        assert candidate["gate_kld_mean_value"] == 0.00144
        assert candidate["gate_top1_agreement_reason"] == "it was not measured in this run"
        assert base[f"{key}_ratio"] is None
        assert "cost_per_1k_tokens_usd_ratio" not in candidate

    def test_the_worse_of_two_rules_on_a_figure_decides_and_columns_keep_their_order(
        self, sample: ModuleType
    ) -> None:
        rise = sample.finding(
            "ttft_ms", "max_increase 3 %", GateVerdict.PASS, "a", **sample.sequence(1, 1, 1)
        )
        fall = sample.finding(
            "ttft_ms", "max_decrease 3 %", GateVerdict.FAIL, "b", **sample.sequence(1, 1, 1)
        )
        most = sample.finding("ttft_ms", "max 5", GateVerdict.PASS, "c", kind="interval", value=4.0)
        orders = set()
        for rules in ([fall, rise, most], [rise, fall, most]):
            row = flat_rows([sample.summary(sample.gate_run(rules))])[-1]
            assert (row["gate_ttft_ms_verdict"], row["gate_ttft_ms_reason"]) == ("FAIL", "b")
            assert (row["gate_ttft_ms_ratio"], row["gate_ttft_ms_value"]) == (1, 4.0)
            orders.add(tuple(row))
        assert len(orders) == 1

    def test_a_run_without_a_gate_has_the_columns_that_it_had(self, sample: ModuleType) -> None:
        assert not [key for key in flat_rows(sample.read(sample.rich_run()))[0] if key.startswith("gate")]

    def test_rows_that_were_never_measured(self, sample: ModuleType) -> None:
        (row,) = flat_rows([sample.summary(sample.unmeasured_run(GateVerdict.IDENTICAL))])
        assert (row["name"], row["gate_verdict"], row["gate_files_differ"]) == ("candidate", "IDENTICAL", 0)
        assert row["gate_cost_per_request_usd_verdict"] == "IDENTICAL"

    def test_no_cell_is_a_formula(self, sample: ModuleType, hostile_text: str) -> None:
        text = csv.render(sample.read(sample.hostile_gate_run(hostile_text)))
        table = list(csv_reader.reader(io.StringIO(text)))
        assert len({len(row) for row in table}) == 1
        for cell in (cell for row in table for cell in row):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))


class TestJunit:
    def cases(self, found: dict[str, Any], sample: ModuleType) -> tuple[ET.Element, dict[str, ET.Element]]:
        (suite,) = ET.fromstring(junit.render(sample.read(found))).findall("testsuite")
        return suite, {str(case.get("name")): case for case in suite.iter("testcase")}

    def test_a_case_a_rule_with_its_end(self, sample: ModuleType) -> None:
        suite, cases = self.cases(sample.gate_run(), sample)
        counts = {key: suite.get(key) for key in ("tests", "errors", "failures", "skipped")}
        assert counts == {"tests": "9", "errors": "2", "failures": "1", "skipped": "0"}
        failed = cases["cost_per_request_usd max_increase 3 %"]
        known = {one.get("name"): one.get("value") for one in failed.iter("property")}
        assert known == {
            "verdict": "FAIL", "value": "1.062", "low": "1.041", "high": "1.084", "confidence": "0.99",
            "unit": "ratio", "units": "12",
        }  # fmt: skip
        assert failed.find("failure").get("message") == "worse than the baseline, shown by 12 units"  # type: ignore[union-attr]
        passed = {one.get("name") for one in cases["tpot_ms max_increase 3 %"].iter("property")}
        assert not passed & {"low", "high"}
        said = {one.get("name"): one.get("value") for one in suite.find("properties")}  # type: ignore[union-attr]
        assert said["gate_verdict"] == "FAIL"
        assert said["gate_compared"] == "main (3f3f3f3f3f3f) with the working tree (a7a7a7a7a7a7)"
        assert "packages: torch" in str(said["gate_differences"])

    @pytest.mark.parametrize(
        ("verdict", "tag"),
        [
            ("FAIL", "failure"), ("SUSPECT", "failure"), ("ERROR", "error"), ("INCONCLUSIVE", "error"),
            ("UNREACHED", "error"), ("IDENTICAL", "skipped"), ("PASS", None),
        ],
    )  # fmt: skip
    def test_how_a_rule_ends(self, verdict: str, tag: str | None, sample: ModuleType) -> None:
        figures = {"PASS": {"value": 1.0}, "FAIL": {"value": 9.0}}.get(verdict, {})
        rule = sample.finding("ttft_ms", "max 5", GateVerdict(verdict), "because", **figures)
        _suite, cases = self.cases(sample.gate_run([rule]), sample)
        tags = [one.tag for one in cases["ttft_ms max 5"] if one.tag not in ("properties", "system-out")]
        assert tags == ([tag] if tag else [])

    def test_text_comes_back_as_text(self, sample: ModuleType, hostile_text: str) -> None:
        _suite, cases = self.cases(sample.hostile_gate_run(hostile_text), sample)
        assert harmless(hostile_text) in cases


class TestPytestBenchmark:
    def test_a_benchmark_a_figure_and_every_rule_beside_them(self, sample: ModuleType) -> None:
        found = json.loads(pytest_benchmark.render(sample.read(sample.gate_run())))
        names = [one["name"] for one in found["benchmarks"]]
        assert len(names) == sum(rule.value is not None for rule in sample.RULES)
        first = found["benchmarks"][0]
        assert first["name"] == "bf16 candidate: cost_per_request_usd max_increase 3 % (ratio)"
        stats = first["stats"]
        assert (stats["min"], stats["mean"], stats["max"], stats["rounds"]) == (1.041, 1.062, 1.084, 12)
        assert (first["extra_info"]["verdict"], first["extra_info"]["gate"]) == ("FAIL", "FAIL")
        (gate,) = found["gates"]
        assert [rule["rule"] for rule in gate["rules"]] == [rule.rule for rule in sample.RULES]
        assert (gate["rules"][1]["low"], gate["rules"][1]["high"]) == (None, None)

    def test_the_commit_is_the_one_that_was_measured(self, sample: ModuleType) -> None:
        """That of a gate's candidate; none of a run on no commits, or of runs on several."""

        def commit(*runs: Any) -> tuple[str, bool]:
            found = json.loads(pytest_benchmark.render(sample.read(*runs)))["commit_info"]
            return found["id"], found["dirty"]

        clean, dirty, other = (sample.gate_run() for _each in range(3))
        dirty["gate"]["evidence"]["sides"]["candidate"]["uncommitted"] = True
        other["gate"]["evidence"]["sides"]["candidate"]["commit"] = sample.BASE
        assert commit(clean) == commit(clean, clean) == (sample.CANDIDATE, False)
        assert commit(dirty) == (sample.CANDIDATE, True)
        assert commit(clean, other) == commit({**clean, "gate": None}) == commit() == ("unversioned", False)

    def test_its_own_program_prints_it(self, sample: ModuleType, tmp_path: Path) -> None:
        importlib.import_module("pytest_benchmark")
        zero = sample.finding("kld_mean", "max 1", GateVerdict.PASS, "none", kind="interval", value=0.0)
        for name in ("a", "b"):
            run = {**sample.gate_run([*sample.RULES, zero]), "run_id": name}
            (tmp_path / f"{name}.json").write_text(pytest_benchmark.render(sample.read(run)))
        done = subprocess.run(
            [sys.executable, "-m", "pytest_benchmark", "compare", "a.json", "b.json"],
            cwd=tmp_path, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "cost_per_request_usd max_increase 3 % (ratio)" in done.stdout

    def test_units_have_the_rules_of_their_own_row(self, sample: ModuleType) -> None:
        """A sweep has the same name in several cells."""
        other = replace(sample.RULES[0], group="fp32", verdict=GateVerdict.ERROR)
        unit = UnitRecord(1, "bf16", "candidate", (0,), 0, ((10, 5),), ((11, 6),))
        run = sample.summary(sample.gate_run([sample.RULES[0], sample.RULES[1], other]))
        found = json.loads(pytest_benchmark.of_units(run, [unit]))
        rules = found["benchmarks"][1]["extra_info"]["rules"]
        assert [rule["verdict"] for rule in rules] == ["FAIL", "PASS"]
        assert rules[1]["low"] is None


class TestGithubActionBenchmark:
    def entries(self, sample: ModuleType, *runs: dict[str, Any]) -> dict[str, dict[str, Any]]:
        found = json.loads(github_action_benchmark.render(sample.read(*runs)))
        for entry in found:
            assert {"name", "unit", "value"} <= set(entry) <= {"name", "unit", "value", "range", "extra"}
            assert isinstance(entry["value"], int | float)
            assert isinstance(entry["unit"], str)
        assert len({entry["name"] for entry in found}) == len(found)
        return {entry["name"]: entry for entry in found}

    def test_a_gate(self, sample: ModuleType) -> None:
        found = self.entries(sample, sample.gate_run())
        assert found["gated: gate"]["value"] == 3
        assert "FAIL: 7 rules" in found["gated: gate"]["extra"]
        cost = found["gated: gate: bf16 candidate: cost_per_request_usd max_increase 3 %"]
        assert (cost["unit"], cost["value"], cost["range"]) == ("ratio", 1.062, "± 0.022")
        assert "worse than the baseline" in cost["extra"]
        one_sided = found["gated: gate: bf16 candidate: ttft_ms max_increase 3 %"]
        assert one_sided["range"] == "< 1.028"
        assert "range" not in found["gated: gate: bf16 candidate: tpot_ms max_increase 3 %"]

    def test_more_is_worse_in_each_entry(self, sample: ModuleType) -> None:
        """What is better if it is more is turned over, with its bound on the other side."""
        found = self.entries(sample, sample.gate_run())
        rate = found["gated: gate: bf16 candidate: output_throughput max_decrease 3 % (1 / figure)"]
        assert rate["value"] == pytest.approx(1 / 0.981)
        assert rate["range"] == f"< {1 / 0.962:.4g}"
        top1 = sample.finding("top1_agreement", "min 0.95", GateVerdict.FAIL, "beyond", kind="interval",
                              value=0.0)  # fmt: skip
        assert list(self.entries(sample, sample.gate_run([top1])))[0:1] == ["gated: gate"]
        assert not [name for name in self.entries(sample, sample.gate_run([top1])) if "top1" in name]

    def test_a_run(self, sample: ModuleType) -> None:
        found = self.entries(sample, sample.rich_run())
        assert found["sample: bf16: cost_per_1k_tokens_usd ratio"]["value"] == 0.633
        assert found["sample: bf16: kld_mean"]["range"] == "± 0.000144"
        assert found["sample: bf16: ttft_ms"]["unit"] == "ms"
        assert not [name for name in found if "too-big" in name or "top1" in name or "throughput" in name]
        assert "sample: no-drift: kld_mean" not in found

    def test_a_name_is_the_same_in_the_next_run(self, sample: ModuleType) -> None:
        later = {**sample.gate_run(), "run_id": "later"}
        assert list(self.entries(sample, sample.gate_run())) == list(self.entries(sample, later))

    def test_a_name_stays_in_its_cell(self, sample: ModuleType, hostile_text: str) -> None:
        for text in (hostile_text, ODD):
            found = github_action_benchmark.render(sample.read(sample.hostile_gate_run(text)))
            assert not [one for one in json.loads(found) if set(one["name"]) & set("`|\r\n")]


class TestHtml:
    def test_rules_have_their_colour(self, sample: ModuleType) -> None:
        page = html.render(sample.read(sample.gate_run()))
        for verdict, tone in (("FAIL", "worse"), ("PASS", "better"), ("INCONCLUSIVE", "cannot-tell")):
            assert f'<span class="pill {tone}">{verdict}</span>' in page
        assert "Gate: FAIL" in page
        assert '<th scope="col" class="num">TTFT ms</th>' not in page

    def test_a_label_has_its_target(self, sample: ModuleType) -> None:
        page = html.render(sample.read(sample.gate_run(), sample.unmeasured_run(GateVerdict.UNREACHED)))
        ids = re.findall(r' id="([^"]+)"', page)
        assert len(ids) == len(set(ids))
        labels = re.findall(r'aria-labelledby="([^"]+)"', page)
        assert set(labels) <= set(ids)

    def test_text_stays_text(self, sample: ModuleType, hostile_text: str) -> None:
        def tags(text: str) -> set[str]:
            return set(re.findall(r"<(\w+)", html.render(sample.read(sample.hostile_gate_run(text)))))

        assert tags(hostile_text) == tags("tame")


class TestLatex:
    def test_text_stays_text(self, sample: ModuleType, hostile_text: str) -> None:
        found = latex.render(sample.read(sample.hostile_gate_run(hostile_text)))
        tame = latex.render(sample.read(sample.hostile_gate_run("tame")))
        commands = {"char", "ldots", "textbackslash", "textasciicircum", "textasciitilde", "textless",
                    "textgreater", "textbar", "textasciigrave"}  # fmt: skip
        known = set(re.findall(r"\\([A-Za-z]+)", tame)) | commands
        assert set(re.findall(r"\\([A-Za-z]+)", found)) <= known
        assert len(found.splitlines()) == len(tame.splitlines())
        for line, other in zip(found.splitlines(), tame.splitlines(), strict=True):
            assert line.replace(r"\&", "").count("&") == other.count("&")
