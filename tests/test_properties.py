"""Thousands of configs and journals that hypothesis makes: each is read, or refused with one message and exit
code 2 or 6, in less than two seconds and without much memory."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable
from pathlib import Path

import journals
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bench.bounded import is_pointer
from bench.config.reader import read_config
from bench.errors import BenchError, ExitCode
from bench.results.summary import from_journal
from bench.store.journal import read_journal
from bench.store.replay import JOURNAL, load_record

ROOT = Path(__file__).resolve().parents[1]
MOST_S, MOST_MIB = 2.0, 200
CONFIGS = [
    b"model: {random: tiny-llama}\ndrift: {tokens: 0}\nvariants: [{name: a}]\n",
    *sorted((path.read_bytes() for path in (ROOT / "configs").glob("*.yaml")), key=len)[:3],
]
PIECES = st.sampled_from(
    [
        b"", b"\0", b"\xff", b"9" * 40, b"-1", b"1e999", b".nan", b"null", b"[", b"]", b"{", b"}", b'"',
        b"'", b"- ", b": ", b", ", b"? ", b"&a ", b"*a", b"!!python/object/apply:os.system ", b"|\n", b"%TAG",
        b"\n", b"\t", b"  ", b"\xe2\x80\xa8", b"<<: ", b"0x10", b"# ", b"true", b"\\ud800", b"\x1b[31m",
    ]
)  # fmt: skip
# Where of a file (in thousandths), how many bytes are taken out there, and what comes in their place.
EDITS = st.lists(
    st.tuples(st.integers(0, 999), st.integers(0, 30), PIECES | st.binary(max_size=20)),
    min_size=1,
    max_size=4,
)


def edited(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, gone, new in edits:
        at = len(content) * place // 1000
        content = content[:at] + new + content[at + gone :]
    return content


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def ends_well(read: Callable[[], object], allowed: ExitCode) -> None:
    """It is read, or refused in a few lines with the code that is allowed; another exception is a fault."""
    began, before, refused = time.process_time(), peak_mib(), None
    try:
        read()
    except BenchError as bad:
        refused = bad
    if refused is not None:
        assert refused.exit_code == allowed, refused
        assert len(str(refused)) < 5000
        assert "\x1b" not in str(refused)
    assert time.process_time() - began < MOST_S
    assert peak_mib() - before < MOST_MIB


@pytest.fixture
def place(tmp_path: Path) -> Path:
    gc.collect()
    return tmp_path


def many(examples: int) -> settings:
    health = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, suppress_health_check=health, database=None)


@many(1600)
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_a_config_or_are_refused(place: Path, content: bytes) -> None:
    (place / "config.yaml").write_bytes(content)
    ends_well(lambda: read_config(place / "config.yaml"), ExitCode.USAGE)


@many(400)
@given(st.sampled_from(CONFIGS), EDITS)
def test_a_config_with_some_bytes_changed(
    place: Path, content: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    (place / "config.yaml").write_bytes(edited(content, edits))
    ends_well(lambda: read_config(place / "config.yaml"), ExitCode.USAGE)


@many(2000)
@given(EDITS | st.binary(max_size=300))
def test_a_journal_with_any_bytes_in_it(
    place: Path, sound: bytes, edits: list[tuple[int, int, bytes]] | bytes
) -> None:
    """What is still read is the beginning of what was written."""
    content = edits if isinstance(edits, bytes) else edited(sound, edits)
    assume(not is_pointer(content, len(content)))  # of Git LFS: it is called one, with another exit code
    (place / JOURNAL).unlink(missing_ok=True)
    (place / JOURNAL).write_bytes(content)
    ends_well(lambda: read_journal(place / JOURNAL), ExitCode.INTEGRITY)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    run = journals.write_run(tmp_path_factory.mktemp("sound") / "run")
    return (run / JOURNAL).read_bytes()


@pytest.mark.fault(13)
def test_a_run_cut_at_any_line_is_a_run_as_far_as_it_goes(place: Path, sound: bytes) -> None:
    """Whole lines and a torn one after them: it is replayed and judged."""
    lines = sound.splitlines(keepends=True)
    for count in range(1, len(lines)):
        (place / JOURNAL).write_bytes(b"".join(lines[:count]) + lines[count][:-1])
        record = load_record(place)
        assert len(read_journal(place / JOURNAL).records) == count
        assert "dropped a torn last line" in " ".join(record.notices)
        assert from_journal(place).status != "ok"
