"""A journal that is still written to, read as it grows: each line once, and the run is that of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from journals import HEAD, arm, clock, write_run

from bench.errors import IntegrityError
from bench.records import RunRecord
from bench.store import journal as journals
from bench.store.journal import Followed, Journal, read_journal
from bench.store.replay import JOURNAL, Growing, load_record


@pytest.fixture
def unsealed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of each line that is read from here on, by anybody."""
    found: list[int] = []
    real = journals.unseal

    def counting(line: bytes, chain: Any) -> dict[str, object]:
        record = real(line, chain)
        found.append(int(str(record["seq"])))
        return record

    monkeypatch.setattr(journals, "unseal", counting)
    return found


def test_each_line_is_read_once_however_often_one_asks(tmp_path: Path, unsealed: list[int]) -> None:
    write_run(tmp_path)
    lines = len((tmp_path / JOURNAL).read_bytes().splitlines())
    growing = Growing(tmp_path)
    unsealed.clear()
    for _ in range(5):
        growing.run()
    assert unsealed == list(range(1, lines + 1))


def test_after_each_record_it_is_the_run_of_all_records_so_far(tmp_path: Path) -> None:
    with Journal.create(tmp_path / JOURNAL, clock) as journal:
        journal.append("run_started", HEAD)
        growing = Growing(tmp_path)

        class Both:
            def append(self, kind: str, payload: Mapping[str, object]) -> None:
                journal.append(kind, payload)
                assert growing.run() == load_record(tmp_path)

        both: Any = Both()
        arm(both, "baseline", 2.0)
        arm(both, "pruned", 1.0)
        both.append("unit", unit(1))
        arm(both, "pruned", 1.5)  # begun again: its unit counts no more
        both.append("run_finished", {})


def unit(number: int) -> dict[str, Any]:
    return {
        "number": number, "group": "", "variant": "pruned", "batches": [0], "spawned_first": 0,
        "baseline_ns": [[5, 2]], "variant_ns": [[4, 2]],
    }  # fmt: skip


def test_what_was_made_of_a_row_or_a_unit_is_made_once(tmp_path: Path) -> None:
    with Journal.create(tmp_path / JOURNAL, clock) as journal:
        journal.append("run_started", HEAD)
        arm(journal, "baseline", 2.0)
        arm(journal, "pruned", 1.0)
        growing, earlier = Growing(tmp_path), list[RunRecord]()
        for number in range(1, 4):
            journal.append("unit", unit(number))
            earlier.append(growing.run())
        journal.append("arm", {"group": "", "name": "pruned", "status": "ok", "reason": "again"})
        last = growing.run()
    first = earlier[0]
    assert all(one.units[0] is first.units[0] for one in (*earlier, last))
    assert all(one.arms[0] is first.arms[0] for one in (*earlier, last))
    assert [arm.reason for arm in last.arms] == ["", "again"]
    assert last == load_record(tmp_path)


def test_a_line_without_an_end_is_left_for_the_next_time(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / JOURNAL
    whole, everything = path.read_bytes(), read_journal(path).records
    path.write_bytes(whole[:-40])
    followed = Followed(path)
    first = followed.more()
    assert first == everything[:-1]
    assert followed.more() == ()
    path.write_bytes(whole)
    assert (*first, *followed.more()) == everything


def test_a_line_that_was_not_written_after_the_last_one_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path)
    path = tmp_path / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]))
    followed = Followed(path)
    followed.more()
    path.write_bytes(b"".join([*lines[:5], lines[6]]))
    with pytest.raises(IntegrityError, match=r"journal.jsonl:6: record 7 is in the place of record 6"):
        followed.more()
