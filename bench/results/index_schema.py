"""Define the tables of an index, and the SQL statements that fill and read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from bench.results.index_records import IndexedRow

SCHEMA = """
CREATE TABLE prices (id INTEGER PRIMARY KEY, block TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, place BLOB NOT NULL UNIQUE, changed_ns INTEGER NOT NULL,
  files TEXT NOT NULL, status TEXT NOT NULL, why TEXT NOT NULL, journal_sha256 TEXT NOT NULL,
  run_id TEXT NOT NULL, name TEXT NOT NULL, started TEXT NOT NULL, finished TEXT, verdict TEXT NOT NULL,
  models TEXT NOT NULL, machine TEXT NOT NULL, least_cost REAL, least_ratio REAL, price INTEGER NOT NULL
) STRICT;
CREATE TABLE listing (digest TEXT NOT NULL, runs INTEGER NOT NULL, changes INTEGER) STRICT;
CREATE TABLE rows (
  run INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, cell TEXT NOT NULL,
  is_baseline INTEGER NOT NULL, status TEXT NOT NULL, steps TEXT NOT NULL, threads INTEGER,
  devices INTEGER NOT NULL, device TEXT NOT NULL, tokens_per_s REAL, tokens_low REAL, tokens_high REAL,
  joules_per_1k REAL, cost REAL, cost_low REAL, cost_high REAL, alone INTEGER NOT NULL, ratio REAL,
  ratio_low REAL, ratio_high REAL, by_price INTEGER NOT NULL, value REAL, value_low REAL, value_high REAL,
  PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
"""
RUN_COLUMNS = (
    "id, place, changed_ns, files, status, why, journal_sha256, run_id, name, started, finished, "
    "verdict, models, machine, (SELECT block FROM prices WHERE prices.id = runs.price)"
)
STATE_COLUMNS = "id, place, changed_ns, files"  # the first of them, for whoever needs the order alone
KNOWN = "SELECT place, changed_ns FROM runs"
CHANGED = "SELECT changed_ns FROM runs WHERE place = ?"
# A digest holds for these runs only: their number and the sum of their change times.
_OF_ALL = "SELECT count(*) AS runs, sum(changed_ns % 1000000007) AS changes FROM runs"
LISTED = f"SELECT digest FROM listing WHERE (runs, changes) IS (SELECT runs, changes FROM ({_OF_ALL}))"
INSERT_LISTING = f"INSERT INTO listing SELECT ?, runs, changes FROM ({_OF_ALL})"
FORGET_LISTING = "DELETE FROM listing"
# Runs whose files may change although their directory does not: those in progress, and unreadable ones.
OPEN = "SELECT place, files FROM runs WHERE finished IS NULL AND status != ''"
INSERT_PRICE = "INSERT OR IGNORE INTO prices (block) VALUES (?)"
INSERT_RUN = (
    "INSERT INTO runs (place, changed_ns, files, status, why, journal_sha256, run_id, name, started, "
    "finished, verdict, models, machine, least_cost, least_ratio, price) "
    f"VALUES ({'?, ' * 15}(SELECT id FROM prices WHERE block = ?))"
)
INSERT_ROW = f"INSERT INTO rows VALUES (?, ?{', ?' * len(fields(IndexedRow))})"
DELETE_ROWS = "DELETE FROM rows WHERE run = (SELECT id FROM runs WHERE place = ?)"
DELETE_RUN = "DELETE FROM runs WHERE place = ?"
ROWS = (
    "SELECT run, name, cell, is_baseline, status, steps, threads, devices, device, tokens_per_s, tokens_low, "
    "tokens_high, joules_per_1k, cost, cost_low, cost_high, alone, ratio, ratio_low, ratio_high, by_price, "
    "value, value_low, value_high FROM rows JOIN asked ON rows.run = asked.id ORDER BY run, number"
)
# SQLite stores booleans as numbers; these are the positions of the fields to convert back.
_BOOLEANS = tuple(number for number, field in enumerate(fields(IndexedRow)) if field.type in ("bool", bool))


def indexed_row(values: Sequence[Any]) -> IndexedRow:
    """Return the row that was stored as ``values``."""
    stored = list(values)
    for number in _BOOLEANS:
        stored[number] = bool(stored[number])
    return IndexedRow(*stored)
