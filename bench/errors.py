"""Define how a command can fail, the exit codes (see docs/reliability.md), and how to undo what failed.

Standard library only, because the worker imports this file too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import TracebackType

MOST_ERRORS = 10


class ExitCode(IntEnum):
    """The exit code that a shell or a CI job sees."""

    OK = 0
    FAIL = 1
    USAGE = 2
    INCONCLUSIVE = 3
    INCOMPARABLE = 4
    FAILED = 5
    INTEGRITY = 6
    SUSPECT = 7
    UNREACHED = 8
    BROKEN_BASE = 9
    INTERRUPTED = 130
    TERMINATED = 143


class Outcome(StrEnum):
    """How one variant ended. The kinds of failure stay separate, because each needs a different next step."""

    OK = "ok"
    OOM_HOST = "oom_host"
    OOM_GPU = "oom_gpu"
    TIMEOUT = "timeout"
    SEGFAULT = "segfault"
    IMPORT_ERROR = "import_error"
    LOAD_ERROR = "load_error"
    RUN_ERROR = "run_error"
    NOT_APPLIED = "not_applied"
    UNSUPPORTED = "unsupported"
    NAN_OUTPUT = "nan_output"
    PROTOCOL_ERROR = "worker_protocol_error"
    INTERRUPTED = "interrupted"
    BASELINE_FAILED = "baseline_failed"
    BROKEN_BASE = "broken_base"
    UNFIT = "unfit"
    INVALID = "invalid"


class BenchError(Exception):
    """An expected failure: one message for the user, without a traceback."""

    exit_code = ExitCode.FAILED


class UsageError(BenchError):
    """The command line asks for something that does not exist or makes no sense."""

    exit_code = ExitCode.USAGE


class IncomparableError(BenchError):
    """Two results must not be compared with each other."""

    exit_code = ExitCode.INCOMPARABLE


class IntegrityError(BenchError):
    """The content of a file does not match its digest."""

    exit_code = ExitCode.INTEGRITY


class JournalFailed(BenchError):
    """The journal cannot be written. What is measured from now on would be lost, so the run stops."""


class InterruptedRun(BaseException):
    """Ctrl-C ended the run. What was measured is kept, and the run can be resumed.

    A signal comes wherever the code happens to be, also where the errors of a server or of a file are caught.
    So it is no BenchError, and no Exception either: like KeyboardInterrupt, only what names it catches it.
    """

    exit_code = ExitCode.INTERRUPTED


class TerminatedRun(InterruptedRun):
    """SIGTERM ended the run at once. What was measured is kept, and the run can be resumed."""

    exit_code = ExitCode.TERMINATED


@dataclass(eq=False)
class ConfigError(UsageError):
    """Something in a YAML file is wrong. The error prints as ``file:line: key: problem (hint)``. Each of the
    ``others`` found together with it prints the same way, on its own line."""

    file: str
    problem: str
    line: int | None = None
    key: str = ""
    hint: str = ""
    others: tuple[ConfigError, ...] = ()

    def __str__(self) -> str:
        return "\n".join([self._line(), *map(str, self.others)])

    def _line(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        parts = [where, self.key] if self.key else [where]
        hint = f" ({self.hint})" if self.hint else ""
        return f"{': '.join(parts)}: {self.problem}{hint}"


def together(errors: Sequence[ConfigError]) -> ConfigError:
    """Return the first of ``errors``, which also prints the next few."""
    errors[0].others += tuple(errors[1:MOST_ERRORS])
    return errors[0]


@dataclass(eq=False)
class VariantFailed(BenchError):
    """One variant cannot be measured; the others continue. ``reason`` tells the user what to act on."""

    outcome: Outcome
    reason: str

    def __str__(self) -> str:
        return f"{self.outcome}: {self.reason}"


class Unsupported(VariantFailed):
    """The engine or this machine cannot do what the variant asks for."""

    def __init__(self, reason: str) -> None:
        super().__init__(Outcome.UNSUPPORTED, reason)


class NotApplied(VariantFailed):
    """The optimisation claims to have worked, but the loaded model shows that it did not."""

    def __init__(self, reason: str) -> None:
        super().__init__(Outcome.NOT_APPLIED, reason)


class NonFiniteOutput(VariantFailed):
    """The model produced NaN or infinity."""

    def __init__(self, reason: str) -> None:
        super().__init__(Outcome.NAN_OUTPUT, reason)


@dataclass(frozen=True)
class OnFailure:
    """A context manager that calls ``undo`` if its block fails, and lets the exception pass.

    Every exception counts, Ctrl-C and the cancelling of a task too. An exception of ``undo`` itself takes the
    place of the first one, which stays its context.
    """

    undo: Callable[[], object]

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.undo()


class Explained:
    """Replace an error of the block by the one that ``explain`` returns for it; None keeps the error."""

    def __init__(self, explain: Callable[[BaseException], Exception | None]) -> None:
        self._explain = explain

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, bad: BaseException | None, _trace: object) -> None:
        if bad is not None and (replacement := self._explain(bad)) is not None:
            raise replacement from bad
