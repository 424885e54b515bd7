"""``bench`` and ``python -m bench``: start the command line, or say why it cannot be started."""

from __future__ import annotations

import sys

CANNOT_START = 5  # 1 would be the verdict of a gate that fails


def main() -> None:
    """Run a command. An installation that is not whole is said in one sentence."""
    try:
        from bench.cli.main import main as run
    except Exception as bad:  # noqa: BLE001 - a broken package may raise anything, see tests/test_layers.py
        print(f"bench cannot be started ({type(bad).__name__}: {bad}): install it again", file=sys.stderr)
        sys.exit(CANNOT_START)
    run()


if __name__ == "__main__":
    main()
