"""Read a YAML file as plain data and keep the line of every key, so that an error message can name the place.

Depth, values and aliases are counted in the parser's events, without recursion, before anything is composed.
PyYAML constructs no objects and no tag is allowed, so nothing in a file can name code. Words and numbers
follow YAML 1.2, decimal only: ``no``, ``010``, ``0x10`` and ``1:30`` are text, ``1e3`` is 1000.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.bounded import read_bounded, why
from bench.errors import ConfigError, UsageError
from bench.formatting import MIB, one_line, printable

MAX_BYTES = MIB
MAX_DEPTH = 32
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
_DEEP = "maximum nesting depth"  # how libyaml says it, which looks ahead and has a limit of its own
MAX_NODES = 20_000
MAX_ALIASES = 64
MAX_NUMBER_LENGTH = 64
BY_OPTION = 0  # the line of a key that the command line gave

KeyPath = tuple[str | int, ...]
_Place = yaml.Event | yaml.Node
# The base loader resolves no YAML 1.1 words, dates or base-60 numbers. libyaml's is some twenty times faster.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
# Characters that YAML forbids, characters that are a line break only in YAML, and directives (% at the start
# of a line), for which libyaml takes quadratic time.
_FORBIDDEN = re.compile("(?m)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]|^%")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = dict.fromkeys(["", "~", "null", "Null", "NULL"])
_WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass(frozen=True)
class YamlSource:
    """A YAML file as data, with the line of every key.

    ``data`` is a dict that holds dict, list, str, int, float, bool and None. ``lines`` maps a key path such
    as ``("variants", 0, "runtime", "dtype")`` to its line, counted from 1 (``BY_OPTION`` if the command line
    gave it); the empty path is the file's outermost mapping. Inside an alias the lines are those of the
    anchor's text.
    """

    file: str
    data: object
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int | None:
        """Return the line of ``path``, or of its nearest parent that is in the file."""
        parents = (path[:length] for length in range(len(path), -1, -1))
        return next((self.lines[parent] for parent in parents if parent in self.lines), None)

    def error(self, path: KeyPath, problem: str, hint: str = "") -> ConfigError:
        """Make a ConfigError about ``path``, with the file, the line and the dotted key filled in. What the
        command line gave stands on no line."""
        line = self.line(path)
        file = f"{self.file} with --set" if line == BY_OPTION else self.file
        return ConfigError(file, problem, line or None, _dotted(path), hint)


@contextmanager
def blaming(source: YamlSource, path: KeyPath, what: str = "") -> Iterator[None]:
    """Turn a UsageError inside, or a file that cannot be read, into a ConfigError at ``path``."""
    try:
        yield
    except UsageError as refused:
        raise source.error(path, one_line(str(refused))) from None
    except (OSError, UnicodeDecodeError) as bad:
        reason = getattr(bad, "strerror", None) or f"not UTF-8: {bad}"
        raise source.error(path, f"{what[:60]!r} cannot be read ({reason})") from None


def read_yaml(path: Path, *, follow: bool = True) -> YamlSource:
    """Read the YAML file at ``path``.

    Raises ConfigError for everything that `parse_yaml` refuses, and for anything but a readable regular file
    of at most 1 MiB. A FIFO or a device is refused without waiting for it, and a link unless ``follow``.
    """
    try:
        content = read_bounded(path, MAX_BYTES, follow=follow)
    except OSError as error:
        raise ConfigError(str(path), why(error), hint="name a YAML file") from None
    return parse_yaml(content, str(path))


def parse_yaml(text: str | bytes, file: str) -> YamlSource:
    """Parse ``text``, which holds one YAML document; messages call it ``file``.

    Raises ConfigError, with a line if there is one, for text that is empty, over a limit, not UTF-8, not
    YAML, not a mapping, or ambiguous.
    """
    return _Reader(file).read(_checked_text(text, file))


def _checked_text(content: str | bytes, file: str) -> str:
    """Decode ``content`` without its byte-order mark; refuse what could confuse the parser or a terminal."""
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    if len(raw) > MAX_BYTES:
        raise ConfigError(file, f"is larger than {MAX_BYTES // MIB} MiB", hint="keep data out of a config")
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(file, "is not UTF-8 text", line, hint="save it as UTF-8") from None
    if found := _FORBIDDEN.search(text):
        line = text.count("\n", 0, found.start()) + 1
        problem = "a line may not start with %" if found[0] == "%" else f"control character {found[0]!r}"
        raise ConfigError(file, problem, line, hint="remove it")
    return text


def _dotted(path: KeyPath) -> str:
    """Write a key path for people, such as ``variants[0].runtime``: short parts, on one line."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{_short(part) or repr('')}" for part in path)
    return "".join(parts).removeprefix(".")


def _short(text: str) -> str:
    return printable(text if len(text) <= 60 else f"{text[:59]}…").replace("\n", " ")


