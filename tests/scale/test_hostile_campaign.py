"""The directory of a campaign that somebody else wrote: it chooses nothing, and shows no line of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from journals import write_run

from bench.cli.scale_run import page
from bench.results.summary import load_run
from bench.scale import campaign as campaigns
from bench.scale.campaign import FILE, Campaign, Ending, complete
from bench.scale.pieces import Piece
from bench.store.journal import Journal
from bench.store.journal_end import last_digest
from bench.store.replay import JOURNAL


def test_a_campaign_whose_records_are_absurd(tmp_path: Path) -> None:
    place = tmp_path / "campaign"
    place.mkdir()
    ended = {"name": [1], "status": "ok", "run": "nowhere", "machine": "x\x1b[31m\ny", "reason": ""}
    with Journal.create(place / FILE, lambda: "2026-01-31T12:00:00Z") as journal:
        for digest in ([1], {"a": 1}, None, 5, "d"):
            journal.append("piece_ended", {**ended, "digest": digest})
        for run in ("", "x\0y", "a" * 5000, "\udc80"):
            journal.append("piece_ended", {**ended, "digest": "d", "run": run})
    told = list[str]()
    assert complete(place, [Piece("a", "", "d")], told.append) == {}
    assert len(told) == 1
    assert told[0].isprintable()


@pytest.mark.fault(41)
@pytest.mark.parametrize("noted", ["the end", "another end", None])
def test_a_campaign_believes_the_run_that_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: str | None
) -> None:
    """Another run in its directory has another journal; campaigns of earlier versions noted none."""
    run, place = write_run(tmp_path / "run"), tmp_path / "campaign"
    place.mkdir()
    ended = {"name": "a", "digest": "d", "status": "ok", "run": "run", "machine": "m", "reason": ""}
    if noted is not None:
        ended["journal_sha256"] = last_digest(run / JOURNAL) if noted == "the end" else noted
    with Journal.create(place / FILE, lambda: "2026-01-31T12:00:00Z") as journal:
        journal.append("piece_ended", ended)
    made_by = str(load_run(run).harness["source_sha256"])
    monkeypatch.setattr(campaigns, "source_digest", lambda: made_by)
    found = complete(place, [Piece("a", "", "d")])
    assert ("d" in found) == (noted != "another end")


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
