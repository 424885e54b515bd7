"""Do what the commands of ``bench/cli/list_commands.py`` ask for: models, the machine, environments."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bench.errors import IntegrityError, UsageError


def models(fetch: Sequence[str], *, verify: bool) -> None:
    """List the models, fetch some of them with a progress bar, or verify every cached file.

    Raises IntegrityError if a cached file has changed since it was fetched.
    """
    from bench.cli import list_pages
    from bench.cli.progress import FetchBar
    from bench.models.disk_cache import cached_entries, verify_cached
    from bench.models.fetch import ensure
    from bench.models.reference import Named

    for name in fetch:
        with FetchBar(quiet=False) as bar:
            model = ensure(Named(name), bar.update)
        print(f"{name}: {model.directory}")
    if verify:
        for entry in cached_entries():
            if wrong := verify_cached(entry):
                raise IntegrityError(f"{entry}: {', '.join(wrong)} changed since it was fetched")
            print(f"{entry.name}: every file read again, each has its recorded SHA-256")
    if not fetch and not verify:
        print(list_pages.render(["models"]))


def doctor() -> None:
    """Print the facts about the machine, then what is missing, with the command that installs it."""
    from bench.cli.doctor import findings
    from bench.machine.fingerprint import fingerprint

    for key, value in fingerprint().items():
        print(f"{key:18} {value}")
    print()
    for finding in findings():
        print(finding)


def ceilings() -> None:
    """Measure the ceilings of this machine, print them, and store them for estimates and plans."""
    from bench.cli.tables import align
    from bench.plan.ceilings import measure_all

    print("measuring memory, products and attention; this takes about two minutes", file=sys.stderr)
    heads = ("device", "threads", "dtype", "read GB/s", "copy GB/s", "vector product GB/s", "product GFLOP/s")
    rows = []
    for best in measure_all():
        memory = (best.memory_bytes_per_s, best.copy_bytes_per_s, best.vector_bytes_per_s)
        rates = (f"{rate / 1e9:.3g}" for rate in (*memory, best.matmul_flop_per_s))
        rows.append((best.device, str(best.threads), best.dtype, *rates))
    print("\n".join(align([heads, *rows])))


def make_environment(engine: str) -> None:
    """Create the environment of an engine, which can take minutes, and print its interpreter."""
    from bench.environments import engines_apart, make_engine_environment
    from bench.serving import environments as servers

    if engine in engines_apart():
        print(f"making the environment of {engine}; this can take minutes", file=sys.stderr)
        print(make_engine_environment(engine))
    else:
        _must_be_an_engine(engine)
        print(servers.make(engine, lambda line: print(line, file=sys.stderr, flush=True)))


def remove_environment(engine: str) -> None:
    """Delete the environment of an engine, and print what was deleted."""
    from bench.environments import engines_apart, remove_engine_environments
    from bench.serving import environments as servers

    if engine not in engines_apart():
        _must_be_an_engine(engine)
    gone = (remove_engine_environments if engine in engines_apart() else servers.remove)(engine)
    print("\n".join(f"removed: {home}" for home in gone) or f"{engine} has no environment here")


def list_environments() -> None:
    """Print the engines that need their own environment, where it is or what is missing, and its packages."""
    from bench.cli.tables import align
    from bench.environments import engines_apart, interpreter, missing_environment
    from bench.serving import environments as servers

    rows = [
        (name, missing_environment(name) or str(interpreter(name, None) or "here"), " ".join(pins))
        for name, pins in engines_apart().items()
    ]
    print("\n".join(align([*rows, *servers.rows()])))


def _must_be_an_engine(name: str) -> None:
    """Raise UsageError, which suggests the nearest engine, unless this engine has its own environment."""
    from bench.environments import engines_apart, pins_of
    from bench.formatting import did_you_mean
    from bench.serving import environments as servers

    known = [*engines_apart(), *servers.with_recipes()]
    if name in servers.with_recipes():
        return
    if hint := did_you_mean(name, known):
        raise UsageError(f"no engine called {name[:60]!r} has an environment of its own ({hint})")
    pins_of(name)
