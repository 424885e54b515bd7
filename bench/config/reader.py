"""Read a YAML config into a Spec and check every rule, before anything is loaded or written.

An error message names the file, the line, the key and the nearest known name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import plugins
from bench.config.amounts import too_many_requests, too_much
from bench.config.drift_reader import check_drift, judged_on_other_text, must_differ, read_drift
from bench.config.encoders import (
    check_drift_of_encoders,
    check_limits_of_encoders,
    encodes,
    labels_of,
)
from bench.config.gate_reader import read_limits
from bench.config.merging import Raw
from bench.config.pasted_keys import refuse_pasted_keys
from bench.config.rows import RowReader
from bench.config.served import serves
from bench.config.set_option import override, refuse_replaced
from bench.config.settings import (
    DEFAULT_HARDWARE,
    BuildBlock,
    DriftBlock,
    EnergyBlock,
    LimitBlock,
    MeasureBlock,
    PriceBlock,
    SloBlock,
)
from bench.config.spec import Group, Spec
from bench.config.spelling import spelled
from bench.config.variants import ARM_KEYS, written_out
from bench.config.writer import write_yaml
from bench.errors import ConfigError
from bench.pricing.book import price_called
from bench.pricing.reprice import check_rent
from bench.store.files import digest
from bench.yaml_source import YamlSource, blaming, parse_yaml, read_yaml

FILE_KEYS = (
    *("name", *ARM_KEYS, "variants", "price", "slo", "energy", "drift", "measure", "gate", "sweep", "build"),
)
MOST_LETTERS = 200  # of a config's name
ADDED = ("statistics", "probes", "memory_limit", "items")  # keys that older configs do not have


def read_config(path: Path, overrides: Sequence[str] = (), only: Sequence[str] = ()) -> Spec:
    """Read and check one config, with ``overrides`` (``key.path=value``) applied.

    Only the variants named in ``only`` are kept, or all if it is empty. Raises ConfigError (exit 2) for
    anything that is wrong with the file, UsageError for the arguments.
    """
    return _reader_of(path, overrides).spec(tuple(only))


def read_groups(
    path: Path, overrides: Sequence[str] = (), only: Sequence[str] = ()
) -> tuple[Spec, list[Raw]]:
    """Read a config as ``read_config`` does; also return a config for each of its groups: the group and
    nothing else, with ``overrides`` applied, as plain data."""
    reader = _reader_of(path, overrides)
    return reader.spec(tuple(only)), reader.alone(tuple(only))


def _reader_of(path: Path, overrides: Sequence[str]) -> _Reader:
    source = _as_asked(read_yaml(path), overrides)
    refuse_pasted_keys(source)
    return _Reader(source)


def read_build(text: str, file: str) -> BuildBlock:
    """Read the ``build`` block of a config alone, before anything that it names has to exist."""
    source = spelled(parse_yaml(text, file))
    return _Reader(source).build()


def read_outline(text: str, file: str, overrides: Sequence[str] = ()) -> Spec:
    """Read what a config says that needs nothing of what it names: its name, its limits, and no rows.

    The price is the default one, because nothing is priced.
    """
    return _Reader(_as_asked(parse_yaml(text, file), overrides)).outline()


def _as_asked(source: YamlSource, overrides: Sequence[str]) -> YamlSource:
    """Return a file in our spelling of its keys, with ``overrides`` applied in their order."""
    source = spelled(source)
    refuse_replaced(overrides)
    for one in overrides:
        source = override(source, one)
    return source


class _Reader(RowReader):
    """The reader of one file."""

    def __init__(self, source: YamlSource) -> None:
        super().__init__(source)
        self.known(self.data, (), FILE_KEYS)

    def spec(self, only: tuple[str, ...]) -> Spec:
        """Read the whole file."""
        name = self._name()
        if "model" not in self.data:
            raise self.source.error(("model",), "is missing", "name a file in models/, e.g. smollm2-135m")
        price = self._price()
        drift = read_drift(self, self.data.get("drift", {}))
        measure = self._measure()
        slo = self.block(SloBlock, "slo", self.data["slo"]) if "slo" in self.data else None
        energy = self.block(EnergyBlock, "energy", self.data["energy"]) if "energy" in self.data else None
        groups = self.groups(only)
        task = encodes(groups)
        self._drift(drift, groups, task)
        served = serves(groups)
        if served and "tokens" not in drift.model_fields_set:  # each is a request, so it is asked for
            drift = drift.model_copy(update={"tokens": 0})
        full = self._with_defaults(price, slo, energy, drift, measure)
        judged_on_other_text(self.source, drift, groups)
        gate = read_limits(self, self.data.get("gate", {}), drift, slo, groups, energy)
        check_limits_of_encoders(self.source, gate, task, labelled=drift.items is not None)
        if served:
            self.only_of_workers(groups, drift, measure, energy)
            if many := too_many_requests(groups, measure):
                raise self.source.error(("workload", "requests"), *many)
        else:
            self.only_of_servers(measure)
        if too := too_much(groups, drift, gate):
            raise self.source.error(*too)
        return Spec(
            name=name, file=self.source.file, groups=groups, price=price, drift=drift, measure=measure,
            gate=gate, build=self.build(), slo=slo, digest=digest(full),
            expanded=write_yaml(full),
        )  # fmt: skip

    def _drift(self, drift: DriftBlock, groups: tuple[Group, ...], task: str | None) -> None:
        """Check the block for models that write text, or for encoders of this task."""
        if task is None:
            return check_drift(self.source, drift)
        return check_drift_of_encoders(
            self.source, drift, task, labels_of(groups[0].baseline.model, self.find_model)
        )

    def _price(self) -> PriceBlock:
        """Read what an hour costs; the price must be in the book, or one that a machine can have."""
        price = self.block(PriceBlock, "price", self.data.get("price", {"hardware": DEFAULT_HARDWARE}))
        with blaming(self.source, ("price", "hardware")):
            if price.hardware is not None:
                price_called(price.hardware)
        with blaming(self.source, ("price", "usd_per_hour")):
            if price.usd_per_hour is not None:
                check_rent(price.usd_per_hour, price.vcpus)
        return price

    def _measure(self) -> MeasureBlock:
        """Read how carefully to measure; each probe that it names must be known."""
        measure = self.block(MeasureBlock, "measure", self.data.get("measure", {}))
        for probe in measure.probes:
            with blaming(self.source, ("measure", "probes")):
                plugins.load("probes", probe)
        must_differ(self.source, ("measure", "probes"), measure.probes)
        return measure

    def outline(self) -> Spec:
        """Read name and limits alone."""
        raw = self.data.get("gate", {})
        limits = tuple(
            (key, self.block(LimitBlock, key, value, ("gate",)))
            for key, value in (raw if isinstance(raw, dict) else {}).items()
        )
        price, drift, measure = PriceBlock(hardware=DEFAULT_HARDWARE), DriftBlock(), MeasureBlock()
        full = {**self.data, "drift": _lists(drift.model_dump())}
        return Spec(
            name=self._name(), file=self.source.file, groups=(), price=price, drift=drift, measure=measure,
            gate=limits, build=self.build(), slo=None, digest=digest(full),
            expanded=write_yaml(full),
        )  # fmt: skip

    def _name(self) -> str:
        """Read the name of the file's runs."""
        name = self.data.get("name", Path(self.source.file).stem)
        if (
            not isinstance(name, str)
            or not name.strip()
            or len(name) > MOST_LETTERS
            or not name.isprintable()
        ):
            problem = f"must be a name of at most {MOST_LETTERS} characters, on one line"
            raise self.source.error(("name",), problem)
        return name

    def build(self) -> BuildBlock:
        """Read how the sides of a gate on commits are built."""
        return self.block(BuildBlock, "build", self.data.get("build", {}))

    def _with_defaults(
        self,
        price: PriceBlock,
        slo: SloBlock | None,
        energy: EnergyBlock | None,
        drift: DriftBlock,
        measure: MeasureBlock,
    ) -> dict[str, Any]:
        blocks = {
            "runtime": self.runtime(self.data.get("runtime", {})).to_json(),
            "workload": self.workload(self.data.get("workload", {})).to_json(),
            "price": price.model_dump(exclude_none=True),
            **({"slo": slo.model_dump(exclude_none=True)} if slo else {}),
            **({"energy": energy.model_dump(exclude_none=True)} if energy else {}),
            "drift": _lists(drift.model_dump()),
            "measure": _lists(measure.model_dump()),
            **({"variants": written_out(self.variants)} if "variants" in self.data else {}),
        }
        return {
            key: blocks.get(key, self.data.get(key)) for key in FILE_KEYS if key in self.data or key in blocks
        }


def _lists(block: Mapping[str, Any]) -> dict[str, Any]:
    """Turn tuples into lists, as YAML has them, and leave out the keys of ``ADDED`` where nothing is given.

    A config without them is therefore expanded as it was before these keys existed.
    """
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in block.items()}
    return {key: value for key, value in plain.items() if key not in ADDED or value}


__all__ = ["ConfigError", "read_config"]
