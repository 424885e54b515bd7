"""`bench verify`: a run that is as it was written passes; whatever was changed in it is found and named."""

from __future__ import annotations

import builtins
import gzip
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import journals
import pytest
import yaml
from journals import SPEC, clock, write_journal

import bench
from bench.errors import BenchError, ExitCode, IntegrityError, UsageError
from bench.results.summarise import summarise
from bench.results.summary import RUN_JSON, from_journal, load_run, sealed
from bench.results.verify import verify_run
from bench.store.files import digest
from bench.store.journal import Journal
from bench.store.replay import JOURNAL, load_record, newest_first
from bench.store.source import source_digest

ROOT = Path(__file__).parents[2]


def made(directory: Path) -> dict[str, Any]:
    """What ``run.json`` holds."""
    return summarise(load_record(directory)).to_json()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_journal(tmp_path)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False))
    (tmp_path / RUN_JSON).write_text(json.dumps(made(tmp_path), indent=1) + "\n")
    return tmp_path


def refusal(run: Path) -> str:
    with pytest.raises(IntegrityError) as caught:
        verify_run(run)
    assert caught.value.exit_code == ExitCode.INTEGRITY
    return str(caught.value)


def test_a_run_as_it_was_written(run: Path) -> None:
    text = verify_run(run)
    journal, spec, summary = text.splitlines()
    assert "journal.jsonl: 16 records" in journal
    assert digest(SPEC) in spec
    assert "run.json: the summary of the journal" in summary


def pack(run: Path) -> Path:
    journal = run / JOURNAL
    packed = run / f"{JOURNAL}.gz"
    packed.write_bytes(gzip.compress(journal.read_bytes()))
    journal.unlink()
    return packed


def test_a_run_put_away_with_its_journal_packed(run: Path) -> None:
    pack(run)
    before = verify_run(run).splitlines()[0]
    assert "journal.jsonl.gz: 16 records" in before
    assert json.loads(json.dumps(made(run))) == json.loads((run / RUN_JSON).read_text())


def test_a_packed_journal_that_is_damaged(run: Path) -> None:
    packed = pack(run)
    whole = packed.read_bytes()
    for damaged in (whole[:-20], b"not gzip at all", whole[:20] + b"\0\0\0\0" + whole[24:]):
        packed.write_bytes(damaged)
        assert "journal.jsonl.gz: cannot be unpacked" in refusal(run)


def test_a_packed_journal_is_not_continued(run: Path) -> None:
    packed = pack(run)
    with pytest.raises(BenchError, match="packed"):
        Journal.reopen(run / JOURNAL, clock)
    assert packed.is_file()
    assert run not in [directory for directory, _head in newest_first(run.parent)]


COMMITTED = sorted(path.parent for path in (ROOT / "results" / "reference").rglob("run.json"))


@pytest.mark.parametrize("run", [str(run.relative_to(ROOT)) for run in COMMITTED])
def test_every_committed_run(run: str) -> None:
    assert "figure by figure" in verify_run(ROOT / run)


