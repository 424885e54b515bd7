"""Read ``configs/devices``: the data sheet rates of devices that this machine does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bench.data_paths import data_directories
from bench.errors import UsageError
from bench.plan.roofline import Ceilings
from bench.pricing.hardware import HardwarePrice
from bench.yaml_source import read_yaml

PLACE = "configs/devices"
Positive = Annotated[float, Field(gt=0, lt=1e7)]


class Device(BaseModel):
    """The data sheet of one device: its memory, and its most bytes and operations per second.

    ``eight_bits`` is the type that it multiplies at its 8-bit rate, ``float8`` or ``int8``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    memory_gb: Positive
    bandwidth_gb_s: Positive
    dense_16_bit_tflops: Positive
    dense_8_bit_tflops: Positive | None = None
    eight_bits: str = "float8"
    source: str

    @property
    def memory_bytes(self) -> float:
        """Return the memory of the device in bytes."""
        return self.memory_gb * 1e9

    def ceilings(self, bits: float) -> Ceilings:
        """Return the ceilings for weights of ``bits``. Only 8-bit weights use the 8-bit rate.

        Weights of fewer bits are unpacked and multiplied in 16 bits.
        """
        tflops = self.dense_8_bit_tflops if bits == 8 else None
        return Ceilings(self.bandwidth_gb_s * 1e9, (tflops or self.dense_16_bit_tflops) * 1e12)


def devices() -> dict[str, Device]:
    """Return every device by its id, from all files of ``configs/devices``; the user's files win.

    Raises ConfigError, which names file, line and key, for an invalid file.
    """
    known: dict[str, Device] = {}
    for directory in data_directories(PLACE):
        for path in sorted(directory.glob("*.yaml")):
            source = read_yaml(path)
            try:
                read = TypeAdapter(dict[str, Device]).validate_python(source.data)
            except ValidationError as bad:
                first = bad.errors(include_url=False)[0]
                raise source.error(tuple(str(part) for part in first["loc"]), first["msg"]) from None
            known = {**read, **known}
    return known


def device_name(device: str) -> str:
    """Return a device's name as an id: ``H100 80GB SXM`` is ``h100-80gb``, without the word SXM."""
    return "-".join(word for word in device.lower().split() if word != "sxm")


def device_of(price: HardwarePrice, known: Mapping[str, Device]) -> Device:
    """Return the device of a price, by the name in its ``device`` (``H100 80GB SXM`` is ``h100-80gb``).

    The word SXM is left out of the id; other words, such as PCIe, name another device. Raises UsageError if
    there is no data sheet for the device.
    """
    name = device_name(price.device or price.id)
    if name in known:
        return known[name]
    raise UsageError(
        f"no data sheet of {price.device or price.id} in {PLACE} (it has {', '.join(sorted(known))}); add a "
        "file with your own"
    )
