"""The directory of a campaign that somebody else wrote: it chooses nothing, and shows no line of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.scale_run import page
from bench.scale.campaign import FILE, Campaign, Ending, complete
from bench.scale.pieces import Piece
from bench.store.journal import Journal


def test_a_campaign_whose_records_are_absurd(tmp_path: Path) -> None:
    place = tmp_path / "campaign"
    place.mkdir()
    ended = {"name": [1], "status": "ok", "run": "nowhere", "machine": "x\x1b[31m\ny", "reason": ""}
    with Journal.create(place / FILE, lambda: "2026-01-31T12:00:00Z") as journal:
        for digest in ([1], {"a": 1}, None, 5, "d"):
            journal.append("piece_ended", {**ended, "digest": digest})
        for run in ("", "x\0y", "a" * 5000, "\udc80"):
            journal.append("piece_ended", {**ended, "digest": "d", "run": run})
    assert complete(place, [Piece("a", "", "d")]) == {}


def test_a_machine_of_a_campaign_writes_no_line_of_its_own(tmp_path: Path) -> None:
    bad = "x\x1b[31m\n::error::boo\u202e"
    lines = "\n".join(page([Ending(bad, bad, tmp_path / bad, bad, bad)], tmp_path))
    assert not {"\x1b", "\u202e"} & set(lines)
    assert not any(line.startswith("::error") for line in lines.splitlines())


def test_a_campaign_is_continued_through_no_link(tmp_path: Path) -> None:
    place, other = tmp_path / "campaign", tmp_path / "other"
    place.mkdir()
    other.write_text("mine")
    Journal.create(place / FILE, lambda: "2026-01-31T12:00:00Z").close()
    (place / ".lock").symlink_to(other)
    with pytest.raises(Exception, match="cannot lock"):
        Campaign.reopen(place, [])
    assert other.read_text() == "mine"