def test_a_run_is_the_same_in_a_python_that_adds_floats_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Since 3.12 `sum` keeps what floats lose: a run of 3.11 had another last digit there."""
    plain = builtins.sum

    def compensated(values: Iterable[Any], start: Any = 0) -> Any:
        these = [start, *values]
        return math.fsum(these) if any(type(one) is float for one in these) else plain(these)

    monkeypatch.setattr(builtins, "sum", compensated)
    assert sum([1e16, 1.0, -1e16]) == 1.0, "it takes the place of the other"
    for name in ("quickstart", "pruning-distillation"):
        assert "figure by figure" in verify_run(ROOT / "results" / "reference" / name)


def test_the_figures_are_there_to_be_checked(run: Path) -> None:
    data = json.loads((run / RUN_JSON).read_text())
    assert data["status"] == "ok"
    assert data["variants"][1]["metrics"]["cost_per_1k_tokens_usd"]["value"] > 0
    assert data["variants"][1]["drift"]["kld_mean"]["ci_low"] is not None
    assert {row["verdict"] for row in data["comparisons"]} >= {"better"}


def test_how_it_is_indented_does_not_matter(run: Path) -> None:
    (run / RUN_JSON).write_text(json.dumps(json.loads((run / RUN_JSON).read_text())))
    assert "figure by figure" in verify_run(run)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no run"):
        verify_run(tmp_path)
    with pytest.raises(UsageError, match=r"holds no run"):
        verify_run(tmp_path / "nowhere")


# ---- run.json ------------------------------------------------------------------------------------


GONE = object()


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["variants", 0, "metrics", "ttft_ms", "mean"], 5.000001, "5.000001, the journal gives 5.0"),
        (["variants", 1, "drift", "kld_mean", "value"], 0.0, "0.0, the journal gives 0.02"),
        (["variants", 1, "status"], "timeout", '"timeout", the journal gives "ok"'),
        (["variants", 1], GONE, "1 entries, the journal gives 2"),
        (["comparisons", 0, "verdict"], "worse", '"worse", the journal gives "better"'),
        (["comparisons"], [], "0 entries, the journal gives 7"),
        (["price", "usd_per_hour"], 0.01, "0.01, the journal gives 0.1008"),
        (["machine", "cpus"], 64, "64, the journal gives 2"),
        (["machine", "cpus"], 2.0, "2.0, the journal gives 2"),
        (["machine", "cpus"], GONE, "absent, the journal gives 2"),
        (["machine", "owner"], "me", '"me", the journal gives absent'),
        (["spec", "drift", "tokens"], 1, "1, the journal gives 64"),
        (["text", "sha256"], "0", '"0", the journal gives'),
        (["status"], "partial", '"partial", the journal gives "ok"'),
        (["gate"], {"verdict": "PASS"}, "the journal gives null"),
    ],
)
def test_an_edited_summary_is_named_where_it_differs(
    run: Path, path: list[str | int], value: object, words: str
) -> None:
    data: Any = json.loads((run / RUN_JSON).read_text())
    target = data
    for part in path[:-1]:
        target = target[part]
    if value is GONE:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    (run / RUN_JSON).write_text(json.dumps(data))
    said = refusal(run)
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    assert said.startswith(f"{run / RUN_JSON}: {place.removesuffix('[1]') if value is GONE else place}: ")
    assert words in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "codec can't decode"),
        (b"[]", "the whole file"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b'{"a": 1, "a": 1}', "stands twice"),
        (b'{"a": ' + b"9" * 400 + b"}", "an integer of 400 digits"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
@pytest.mark.bad_input(44)
def test_a_summary_that_is_none(run: Path, content: bytes, words: str) -> None:
    (run / RUN_JSON).write_bytes(content)
    assert words in refusal(run)


@pytest.mark.fault(37)
def test_a_summary_that_is_gone(run: Path) -> None:
    """The harness may be ended between its last record and this file; the journal has everything."""
    (run / RUN_JSON).unlink()
    text = verify_run(run)
    assert "run.json: not there: the harness was ended after its last record" in text
    assert "every command makes it from the journal, and --resume writes it" in text
    assert "continue it with --resume" not in text


# A run that was continued, and ended before its new summary was written.


def continued(run: Path) -> int:
    """Seal the summary of a journal, add a record to it, and return how many there were before."""
    content = sealed(json.loads(json.dumps(made(run))), run / JOURNAL)
    (run / RUN_JSON).write_text(json.dumps(content))
    with Journal.reopen(run / JOURNAL, clock) as journal:
        count = len(journal.take_earlier())
        journal.append("run_finished", {})
    return count


@pytest.mark.fault(37)
def test_a_summary_of_before_a_run_was_continued(run: Path) -> None:
    count = continued(run)
    assert f"run.json: the summary of the first {count} of {count + 1} records; the run was continued" in (
        verify_run(run)
    )
    assert load_run(run).to_json() == from_journal(run).to_json()


def test_it_is_held_against_the_records_of_its_time(run: Path) -> None:
    continued(run)
    data = json.loads((run / RUN_JSON).read_text())
    data["variants"][1]["drift"]["kld_mean"]["value"] = 0.5
    data["seal"]["content_sha256"] = digest({key: data[key] for key in data if key != "seal"})
    (run / RUN_JSON).write_text(json.dumps(data))
    assert "variants[1].drift.kld_mean.value: 0.5, the journal gives" in refusal(run)


def test_a_difference_says_whether_the_code_has_changed_since(run: Path) -> None:
    changed = json.loads((run / RUN_JSON).read_text()) | {"status": "partial"}
    (run / RUN_JSON).write_text(json.dumps(changed))
    assert refusal(run).endswith(f"; the run was made by other code than this (version {bench.__version__})")
    (run / JOURNAL).unlink()
    write_journal(run, harness={"version": bench.__version__, "source_sha256": source_digest()})
    (run / RUN_JSON).write_text(json.dumps(made(run) | {"status": "partial"}))
    assert refusal(run).endswith('the journal gives "ok"')


def by_this_code(run: Path) -> None:
    (run / JOURNAL).unlink()
    write_journal(run, harness={"version": bench.__version__, "source_sha256": source_digest()})
    (run / RUN_JSON).write_text(json.dumps(made(run)))


LATER_KEYS: list[list[str | int]] = [
    ["variants", 1, "drift", "kld_mean", "window_means"],
    ["variants", 1, "drift", "ppl_ratio"],
    ["comparisons", 0, "confidence"],
    ["variants", 0, "drift_reason"],
]


def without(run: Path, path: list[str | int]) -> str:
    """The place of what was taken out of run.json."""
    data: Any = json.loads((run / RUN_JSON).read_text())
    target = data
    for part in path[:-1]:
        target = target[part]
    del target[path[-1]]
    (run / RUN_JSON).write_text(json.dumps(data))
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


@pytest.mark.parametrize("path", LATER_KEYS)
def test_a_key_that_earlier_code_did_not_make_is_counted_and_is_no_difference(
    run: Path, path: list[str | int]
) -> None:
    without(run, path)
    assert "figure by figure; without 1 keys that the code of its time did not make" in verify_run(run)


@pytest.mark.parametrize("path", LATER_KEYS)
def test_the_same_code_made_them_all(run: Path, path: list[str | int]) -> None:
    by_this_code(run)
    assert f"{without(run, path)}: absent, the journal gives" in refusal(run)


def test_a_figure_that_differs_is_named_however_many_keys_are_new(run: Path) -> None:
    for path in LATER_KEYS:
        without(run, path)
    data = json.loads((run / RUN_JSON).read_text())
    data["variants"][1]["drift"]["kld_mean"]["ci_low"] = 0.0
    (run / RUN_JSON).write_text(json.dumps(data))
    assert "variants[1].drift.kld_mean.ci_low: 0.0, the journal gives" in refusal(run)


# ---- spec.yaml -----------------------------------------------------------------------------------


def test_an_edited_config(run: Path) -> None:
    path = run / "spec.yaml"
    path.write_text(path.read_text().replace("requests: 6", "requests: 600"))
    assert "spec.yaml: workload.requests: 600, the journal gives 6" in refusal(run)


@pytest.mark.parametrize(
    "content", [b"", b"[", b"\xff\xfe\x00", b"a: &a [*a]", b"x: !!python/name:os.system"]
)
def test_a_config_that_is_none(run: Path, content: bytes) -> None:
    (run / "spec.yaml").write_bytes(content)
    assert "spec.yaml" in refusal(run)


def test_a_config_that_is_gone(run: Path) -> None:
    (run / "spec.yaml").unlink()
    assert "spec.yaml: cannot be read" in refusal(run)


def test_a_digest_that_is_not_the_configs(tmp_path: Path) -> None:
    write_journal(tmp_path, spec_digest="0" * 64)
    assert "spec_digest is not the digest" in refusal(tmp_path)


# ---- the journal ---------------------------------------------------------------------------------


@pytest.mark.fault(14)
def test_any_changed_line_of_the_journal(run: Path) -> None:
    whole = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    for number, line in enumerate(whole):
        changed = [
            *whole[:number],
            line.replace(b'"at_utc":"2026', b'"at_utc":"2025', 1),
            *whole[number + 1 :],
        ]
        (run / JOURNAL).write_bytes(b"".join(changed))
        assert f"journal.jsonl:{number + 1}: " in refusal(run)


@pytest.mark.fault(15)
def test_a_line_gone_moved_or_twice(run: Path) -> None:
    lines = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    for wrong in (
        lines[:3] + lines[4:],
        [lines[1], lines[0], *lines[2:]],
        [*lines[:3], lines[2], *lines[3:]],
    ):
        (run / JOURNAL).write_bytes(b"".join(wrong))
        assert "journal.jsonl:" in refusal(run)


def test_lines_cut_off_at_the_end_leave_a_sound_chain_and_another_summary(run: Path) -> None:
    lines = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    (run / JOURNAL).write_bytes(b"".join(lines[:-1]))
    assert "run.json: finished_utc" in refusal(run)


@pytest.mark.bad_input(43)
def test_a_journal_of_a_newer_schema(run: Path) -> None:
    (run / JOURNAL).unlink()
    write_journal(run, schema_version=99)
    assert "newer version" in refusal(run)


# ---- runs that did not come to their end ---------------------------------------------------------


def test_a_run_that_was_cut_short_is_sound_as_far_as_it_goes(run: Path) -> None:
    (run / JOURNAL).unlink()
    (run / RUN_JSON).unlink()
    write_journal(run, finished=False)
    text = verify_run(run)
    assert "not written, the run was cut short" in text
    assert "continue it with --resume" in text


def test_a_torn_last_line_is_a_notice(run: Path) -> None:
    (run / JOURNAL).unlink()
    write_journal(run, finished=False)
    with (run / JOURNAL).open("ab") as file:
        file.write(b'{"torn')
    (run / RUN_JSON).write_text(json.dumps(made(run)))
    assert "dropped a torn last line" in verify_run(run)


def test_a_link_is_not_followed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What stands in another file of the reader's machine is not printed."""
    secret = tmp_path_factory.mktemp("home") / "secret"
    secret.write_text("a: token\n")
    for name in ("spec.yaml", RUN_JSON):
        kept = (run / name).read_text()
        (run / name).unlink()
        (run / name).symlink_to(secret)
        said = refusal(run)
        assert f"{name}: is a link" in said
        assert "token" not in said
        (run / name).unlink()
        (run / name).write_text(kept)


def test_two_journals_are_one_too_many(run: Path) -> None:
    (run / f"{JOURNAL}.gz").write_bytes(gzip.compress(b""))
    assert "holds two journals" in refusal(run)


@pytest.mark.fault(19)
@pytest.mark.parametrize(
    ("days", "said"),
    [
        ((31, 30), "the wall clock was set back by 86400 s between records 1 and 2"),
        (
            (30, 31),
            "24.0 h lie between records 1 and 2: the run was continued later, or the wall clock was set",
        ),
    ],
)
def test_a_wall_clock_that_was_set_is_noted(tmp_path: Path, days: tuple[int, int], said: str) -> None:
    """The run is sound: no duration comes from this clock."""
    times = (f"2026-01-{day}T12:00:00Z" for day in (days[0], *[days[1]] * 20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "clock", lambda: next(times))
        write_journal(tmp_path)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False))
    (tmp_path / RUN_JSON).write_text(json.dumps(made(tmp_path)))
    assert verify_run(tmp_path).splitlines()[3:] == [said]