def plain_scalar(text: str) -> object:
    """Return the value of unquoted text. Raises ValueError for a number not finite or too long."""
    if text in _WORDS:
        return _WORDS[text]
    number = _NUMBER.fullmatch(text)
    bad_number = number and (len(text) > MAX_NUMBER_LENGTH or not math.isfinite(float(text)))
    if bad_number or _NOT_FINITE.fullmatch(text):
        raise ValueError(f"a number must be finite and have at most {MAX_NUMBER_LENGTH} characters")
    if not number:
        return text
    return float(text) if set(".eE") & set(text) else int(text)


def _line(place: _Place) -> int:
    return place.start_mark.line + 1 if place.start_mark else 1


class _Reader:
    """A pass over the text of one document, which builds its data and notes the line of each key."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[KeyPath, int] = {}
        self.nodes = self.characters = 0

    def read(self, text: str) -> YamlSource:
        try:
            self.scan(text)
            root = yaml.compose(text, Loader=_LOADER)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            mark, said = getattr(error, "problem_mark", None), getattr(error, "problem", None)
            if said and _DEEP in said:
                raise ConfigError(self.file, TOO_DEEP, mark and mark.line + 1) from None
            hint = "indent with spaces, quote text that holds ': ' or ' #'"
            problem = f"not valid YAML: {said or 'unreadable text'}"
            raise ConfigError(self.file, problem, mark and mark.line + 1, hint=hint) from None
        if root is None or root.value == "":
            raise ConfigError(self.file, "is empty", hint="start from an example in configs/")
        if not isinstance(root, yaml.MappingNode):
            raise self.refusal("must hold 'key: value' lines, not a list or a single value", root)
        self.lines[()] = _line(root)
        return YamlSource(self.file, self.value(root, ()), self.lines)

    def scan(self, text: str) -> None:
        """Refuse what would make composing the nodes costly or endless, and tags and further documents."""
        documents = nodes = aliases = depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            documents += isinstance(event, yaml.DocumentStartEvent)
            nodes += isinstance(event, yaml.NodeEvent)
            aliases += isinstance(event, yaml.AliasEvent)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if documents > 1:
                raise self.refusal("more than one document", event, hint="remove '---' and what follows")
            if nodes > MAX_NODES:
                raise self.refusal(f"more than {MAX_NODES} values", event)
            if aliases > MAX_ALIASES:
                raise self.refusal(f"more than {MAX_ALIASES} aliases", event, hint="write the values out")
            if depth > MAX_DEPTH:
                raise self.refusal(TOO_DEEP, event)
            if tag := getattr(event, "tag", None):
                name = _short(tag.replace("tag:yaml.org,2002:", "!!"))
                raise self.refusal(f"tags are not allowed: {name}", event, hint="quote text instead")

    def refusal(self, problem: str, place: _Place, path: KeyPath = (), hint: str = "") -> ConfigError:
        return ConfigError(self.file, problem, _line(place), _dotted(path), hint)

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        """Build the data of ``node``. What an alias repeats is built, and counted, each time."""
        self.nodes += 1
        self.characters += len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        if self.nodes > MAX_NODES or self.characters > MAX_BYTES:
            problem = f"more than {MAX_NODES} values or {MAX_BYTES} characters, aliases written out"
            raise self.refusal(problem, node, path)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if len(path) >= MAX_DEPTH:
            raise self.refusal(f"{TOO_DEEP}, aliases written out", node, path)
        return self.mapping(node, path) if isinstance(node, yaml.MappingNode) else self.sequence(node, path)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, path)
            here = (*path, key)
            if key in data:
                problem = f"the key is given twice, on lines {self.lines[here]} and {_line(key_node)}"
                raise self.refusal(problem, key_node, here, "keep one of them")
            self.lines[here] = _line(key_node)
            data[key] = self.value(value_node, here)
        return data

    def key(self, node: yaml.Node, path: KeyPath) -> str:
        """Return a mapping's key, which must be text and mean the same to every YAML reader."""
        key = self.value(node, path) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            raise self.refusal("a key is not text", node, path, "put it in quotes")
        if key == "<<":
            raise self.refusal("merge keys '<<' are not allowed", node, path, "write the keys out")
        return key

    def sequence(self, node: yaml.Node, path: KeyPath) -> list[object]:
        self.lines |= {(*path, index): _line(item) for index, item in enumerate(node.value)}
        return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]

    def scalar(self, node: yaml.ScalarNode, path: KeyPath) -> object:
        """Return quoted text as it is, plain text by its form; refuse control characters, bad numbers."""
        if found := _CONTROL.search(node.value):
            raise self.refusal(f"control character {found[0]!r} in text", node, path, "remove it")
        try:
            return node.value if node.style else plain_scalar(node.value)
        except ValueError as error:
            raise self.refusal(str(error), node, path, "put it in quotes if it is text") from None
