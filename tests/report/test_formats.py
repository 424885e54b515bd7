"""Every format: what it must say, and that nobody's words can do anything in it."""

from __future__ import annotations

import csv as csv_reader
import importlib
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from markdown_it import MarkdownIt

from bench import plugins
from bench.cli.report_files import write_report
from bench.errors import IntegrityError, UsageError
from bench.gate.findings import Effort, GateVerdict, block
from bench.pricing.reprice import price_block
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
from bench.report.row_sentence import sentence
from bench.report.table_columns import COLUMNS
from bench.results.run_summary import RunStatus, RunSummary
from bench.stats.figure import Metric

TEXT_FORMATS = (
    csv, github_action_benchmark, html, jsonl, junit, latex, markdown, pr_comment, pytest_benchmark,
)  # fmt: skip
FORMATS = (*TEXT_FORMATS, parquet)


def short(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


class TestContract:
    def test_formats_are_found_by_their_file_names(self) -> None:
        assert plugins.names("report.formats") == (
            "csv", "github-action-benchmark", "html", "jsonl", "junit", "latex", "markdown", "parquet",
            "pr-comment", "pytest-benchmark",
        )  # fmt: skip

    @pytest.mark.parametrize("module", FORMATS, ids=short)
    def test_each_has_the_four_things(self, module: ModuleType) -> None:
        assert 20 < len(plugins.describe(module)) < 110
        assert re.fullmatch(r"([a-z]+\.)?[a-z]+", module.SUFFIX)
        assert isinstance(module.REQUIRES, tuple)
        assert callable(module.render)

    def test_suffixes_differ_so_reports_do_not_overwrite_each_other(self) -> None:
        assert len({module.SUFFIX for module in FORMATS}) == len(FORMATS)

    @pytest.mark.parametrize("module", TEXT_FORMATS, ids=short)
    def test_every_kind_of_run_renders_and_always_the_same(
        self, module: ModuleType, sample: ModuleType
    ) -> None:
        runs = sample.read(sample.rich_run(), sample.sweep_run(), sample.invalid_run())
        found = module.render(runs)
        assert found == module.render(runs)
        assert "bf16" in found
        assert "size=8" in found
        assert module.render(runs[2:])

    @pytest.mark.parametrize("module", TEXT_FORMATS, ids=short)
    def test_no_run_is_no_crash(self, module: ModuleType) -> None:
        assert isinstance(module.render([]), str)

    @pytest.mark.parametrize("module", TEXT_FORMATS, ids=short)
    @pytest.mark.bad_input(24, 25)
    def test_nothing_in_it_drives_a_terminal(
        self, module: ModuleType, sample: ModuleType, hostile_text: str
    ) -> None:
        hostile = (sample.hostile_run(hostile_text), sample.hostile_gate_run(hostile_text))
        found = module.render(sample.read(*hostile))
        odd = {c for c in found if not c.isprintable() and c not in "\n\N{NO-BREAK SPACE}"}
        assert odd == set()
        found.encode()

    @pytest.mark.parametrize("module", FORMATS, ids=short)
    def test_rendering_changes_nothing_in_the_run(self, module: ModuleType, sample: ModuleType) -> None:
        run = sample.rich_run()
        (read,) = sample.read(run)
        if not plugins.missing_packages(module):
            module.render([read])
        assert run == sample.rich_run()
        assert read == sample.summary(sample.rich_run())

    def test_importing_all_of_them_loads_nothing_heavy(self) -> None:
        code = "import sys; from bench import plugins; list(plugins.each('report.formats')); "
        code += "assert not {'torch', 'pyarrow', 'matplotlib', 'scipy'} & sys.modules.keys()"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class TestHarmless:
    def test_one_line_without_control_characters(self) -> None:
        assert harmless({"a\x1b": ["x\r\ny\nz", ("\u2028",), 1, None, True]}) == {
            "a�": ["x y z", ("�",), 1, None, True]
        }

    def test_records_stay_records(self, sample: ModuleType) -> None:
        run = sample.summary({**sample.sweep_run(), "name": "a\x1bb", "reasons": ["x\ny"]})
        found = harmless(run)
        assert isinstance(found, RunSummary)
        assert (found.name, found.reasons) == ("a�b", ("x y",))
        assert found.status is RunStatus.OK
        assert (found.rows, found.comparisons) == (run.rows, run.comparisons)

    def test_letters_of_any_script_and_markup_stay(self) -> None:
        assert harmless("模型 <b> é €") == "模型 <b> é €"


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and the text."""

    VOID = ("meta", "br", "rect", "line", "circle", "path", "polyline")
    APART = ("td", "th", "small", "span", "p", "li", "dt", "dd", "h3", "text")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"<{tag}> says something twice"
        self.tags.append((tag, dict(attrs)))
        self.text += " " * (tag in self.APART)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, name: str) -> list[str]:
        return [str(attrs[name]) for _tag, attrs in self.tags if name in attrs]

    def shape(self) -> set[tuple[str, ...]]:
        return {(tag, *sorted(attrs)) for tag, attrs in self.tags}


@cache
def tame_shape(sample: ModuleType) -> set[tuple[str, ...]]:
    """The shape of a page in which every word of somebody else is tame."""
    return Page(html.render(sample.read(sample.hostile_run("tame"), sample.rich_run()))).shape()


def squeezed(text: str) -> str:
    return " ".join(text.split())


class TestHtml:
    def test_it_is_one_page_that_loads_and_runs_nothing(self, sample: ModuleType) -> None:
        source = html.render(sample.read(sample.rich_run(), sample.sweep_run()))
        page = Page(source)
        assert page.open == []
        policy = next(a["content"] for _t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
        assert str(policy).startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
        assert not {"script", "link", "img", "iframe", "object", "form", "base"} & {t for t, _a in page.tags}
        assert not page.attributes("src")
        assert "url(" not in source
        assert "@import" not in source

    def test_every_link_and_label_has_its_target(self, sample: ModuleType) -> None:
        page = Page(html.render(sample.read(sample.rich_run(), sample.sweep_run(), sample.invalid_run())))
        ids = page.attributes("id")
        assert len(ids) == len(set(ids))
        labels = [one for value in page.attributes("aria-labelledby") for one in value.split()]
        links = page.attributes("href")
        assert all(link.startswith("#") for link in links)
        assert {link[1:] for link in links} | set(labels) <= set(ids)

    def test_headings_of_tables_say_what_they_head(self, sample: ModuleType) -> None:
        page = Page(html.render(sample.read(sample.rich_run())))
        assert all(a.get("scope") in ("col", "row", "rowgroup") for t, a in page.tags if t == "th")
        assert all("aria-hidden" in a or a.get("role") == "img" for t, a in page.tags if t == "svg")

    def test_the_table_the_sentences_and_the_price_are_there(self, sample: ModuleType) -> None:
        run = sample.rich_run()
        text = squeezed(Page(html.render(sample.read(run))).text)
        read = sample.summary(run)
        for row in read.rows:
            for column in COLUMNS:
                assert column.cell(read, row) in text
            assert row.is_baseline or sentence(read, row) in text
        for said in (
            "A box, 2 vCPU",
            "$0.1000 an hour",
            "60% of the time",
            "134,515,008",
            "AMD EPYC",
            "24.0 GiB",
        ):
            assert said in text
        assert all(reason in text for reason in run["reasons"])

    def test_every_figure_has_its_unit_formula_and_interval(self, sample: ModuleType) -> None:
        run = sample.rich_run()
        text = squeezed(Page(html.render(sample.read(run))).text)
        row = run["variants"][1]
        for key, figure in {**row["metrics"], **row["drift"]}.items():
            assert key in text
            assert figure is None or f"{key} {figure['formula']} {figure['unit']} " in text
        assert "[0.00130 to 0.00158] " in text
        assert "p50 630 · min 598 · max 662 · n 11" in text
        assert "512 MiB" in text

    def test_the_result_table_shows_an_interval_wherever_there_is_one(self, sample: ModuleType) -> None:
        run = sample.rich_run()
        page = squeezed(Page(html.render(sample.read(run))).text)
        read = sample.summary(run)
        row = read.rows[1]
        for column in COLUMNS:
            if bounds := column.interval(read, row):
                assert f"{column.cell(read, row)} {bounds}" in page
        shown = {column.key for column in COLUMNS if column.interval(read, row)}
        assert shown == {"ttft", "tpot", "cost", "kl", "top1"}
        assert "0.00144 [0.00130, 0.00158] 97.0% [96.0%, 98.0%]" in page
        throughput = run["variants"][1]["metrics"]["output_throughput"]
        throughput |= {"ci_low": throughput["value"] - 1, "ci_high": throughput["value"] + 1}
        assert "38.1 [37.1, 39.1]" in squeezed(Page(html.render(sample.read(run))).text)

    def test_drift_within_the_floor_has_no_interval(self, sample: ModuleType) -> None:
        text = squeezed(Page(html.render(sample.read(sample.rich_run()))).text)
        assert "≤ floor 100.0% [99.0%, 101.0%]" in text

    @pytest.mark.parametrize("module", [html, markdown], ids=short)
    def test_a_text_that_was_too_short_is_said(self, module: ModuleType, sample: ModuleType) -> None:
        run = sample.rich_run()
        short = "13,515 of the 20,000 tokens asked for were scored: the text has no more."
        found = " ".join(Page(module.render(sample.read(run))).text.replace("\\", "").split())
        assert f"Drift is over 13,515 tokens in 53 windows of 256 (mixed). {short}" in found
        for row in run["variants"]:
            for figure in filter(None, row["drift"].values()):
                figure |= {"asked": 13_600}  # 53 whole windows, and no token more could be scored
        found = " ".join(Page(module.render(sample.read(run))).text.replace("\\", "").split())
        assert "Drift is over 13,515 tokens" in found
        assert "tokens asked for" not in found

    def test_each_drift_figure_says_what_it_is_of(self, sample: ModuleType) -> None:
        text = squeezed(Page(html.render(sample.read(sample.rich_run()))).text)
        assert "[0.00130 to 0.00158] · n 13515 · 53 windows of 256 (mixed)" in text

    def test_evidence_with_what_does_not_hold(self, sample: ModuleType) -> None:
        run = sample.rich_run()
        read = {"what": "gptq", "took_s": 3.0, "texts": {"docstrings": "ab" * 32}}
        run["variants"][1]["evidence"]["steps"][0]["one_off"] = [read]
        text = squeezed(Page(html.render(sample.read(run))).text)
        assert f"read docstrings, SHA-256 {'ab' * 32}" in text
        assert f"drift text {run['text']['sha256']}" in text
        assert "dtype float32 float32 ✓ yes" in text
        assert "zeros >= 50 % 0.03 % ✗ no" in text
        assert "aten::mm" in text
        assert "76.4%" in text
        assert "dequantised at every step" in text

    def test_quietness_and_how_to_measure_again(self, sample: ModuleType) -> None:
        run = sample.rich_run()
        run["variants"][1]["warm_up"]["steady"] = False
        text = squeezed(Page(html.render(sample.read(run))).text)
        assert "3 requests, not steady" in text
        assert "at most 3.10% (solo)" in text
        assert "bench run spec.yaml" in text
        assert run["spec_digest"] in text
        assert "No energy figure: this machine shows no RAPL counter." in text

    def test_a_picture_a_cell_and_what_is_not_in_it(self, sample: ModuleType) -> None:
        text = squeezed(Page(html.render(sample.read(sample.rich_run(), sample.sweep_run()))).text)
        assert "Not drawn, for want of a cost ratio or a drift: no-drift, too-big, refuted, fp8." in text
        assert "Cost ratio against mean KL to the baseline, batch_size=8" in text
        assert "bf16: cost ratio 0.633 [0.611, 0.656], KL 0.00144" in text

    def test_an_empty_run_says_so(self, sample: ModuleType) -> None:
        text = squeezed(Page(html.render(sample.read(sample.invalid_run()))).text)
        for said in (
            "no baseline was measured",
            "Nothing to draw",
            "Nothing was measured",
            "no model was loaded",
        ):
            assert said in text

    def test_the_gate_is_shown_where_there_was_one(self, sample: ModuleType) -> None:
        rule = sample.finding("ttft_ms", "max 5", GateVerdict.FAIL, "beyond the limit", value=9.0)
        run = {**sample.sweep_run(), "gate": block([rule], Effort("code")).to_json()}
        page = Page(html.render(sample.read(run)))
        assert "Gate: FAIL" in squeezed(page.text)
        assert "notice worse" in page.attributes("class")
        rule = sample.finding("ttft_ms", "max 5", GateVerdict.PASS, "within the limit", value=1.0)
        run["gate"] = block([rule], Effort("code")).to_json()
        assert "notice better" in Page(html.render(sample.read(run))).attributes("class")

    def test_an_owned_machine_has_no_hourly_price(self, sample: ModuleType) -> None:
        run = sample.sweep_run()
        run["price"] |= {"usd_per_hour": None, "purchase_usd": 1600.0, "ownership": "owned"}
        assert "$1,600 bought" in squeezed(Page(html.render(sample.read(run))).text)

    def test_a_price_of_ones_own_has_no_note(self, sample: ModuleType) -> None:
        run = sample.sweep_run()
        run["price"] = price_block(None, 0.2, 0.5, "2026-01-31")
        assert "$0.2000 an hour" in squeezed(Page(html.render(sample.read(run))).text)

    @pytest.mark.bad_input(25, 27)
    def test_text_stays_text(self, sample: ModuleType, hostile_text: str) -> None:
        """Neither a tag nor an attribute that a tame name would not have brought too."""
        page = Page(html.render(sample.read(sample.hostile_run(hostile_text))))
        assert page.shape() - tame_shape(sample) == set()
        assert not [name for _tag, attrs in page.tags for name in attrs if name.startswith("on")]
        assert squeezed(harmless(hostile_text)) in squeezed(page.text)

    def test_no_template_marks_anything_safe(self) -> None:
        for path in Path(html.__file__).parents[1].joinpath("templates").iterdir():
            words = path.read_text()
            assert "|safe" not in words.replace(" ", "")
            assert "autoescape" not in words
            assert "<script" not in words


def markdown_tokens(text: str) -> list[Any]:
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return [
        token for block in parser.parse(text) for token in (block, *(block.children or ()))
    ]  # fmt: skip


class TestMarkdown:
    def test_table_sentences_and_money(self, sample: ModuleType) -> None:
        found = markdown.render(sample.read(sample.rich_run()))
        assert "| variant | TTFT ms |" in found
        assert "| :--- | ---: |" in found
        assert "| bf16 \\* | 63.0 \\[61.6, 64.4\\] |" in found
        assert "| 0.00144 \\[0.00130, 0.00158\\] | 97.0% \\[96.0%, 98.0%\\] |" in found
        assert "- **int8-dynamic**: 3.0 × cheaper, but a different model (agrees on 42.0% of tokens)" in found
        assert "A box, 2 vCPU, 2026-01-01, used 60% of the time" in found
        assert "- refuted: not\\_applied: 0.03 % zeros" in found

    def test_text_stays_text(self, sample: ModuleType, hostile_text: str) -> None:
        tokens = markdown_tokens(markdown.render(sample.read(sample.hostile_run(hostile_text))))
        allowed = {
            "heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline", "text",
            "bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close", "strong_open",
            "strong_close", "table_open", "table_close", "thead_open", "thead_close", "tbody_open",
            "tbody_close", "tr_open", "tr_close", "th_open", "th_close", "td_open", "td_close", "code_inline",
            "softbreak",
        }  # fmt: skip
        assert {token.type for token in tokens} <= allowed
        assert sum(token.type == "code_inline" for token in tokens) == 2
        cells = sum(token.type == "td_open" for token in tokens)
        assert cells == len(COLUMNS) * len(sample.hostile_run("x")["variants"])

    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            ("@team", "@&#8203;team"),
            ("https://evil.example", "https&#58;//evil.example"),
            ("www.evil.example", "www\\.evil.example"),
            (":tada:", "&#58;tada:"),
            ("a|b", "a\\|b"),
            ("$x$", "\\$x\\$"),
            ("<b>&", "&lt;b&gt;&amp;"),
            ("0.63 at 10:30, 97 %", "0.63 at 10:30, 97 %"),
        ],
    )
    def test_escaping(self, text: str, wanted: str) -> None:
        assert markdown.escape(text) == wanted


def csv_table(text: str) -> list[list[str]]:
    return list(csv_reader.reader(io.StringIO(text)))


class TestCsv:
    def test_a_row_a_variant_with_its_run(self, sample: ModuleType) -> None:
        runs = sample.read(sample.rich_run(), sample.sweep_run())
        header, *rows = csv_table(csv.render(runs))
        assert len(rows) == sum(len(run.rows) for run in runs)
        first = dict(zip(header, rows[1], strict=True))
        assert (first["run_id"], first["name"], first["model"]) == (runs[0].run_id, "bf16", "tiny-135m")
        assert float(first["cost_per_1k_tokens_usd_ratio"]) == 0.633
        assert float(first["kld_mean"]) == 0.00144
        assert first["mbu"] == ""

    def test_numbers_keep_their_sign_and_digits(self, sample: ModuleType) -> None:
        run = sample.rich_run()
        run["variants"][1]["metrics"]["ttft_ms"]["ci_low"] = -1.5e-05
        header, *rows = csv_table(csv.render(sample.read(run)))
        assert rows[1][header.index("ttft_ms_ci_low")] == "-1.5e-05"

    @pytest.mark.bad_input(26)
    def test_no_cell_and_no_header_is_a_formula(self, sample: ModuleType, hostile_text: str) -> None:
        table = csv_table(csv.render(sample.read(sample.hostile_run(hostile_text))))
        assert len({len(row) for row in table}) == 1
        for cell in (cell for row in table for cell in row):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))
        assert any(harmless(hostile_text) in cell for cell in table[0])

    @pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\ta", "\ra", " =1", "\n=1", "＝1"])
    @pytest.mark.bad_input(26)
    def test_an_apostrophe_stands_before_what_starts_a_formula(self, sample: ModuleType, text: str) -> None:
        run = sample.sweep_run()
        run["variants"][0]["name"] = text
        header, row, *_rest = csv_table(csv.render(sample.read(run)))
        assert row[header.index("name")] == "'" + harmless(text)

    def test_text_is_quoted_against_other_separators(self, sample: ModuleType) -> None:
        run = {**sample.sweep_run(), "name": "a;=1"}
        assert '"a;=1"' in csv.render(sample.read(run))


class TestJsonl:
    def test_a_line_a_variant_all_with_the_same_keys(self, sample: ModuleType) -> None:
        runs = sample.read(sample.rich_run(), sample.invalid_run())
        rows = [json.loads(line) for line in jsonl.render(runs).splitlines()]
        assert rows == flat_rows(runs)
        assert len({tuple(row) for row in rows}) == 1
        assert rows[-1]["run_id"] == runs[1].run_id
        assert rows[-1]["model"] is None

    def test_names_come_back_as_they_were(self, sample: ModuleType, hostile_text: str) -> None:
        found = jsonl.render(sample.read(sample.hostile_run(hostile_text)))
        assert found.isascii()
        rows = [json.loads(line) for line in found.splitlines()]
        assert rows[-2]["name"] == hostile_text

    @pytest.mark.parametrize("module", [jsonl, pytest_benchmark, github_action_benchmark], ids=short)
    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_what_is_not_finite_is_refused(self, module: ModuleType, sample: ModuleType, bad: float) -> None:
        run = sample.rich_run()
        run["variants"][1]["metrics"]["e2el_ms"]["mean"] = bad
        with pytest.raises(IntegrityError, match="not finite"):
            module.render(sample.read(run))


class TestJunit:
    def test_a_suite_a_run_and_a_case_a_variant(self, sample: ModuleType) -> None:
        root = ET.fromstring(junit.render(sample.read(sample.rich_run(), sample.sweep_run())))
        rich, sweep = root.findall("testsuite")
        counts = {key: rich.get(key) for key in ("tests", "errors", "failures", "skipped")}
        assert counts == {"tests": "10", "errors": "2", "failures": "0", "skipped": "1"}
        assert rich.get("timestamp") == "2026-01-31T12:00:00"
        assert [case.get("classname") for case in sweep.iter("testcase")][2:] == ["sweep.batch_size=8"] * 2

    def test_what_went_wrong_is_in_the_case(self, sample: ModuleType) -> None:
        root = ET.fromstring(junit.render(sample.read(sample.rich_run())))
        cases = {case.get("name"): case for case in root.iter("testcase")}
        error, skipped = cases["too-big"].find("error"), cases["fp8"].find("skipped")
        assert error is not None
        assert skipped is not None
        assert (error.get("type"), error.get("message")) == ("oom_host", "killed by the kernel at 7.9 GiB")
        assert skipped.get("message") == "this processor has no fp8"
        assert cases["too-big"].get("time") is None
        assert cases["bf16"].get("time") == "0.630000"
        assert (
            cases["bf16"].findtext("system-out")
            == "37% cheaper; close to the baseline (agrees on 97.0% of tokens)"
        )

    def test_missing_figures_are_absent_not_zero(self, sample: ModuleType) -> None:
        root = ET.fromstring(junit.render(sample.read(sample.rich_run())))
        case = next(case for case in root.iter("testcase") if case.get("name") == "no-drift")
        found = {one.get("name"): one.get("value") for one in case.iter("property")}
        assert found["cost_per_1k_tokens_usd_ratio"] == "0.5"
        assert "kld_mean" not in found

    def test_text_comes_back_as_text(self, sample: ModuleType, hostile_text: str) -> None:
        root = ET.fromstring(junit.render(sample.read(sample.hostile_run(hostile_text))))
        assert {element.tag for element in root.iter()} == {
            "testsuites", "testsuite", "testcase", "properties", "property", "error", "skipped", "system-out",
        }  # fmt: skip
        assert harmless(hostile_text) in {case.get("name") for case in root.iter("testcase")}


class TestPytestBenchmark:
    def test_its_own_reader_takes_it(
        self, sample: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        storage: Any = importlib.import_module("pytest_benchmark.storage.file")
        logger: Any = importlib.import_module("pytest_benchmark.logger")
        (tmp_path / "0001_sample.json").write_text(pytest_benchmark.render(sample.read(sample.rich_run())))
        monkeypatch.chdir(tmp_path)
        found = list(storage.FileStorage(tmp_path, logger.Logger()).load_benchmarks())
        assert [bench["name"] for bench in found] == [
            "baseline", "bf16", "int8-dynamic", "nf4", "same", "few-samples", "no-drift",
        ]  # fmt: skip
        bf16 = found[1]
        assert bf16["mean"] == pytest.approx(0.63)
        assert bf16["min"] < bf16["q1"] < bf16["median"] < bf16["q3"] < bf16["max"]
        assert bf16["rounds"] == 11
        assert bf16["ops"] == pytest.approx(1 / 0.63)
        assert bf16["extra_info"]["cost_ratio"] == 0.633
        assert bf16["extra_info"]["kld_mean"] == 0.00144
        assert found[-1]["extra_info"]["kld_mean"] is None

    @pytest.mark.parametrize("options", [[], ["--between=mean"], ["--csv=out.csv"], ["--group-by=group"]])
    def test_compare_prints_two_runs_side_by_side(
        self, sample: ModuleType, tmp_path: Path, options: list[str]
    ) -> None:
        for name, run in (("a", sample.rich_run()), ("b", {**sample.rich_run(), "run_id": "other"})):
            (tmp_path / f"{name}.json").write_text(pytest_benchmark.render(sample.read(run)))
        done = subprocess.run(
            [sys.executable, "-m", "pytest_benchmark", "compare", "a.json", "b.json", *options],
            cwd=tmp_path, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "int8-dynamic" in done.stdout
        assert "WARNING" not in done.stdout + done.stderr

    def test_a_single_sample_has_no_spread(self, sample: ModuleType) -> None:
        run = sample.sweep_run()
        for row in run["variants"]:
            row["metrics"]["e2el_ms"] |= {"n": 1, "sd": None, "min": 5.0, "max": 5.0, "mean": 5.0, "p50": 5.0}
        stats = json.loads(pytest_benchmark.render(sample.read(run)))["benchmarks"][0]["stats"]
        assert (stats["stddev"], stats["iqr"], stats["rounds"], stats["min"]) == (0.0, 0.0, 1, 0.005)

    def test_the_same_variant_of_two_runs_is_the_same_benchmark(self, sample: ModuleType) -> None:
        runs = sample.read(sample.sweep_run(), {**sample.sweep_run(), "run_id": "other"})
        names = [bench["fullname"] for bench in json.loads(pytest_benchmark.render(runs))["benchmarks"]]
        assert names[:4] == names[4:]
        assert len(set(names)) == 4


class TestLatex:
    COMMANDS = frozenset({
        "begin", "end", "toprule", "midrule", "bottomrule", "times", "div", "cdot", "Vert", "le", "ldots",
        "char", "textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar",
        "textasciigrave",
    })  # fmt: skip

    def test_a_booktabs_table_a_run(self, sample: ModuleType) -> None:
        found = latex.render(sample.read(sample.rich_run(), sample.sweep_run()))
        assert found.count(r"\begin{tabular}{lrrrrrrrlrr}") == 2
        assert r"{}bf16 * & 63.0 & 25.2 &" in found
        assert r"cost ratio [95 \%]" in found
        assert r"too-big & - &" in found
        assert r"not\_applied" in found

    def test_what_its_marks_mean_is_above_the_table(self, sample: ModuleType) -> None:
        comments = [
            line for line in latex.render(sample.read(sample.rich_run())).splitlines() if line[0] == "%"
        ]
        assert "% *: on the Pareto front: no other row is both cheaper and closer to the baseline" in comments
        assert any(line.startswith("% KL: Drift is over ") for line in comments)

    def test_text_stays_text(self, sample: ModuleType, hostile_text: str) -> None:
        found = latex.render(sample.read(sample.hostile_run(hostile_text)))
        assert set(re.findall(r"\\([A-Za-z]+)", found)) <= self.COMMANDS
        body = [line for line in found.splitlines() if line.startswith("{}")]
        assert len(body) == 1 + len(sample.hostile_run("x")["variants"])
        for line in body:
            bare = re.sub(r"\\[{}$&#_%\\]|\$\\?[A-Za-z-]+\$|\\[A-Za-z]+\d*|\{\}", "", line)
            assert bare.count("&") == len(COLUMNS) - 1
            assert not set(bare) & set('\\{}$#_%^~<>|"`')
        above = found[: found.index(r"\begin{tabular}")].splitlines()
        assert len(above) >= 2
        assert all(line.startswith("%") for line in above)

    def test_two_dashes_do_not_melt_into_one(self) -> None:
        assert latex.escape("a---b") == "a-{}-{}-b"


def test_flat_rows_have_the_counts_and_the_test_of_a_suite(sample: ModuleType) -> None:
    """A paper needs them, and neither the change nor its interval says them."""
    change = Metric("logic_change", "1", "higher", "f", "d")
    written = sample.rich_run()
    for row, found in zip(written["variants"], ([], [(40, 2, 1e-9)], [(2, 2, 1.0)]), strict=False):
        for lost, gained, p in found:
            notes = {"n": 100, "lost": lost, "gained": gained, "p": p, "least_change": 0.1}
            row["metrics"]["logic_change"] = change.scalar((gained - lost) / 100, **notes).to_json()
    base, worse, same, *_ = sample.read(written)[0].flat_rows()
    names = [f"logic_change_{name}" for name in ("lost", "gained", "p", "verdict")]
    assert [worse[name] for name in names] == [40, 2, 1e-9, "worse"]
    assert [same[name] for name in names] == [2, 2, 1.0, "cannot tell"]
    assert not set(names) & base.keys()


@pytest.mark.parametrize("content", ["{}\n{}\n", "{}\n{}"])
def test_a_report_on_stdout_has_no_empty_last_line(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A program that reads JSON line by line would stop at it."""
    write_report(content, None, False, "report.jsonl")
    assert capsys.readouterr().out == "{}\n{}\n"


class TestParquet:
    def test_without_pyarrow_it_says_how_to_get_it(
        self, sample: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(UsageError, match="pip install pyarrow"):
            parquet.render(sample.read(sample.rich_run()))

    def test_what_comes_back_is_what_went_in(self, sample: ModuleType) -> None:
        pq = pytest.importorskip("pyarrow.parquet")
        runs = sample.read(sample.rich_run(), sample.sweep_run())
        table = pq.read_table(io.BytesIO(parquet.render(runs)))
        assert table.to_pylist() == harmless(flat_rows(runs))
        types = {field.name: str(field.type) for field in table.schema}
        assert (types["name"], types["is_baseline"], types["weights_bytes"], types["mbu"]) == (
            "string", "bool", "double", "double",
        )  # fmt: skip

    def test_a_count_that_no_double_holds_to_its_last_digit(self, sample: ModuleType) -> None:
        """pyarrow refuses such a whole number in a column of doubles."""
        pq = pytest.importorskip("pyarrow.parquet")
        run = sample.rich_run()
        run["variants"][0]["metrics"]["weights_bytes"]["value"] = 2**53 + 1
        found = pq.read_table(io.BytesIO(parquet.render(sample.read(run)))).to_pylist()
        assert found[0]["weights_bytes"] == float(2**53)

    def test_any_name_can_be_stored(self, sample: ModuleType, hostile_text: str) -> None:
        pytest.importorskip("pyarrow")
        assert parquet.render(sample.read(sample.hostile_run(hostile_text))).startswith(b"PAR1")


@pytest.mark.parametrize("module", [html, markdown], ids=short)
def test_what_the_weights_were_is_said_where_the_model_is(module: ModuleType, sample: ModuleType) -> None:
    run = sample.rich_run()
    assert "dequantised from" not in module.render(sample.read(run))
    grid = {"file_type": "Q4<1", "block": 32, "levels": 16, "moved": False, "kl": None, "why_not": None}
    read = sample.read({**run, "model": {**run["model"], "grid": grid}})
    page = module.render(read).replace("\\", "")
    assert "dequantised from Q4&lt;1 (blocks of 32, 16 levels), and still on that grid" in page
