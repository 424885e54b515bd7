"""Parse percentages such as ``3%`` and format numbers for people. Imports the standard library only."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

MIB = 1024 * 1024
GIB = 1024 * MIB
# What a CI server reads in a log as a command to itself: GitHub's ``::error::`` at the start of a line, and
# anywhere in it the older ``##[error]``, Azure's ``##vso[`` and TeamCity's ``##teamcity[``. Colours count as
# blanks here; a line break does not, because the next line has a start of its own.
_BLANK = r"(?:[^\S\r\n]|\x1b\[[0-9;?]*[A-Za-z])*"
_COMMANDS = re.compile(rf"(?m)(?:^|(?<=\r)){_BLANK}:(?=:)|##\w{{0,20}}(?=\[)")
_PERCENTILE = re.compile(r"(?<![\d.])(\d+)th( percentile)")
# A user with a password, or a token alone, before the host of a URL; and a key, or a signature, in its query.
_PASSWORD = re.compile(r"(://)[^/\s]+@")
_KEY = re.compile(
    r"([?&;][\w.-]{0,40}(?:token|secret|passw(?:or)?d|sig|key|credential)[\w.-]{0,40}=)[^&;\s'\"]+", re.I
)
# What providers of models, of code and of clouds put in front of the keys of their accounts.
ACCOUNT_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"[sp]k-[A-Za-z0-9_-]{16,}|sk_(?:live|test)_\w{16,}|gsk_\w{20,}|xai-[\w-]{20,}|nvapi-[\w-]{20,}|r8_\w{30,}"
    r"|hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abeprs]-[\w-]{10,}"
    r"|A[KS]IA[A-Z0-9]{16}|AIza[\w-]{30,}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r")"
)
_LONGEST_START = 30  # letters, from the ``##`` of a command to its ``[``


def parse_percent(text: str) -> float:
    """Parse ``"3%"`` as 0.03.

    Raises ValueError for anything else, also for a bare number: a limit needs its unit.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*", text)
    if not match:
        raise ValueError(f"{text!r} is not a percentage such as '3%'")
    return float(match.group(1)) / 100


def parse_size(text: str) -> int:
    """Parse ``"8GiB"`` as bytes; the units are MiB, GiB, MB and GB.

    Raises ValueError for anything else, also for a bare number.
    """
    match = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(MiB|GiB|MB|GB)\s*", text)
    if not match:
        raise ValueError(f"{text!r} is not a size such as '8GiB'")
    return int(
        float(match.group(1)) * {"MiB": MIB, "GiB": 1024 * MIB, "MB": 10**6, "GB": 10**9}[match.group(2)]
    )


def format_mib(size_bytes: float | None) -> str:
    """Format bytes as whole MiB, and a few MiB with two digits; ``-`` stands for a missing value."""
    if size_bytes is None:
        return "-"
    mib = size_bytes / MIB
    return format_significant(mib, 2) if 0 < mib < 10 else f"{mib:,.0f}"


