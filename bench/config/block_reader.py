"""Read blocks of the YAML key by key; an error message names the line of the key that is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from bench import plugins
from bench.config.plugin_settings import explain, settings
from bench.config.settings import Block, RuntimeBlock, WithOwnKeys, WorkloadBlock
from bench.errors import together
from bench.formatting import did_you_mean
from bench.yaml_source import KeyPath, YamlSource, blaming

BlockT = TypeVar("BlockT", bound=Block)
OwnT = TypeVar("OwnT", bound=WithOwnKeys)
Raw = Mapping[str, Any]


class BlockReader:
    """Read the blocks of one file."""

    def __init__(self, source: YamlSource) -> None:
        self.source = source

    def block(
        self,
        kind: type[BlockT],
        key: str | int,
        raw: object,
        path: KeyPath | None = None,
        more: Sequence[str] = (),
    ) -> BlockT:
        """Validate one block, and turn pydantic's error into a ConfigError at the key's place.

        ``more`` are keys that the block may also have and that are checked elsewhere.
        """
        place = self.place(path, key)
        if not isinstance(raw, dict):
            raise self.source.error(place, "must be a block of keys", "see `bench schema`")
        self.known(raw, place, (*(name for name in kind.model_fields if name != "own"), *more))
        try:
            return kind.model_validate({k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()})
        except ValidationError as bad:
            wrong = bad.errors(include_url=False)[0]
            where = self.place(path, key, *(str(part) for part in wrong["loc"][:1]))
            raise self.source.error(where, *explain(wrong, kind)) from None

    def workload(self, raw: object, path: KeyPath | None = None) -> WorkloadBlock:
        """Validate a workload block, with the keys of its kind checked apart from the common keys."""
        return self._with_own_keys(WorkloadBlock, "workload", raw, path)

    def runtime(self, raw: object, path: KeyPath | None = None) -> RuntimeBlock:
        """Validate a runtime block, with the keys of its engine checked apart from the common keys."""
        return self._with_own_keys(RuntimeBlock, "runtime", raw, path)

    def own_keys(self, key: str) -> tuple[str, ...]:
        """Return the own keys of the plug-in that the file names for a block; none if it is unknown."""
        raw = self.source.data.get(key) if isinstance(self.source.data, dict) else None
        name = str(raw.get("name", "")) if isinstance(raw, dict) else ""
        if name not in plugins.names(f"{key}s"):
            return ()
        params = getattr(plugins.load(f"{key}s", name), "Params", None)
        return tuple(one.name for one in dataclasses.fields(params)) if params else ()

    def _with_own_keys(self, kind: type[OwnT], key: str, raw: object, path: KeyPath | None) -> OwnT:
        given = dict(raw) if isinstance(raw, dict) else {}
        with blaming(self.source, self.place(path, key, "name")):
            named = plugins.load(f"{key}s", str(given.get("name", kind.model_fields["name"].default)))
        params = getattr(named, "Params", None)
        keys = [one.name for one in dataclasses.fields(params)] if params else []
        own = {name: given.pop(name) for name in keys if name in given}
        block = self.block(kind, key, given if isinstance(raw, dict) else raw, path, keys)
        if params is None:
            return block
        checked = settings(self.source, params, own, self.place(path, key))
        return block.model_copy(update={"own": tuple(sorted(checked.items()))})

    def place(self, path: KeyPath | None, *keys: str | int) -> KeyPath:
        """Find where a key is written: in the arm at ``path``, in the sweep, or at the top of the file.

        ``path`` is () for the baseline. It is None for a key of the file itself, which is not inherited.
        """
        places = (keys,) if path is None else ((*path, *keys) if path else (), ("sweep", keys[-1]), keys)
        return next(
            (place for place in places if place in self.source.lines and place), (*(path or ()), *keys)
        )

    def known(self, block: Raw, path: KeyPath, known: Sequence[str]) -> None:
        """Raise ConfigError for unknown keys, with the nearest known key for each."""
        wrong = []
        for key in block:
            if key not in known:
                hint = did_you_mean(key, known, f"known: {', '.join(known)}")
                wrong.append(self.source.error((*path, key), "unknown key", hint))
        if wrong:
            raise together(wrong)
