"""Parse a server's address and its key, and refuse what must not be sent anywhere."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from bench.errors import UsageError
from bench.formatting import one_line

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
# What the keys of providers look like: one in a place of a name is refused, and never shown.
_LOOKS_LIKE_A_KEY = re.compile(
    r"^(sk|pk|hf|gsk|xai|AIza|r8|nvapi|key)[-_]?[A-Za-z0-9]{2,}[-_A-Za-z0-9]{12,}$"
)
_LEAST_LETTERS = 8  # of a part of a key that is hidden
ENGINE = "engine"  # the scheme of an engine in process; no address that a user gives has it
_PATHS = ("/v1/chat/completions", "/v1/completions", "/chat/completions", "/completions")


@dataclass(frozen=True)
class Address:
    """A server: its scheme, host and port, and the path before ``/completions``, such as ``/v1``.

    Of an engine in process (scheme ``engine``) the host is the name of its Unix socket.
    """

    scheme: str
    host: str
    port: int
    prefix: str = "/v1"

    @property
    def in_process(self) -> bool:
        """Return whether an engine is there that is asked without HTTP."""
        return self.scheme == ENGINE

    @property
    def local(self) -> bool:
        """Return whether the host is this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def netloc(self) -> str:
        """Return host and port, as in the header ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the base address; it holds no secret."""
        if self.in_process:
            return "the engine"
        return f"{self.scheme}://{self.netloc}{self.prefix}"


@dataclass(frozen=True)
class Secret:
    """A key, which is shown nowhere: ``reveal`` is called where the header is written."""

    name: str
    _value: str = field(repr=False)

    def reveal(self) -> str:
        """Return the key itself."""
        return self._value

    def is_in(self, text: str) -> bool:
        """Return whether the key is in ``text``, in one of the forms in which servers write it."""
        return any(form in text for form in self._forms())

    def hidden_in(self, text: str, *, whole: bool = False) -> str:
        """Return ``text`` without the key: a server may send back what it was sent, or the first half of it
        if it cuts what it says. With ``whole`` only the whole key is hidden: words of a model may begin as a
        weak key does."""
        for form in self._forms():
            least = len(form) if whole else min(len(form), max(_LEAST_LETTERS, len(form) // 2))
            before, *others = text.split(form[:least])
            text = "".join((before, *(f"[key]{_after(form[least:], other)}" for other in others)))
        return text

    def _forms(self) -> tuple[str, ...]:
        plain = self._value.encode()
        return self._value, quote(self._value, safe=""), base64.b64encode(plain).decode().rstrip("=")


def _after(rest: str, text: str) -> str:
    """Return what follows in ``text`` on as much of ``rest`` as it begins with."""
    return next((text[at:] for at in range(len(rest), 0, -1) if text.startswith(rest[:at])), text)


def address(url: str) -> Address:
    """Read an address such as ``http://127.0.0.1:8000`` or ``https://api.example/v1``.

    The prefix is ``/v1`` if none is given, and a whole path of an endpoint is cut. Raises UsageError for
    another scheme, for a user or a password in it, for a query and for a line break; what was given is not
    shown then, because it may hold a secret.
    """
    if not url.isprintable() or re.search(r"\s", url.strip(" ")):  # urlsplit takes tabs and line breaks out
        raise UsageError("an address must hold no space, no line break and no other control character")
    try:
        parts = urlsplit(url.strip(" "))
        port = parts.port
    except ValueError:
        raise UsageError("the address of the server cannot be read: is the port a number?") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("the address of a server begins with http:// or https:// and a host")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise UsageError("an address must hold no user and no password: name a variable with --key-env")
    if parts.query or parts.fragment:
        raise UsageError("an address must hold no query: name a variable with --key-env if it was a key")
    path = parts.path.rstrip("/")
    for known in _PATHS:
        if path.endswith(known):
            path = path.removesuffix(known) + ("/v1" if known.startswith("/v1") else "")
            break
    if re.search(r"[^\x21-\x7e]", path):
        raise UsageError("the path of the address has letters that no address has")
    host = _ascii(parts.hostname)
    port = port if port is not None else {"http": 80, "https": 443}[parts.scheme]
    return Address(parts.scheme, host, port, path or "/v1")


def _ascii(host: str) -> str:
    """Return the name of a host as it stands in requests: letters of other alphabets as IDNA has them."""
    try:
        found = host.encode("idna").decode("ascii")
    except UnicodeError:  # an empty part, or one of more than 63 letters
        found = ""
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", found):
        raise UsageError("the address of the server has no name that a host can have")
    return found


def key_of(name: str | None, server: Address) -> Secret | None:
    """Return the key in the environment variable ``name``; None if no name is given.

    Raises UsageError for a key in the place of a name, for a variable that is not set, empty or no header,
    and for a key that would cross a network in the clear.
    """
    if name is None:
        return None
    if _LOOKS_LIKE_A_KEY.match(name) or not _NAME.fullmatch(name):
        raise UsageError("key_env wants the name of a variable, not a key (what was given is not shown)")
    value = os.environ.get(name, "").strip()
    if not value:
        raise UsageError(f"the variable {one_line(name)} is not set, or it is empty")
    if not value.isascii() or not value.isprintable() or len(value) > 8192:
        raise UsageError(f"the variable {one_line(name)} holds what cannot be a key")
    if server.scheme == "http" and not server.local:
        raise UsageError(
            f"the key {one_line(name)} would go to {one_line(server.host)} in the clear: use https://"
        )
    return Secret(name, value)
