"""The stub server is there for all tests of this directory."""

from running_stub import stub

__all__ = ["stub"]
