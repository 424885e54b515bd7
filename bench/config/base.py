"""Define the base class of every block of the YAML: immutable and strict, without unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Block(BaseModel):
    """The base of every block of the YAML: immutable and strict, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class WithOwnKeys(Block):
    """A block that names a plug-in; ``own`` holds the plug-in's own keys, as its ``Params`` has them."""

    own: tuple[tuple[str, object], ...] = Field((), exclude=True)

    def to_json(self) -> dict[str, object]:
        """Return every key with its value, including the plug-in's own keys; ``task`` is of encoders only."""
        no_task = {"task"} if getattr(self, "task", None) is None else None
        return {**self.model_dump(exclude=no_task), **dict(self.own)}