def format_size(size_bytes: float) -> str:
    """Format bytes with the unit that suits them: ``512 bytes``, ``9.8 KiB``, ``350 MiB``, ``2.3 GiB``."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (1024, "KiB")):
        if size_bytes >= unit:
            amount = size_bytes / unit
            return f"{amount:.1f} {name}" if amount < 100 else f"{amount:,.0f} {name}"
    return f"{size_bytes:.0f} bytes"


def format_significant(value: float | None, digits: int = 3) -> str:
    """Format a value with ``digits`` significant digits, ``-`` if it is missing.

    Only tiny values get an exponent.
    """
    if value is None:
        return "-"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    if decimals > 9:
        return f"{value:.{digits - 1}e}"
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def format_bound(bound: float, *, upper: bool) -> str:
    """Format a bound with four significant digits, rounded away from what it bounds: what is printed never
    says more than the number, and never stands on the wrong side of its rounded value."""
    context = Context(prec=4, rounding=ROUND_CEILING if upper else ROUND_FLOOR)
    return f"{float(context.create_decimal(repr(float(bound)))):.4g}"


def format_one_bound(value: float, bound: float, *, upper: bool) -> str:
    """Format a single bound of a value, such as ``> 0.99``; ``≥`` if it reads like the value itself."""
    shown = format_bound(bound, upper=upper)
    strictly, or_equal = ("<", "≤") if upper else (">", "≥")
    return f"{or_equal if shown == f'{value:.4g}' else strictly} {shown}"


def format_share(value: float | None) -> str:
    """Format a share as a percentage rounded down, so that 100.0% means all; ``-`` if it is missing."""
    return "-" if value is None else f"{math.floor(value * 1000 + 1e-9) / 10:.1f}%"


def format_setting(share: float) -> str:
    """Format a share that somebody chose with all its digits: 0.0005 is ``0.05%``, never 0%."""
    return f"{100 * share:.6g}%"


def format_duration(seconds: float) -> str:
    """Format seconds as ``42 s`` or ``3 min 05 s``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name closest in spelling to ``word``, or None if nothing is close."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return a hint at the known name closest in spelling to ``word``; ``otherwise`` if nothing is close."""
    close = nearest(word, known)
    return f"did you mean {close!r}?" if close else otherwise


def row_title(group: str, name: str) -> str:
    """Return a row's name within its run, after the cell of the sweep if there is one."""
    return " ".join(filter(None, (group, name)))


def one_line(text: str) -> str:
    """Return ``text`` printable and on one line: what others wrote must not begin a line of ours."""
    return text if text.isprintable() else printable(" ".join(text.splitlines()))


def short_name(text: str, most: int = 200) -> str:
    """Return a name as results can hold it: printable, on one line, and without its middle if it is longer
    than ``most`` letters. A branch or a path may be anything."""
    line = one_line(text)
    end = most // 2
    return line if len(line) <= most else f"{line[: most - end - 1]}…{line[-end:]}"


def defused(text: str, before: str = "") -> str:
    """Return ``text`` with a space in each command to a CI server: ``: :error::``, ``## [error]``.

    ``before`` is what already stands on the line that the text goes on with (see ``line_so_far``).
    """
    if "::" not in before + text and "[" not in text:
        return text
    return _COMMANDS.sub(r"\g<0> ", before + text)[len(before) :]


def line_so_far(before: str, text: str) -> str:
    """Return the end of the line that is being written, as much of it as ``defused`` needs to know;
    both texts are defused."""
    line = re.split(r"[\r\n]", before + text)[-1].lstrip()
    return line if len(line) < _LONGEST_START else f"-{line[1 - _LONGEST_START :]}"


def printable(text: str) -> str:
    """Replace control characters in ``text``, so that a model's output cannot drive the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else "�" for c in text)


def without_secrets(text: str) -> str:
    """Return ``text`` with stars for the keys of accounts, and for what is secret in a URL: a user with a
    password, a key in its query."""
    return ACCOUNT_KEY.sub("***", _KEY.sub(r"\1***", _PASSWORD.sub(r"\1***@", text)))


def printed_line(line: str, most: int) -> str:
    """Return the beginning of a line that a child printed, as a message shows it: one line, no secrets."""
    return without_secrets(one_line(line))[:most]


def join_words(words: Sequence[str]) -> str:
    """Join words as in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def ordinal(number: int) -> str:
    """Return a number as a place in a row: ``1st``, ``2nd``, ``3rd``, ``4th``, ``11th``."""
    teens = 10 < number % 100 < 20
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def with_ordinals(formula: str) -> str:
    """Return a formula as it is shown, with ``1st percentile`` for ``1th percentile``.

    Runs keep the formulas of their figures, and `bench verify` compares them to the letter, so what was
    misspelt in the first of them stays so in the files.
    """
    return _PERCENTILE.sub(lambda found: f"{ordinal(int(found[1]))}{found[2]}", formula)


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 row``, ``2 rows``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
