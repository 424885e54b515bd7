"""What the commands of ``bench/cli.py`` do, with the things they print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.errors import ExitCode, UsageError
from bench.spec import Spec

EXIT_OF_STATUS = {"ok": ExitCode.OK, "partial": ExitCode.FAILED, "invalid": ExitCode.FAILED}


def run(specs: Sequence[Spec], out: Path, *, as_json: bool, resume: Path | None, quiet: bool) -> ExitCode:
    """Measure each config in turn; the worst exit code of them."""
    from bench.progress import FetchBar, StageLines
    from bench.run import run_spec

    if resume is not None and len(specs) > 1:
        raise UsageError("--resume continues one run, so give one config")
    worst = ExitCode.OK
    for spec in specs:
        lines = StageLines(spec, quiet=quiet)
        with FetchBar(quiet=quiet) as bar:
            directory = run_spec(spec, out, resume=resume, say=lines.say, on_fetch=bar.update)
        lines.close()
        data = _load(directory)
        show(data, as_json=as_json)
        if not as_json:
            print(f"\n  {directory}/run.json   (bench report {directory} --format html -o report.html)")
        worst = max(worst, EXIT_OF_STATUS[data["status"]])
    return worst


def show(data: Mapping[str, Any], *, as_json: bool) -> None:
    """A run on standard output: the table, or ``run.json``."""
    if as_json:
        print(json.dumps(data, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    from bench.report.table import render

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    render(data, console)


def _load(directory: Path) -> dict[str, Any]:
    from bench.metrics.summary import load_run

    return load_run(directory)


def compare(one: Path, other: Path | None, *, as_json: bool) -> None:
    """Within a run: its table. Between two: the changes, or IncomparableError saying why not."""
    if other is None:
        show(_load(one), as_json=as_json)
        return
    from bench.metrics.between import between_runs, render

    rows = between_runs(_load(one), _load(other))
    print(json.dumps(rows, indent=1) if as_json else render(rows))


@dataclass(frozen=True)
class GateOptions:
    """The options of ``bench gate``."""

    out: Path
    base: str | None
    cap: int
    batches: int | None
    overrides: Sequence[str]
    only: Sequence[str]


def gate(config: Path, options: GateOptions, *, as_json: bool, quiet: bool) -> ExitCode:
    """Measure and judge a config, or judge a finished run; the exit code is the verdict's."""
    from bench.report.gate import lines

    data = _judged(config, options, quiet)
    if as_json:
        print(json.dumps(data["gate"], indent=1, ensure_ascii=False))
    else:
        print("\n".join(lines(data)))
    _job_summary(data)
    return ExitCode(data["gate"]["exit_code"])


def _judged(config: Path, options: GateOptions, quiet: bool) -> Mapping[str, Any]:
    from bench.gate.stored import against_run, judge_run

    if config.is_dir():
        if options.base is not None and not Path(options.base).is_dir():
            raise UsageError("a finished run can be gated by itself or with --base RUN, another run")
        loaded = _load(config)
        return judge_run(loaded) if options.base is None else against_run(loaded, _load(Path(options.base)))
    from bench.config import read_config

    spec = read_config(config, options.overrides, options.only)
    if options.base is not None and Path(options.base).is_dir():
        stored = _load(Path(options.base))
        from bench.run import run_spec

        lines = _stages(spec, quiet)
        return against_run(_load(run_spec(spec, options.out, say=lines.say)), stored)
    return _measured(spec, options, quiet)


def _measured(spec: Spec, options: GateOptions, quiet: bool) -> Mapping[str, Any]:
    from bench.environments import interpreter_of
    from bench.gating import Plan, gate_spec
    from bench.progress import FetchBar

    base, label = interpreter_of(options.base) if options.base else (None, "")
    lines = _stages(spec, quiet)
    with FetchBar(quiet=quiet) as bar:
        plan = Plan(base, label, options.cap, options.batches)
        directory = gate_spec(spec, options.out, plan, say=lines.say, on_fetch=bar.update)
    lines.close()
    print(f"{directory}/run.json", file=sys.stderr)
    return _load(directory)


def _stages(spec: Spec, quiet: bool) -> Any:
    from bench.progress import StageLines

    return StageLines(spec, quiet=quiet)


def _job_summary(data: Mapping[str, Any]) -> None:
    """On GitHub: the verdict on the job's page, and an annotation for every rule that does not pass."""
    from bench.report.gate import markdown, workflow_commands

    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        with Path(page).open("a", encoding="utf-8") as file:
            file.write(markdown(data))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print("\n".join(workflow_commands(data)), file=sys.stderr)


def calibrate(
    spec: Spec, out: Path, units: int, batches: int | None, base: str | None, *, quiet: bool
) -> None:
    """A/A, and what it found."""
    from bench.environments import interpreter_of
    from bench.gating import calibrate_spec
    from bench.report.gate import calibration

    other = interpreter_of(base)[0] if base else None
    lines = _stages(spec, quiet)
    directory = calibrate_spec(spec, out, units=units, batches=batches, base=other, say=lines.say)
    lines.close()
    print("\n".join(calibration(_load(directory))))
    print(f"  {directory}/run.json")


def price(
    directory: Path,
    hardware: str | None,
    usd_per_hour: float | None,
    utilisation: float | None,
    *,
    as_json: bool,
) -> None:
    """The same run at another price; nothing on the disk changes."""
    from bench.measure.clock import utc_now
    from bench.metrics.summary import summarise
    from bench.pricing.reprice import new_price
    from bench.store.replay import load_record

    record = load_record(directory)
    block = new_price(record.price, hardware, usd_per_hour, utilisation, utc_now()[:10])
    show(summarise(replace(record, price=block)), as_json=as_json)


def report(runs: Sequence[Path], formats: Sequence[str], output: Path | None) -> None:
    """Render each format; several formats need a directory to go to."""
    from bench import plugins

    loaded = [_load(directory) for directory in runs]
    if len(formats) > 1 and output is None:
        raise UsageError("several formats need a directory: -o DIR")
    for name in formats:
        module = plugins.load("report.formats", name.strip())
        content: bytes | str = module.render(loaded)
        _write(content, output, len(formats) > 1, f"report.{module.SUFFIX}")


def _write(content: bytes | str, output: Path | None, many: bool, name: str) -> None:
    if output is None:
        if isinstance(content, bytes):
            raise UsageError("this format is binary: -o FILE")
        print(content)
        return
    target = output / name if many or output.is_dir() else output
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as bad:
        raise UsageError(f"cannot write {target}: {bad.strerror}") from None
    print(f"wrote {target}", file=sys.stderr)


def models(fetch: Sequence[str], *, verify: bool) -> None:
    """List, fetch with a progress bar, or re-hash the cache."""
    from bench import listing
    from bench.models.cache import cached_entries, check_entry
    from bench.models.fetch import ensure
    from bench.models.reference import Named
    from bench.progress import FetchBar

    for name in fetch:
        with FetchBar(quiet=False) as bar:
            model = ensure(Named(name), bar.update)
        print(f"{name}: {model.directory}")
    if verify:
        for entry in cached_entries():
            check_entry(entry)
            print(f"{entry.name}: every file has its recorded SHA-256")
    if not fetch and not verify:
        print(listing.render(["models"]))


def doctor() -> None:
    """Facts first, then what is missing with the command that installs it."""
    from bench.machine.fingerprint import fingerprint
    from bench.machine.health import findings

    for key, value in fingerprint().items():
        print(f"{key:18} {value}")
    print()
    for finding in findings():
        print(finding)
