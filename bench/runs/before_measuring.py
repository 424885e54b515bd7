"""What a config needs before anything is measured: a price, and that a journal can keep what it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.config.spec import Spec
from bench.errors import UsageError
from bench.machine.gpus import gpu_for
from bench.machine.nvml import Gpu
from bench.measure.clock import utc_now
from bench.pricing.reprice import price_block, slice_of
from bench.records import Json
from bench.store.schema import must_fit


def must_fit_journal(spec: Spec) -> None:
    """Raise UsageError for a config whose results could not be kept, before anything is measured."""
    with _of(spec):
        must_fit(spec.content, [group.label for group in spec.groups])


def price_to_keep(spec: Spec) -> Json:
    """Return the price of a config whose results can be kept. Raises UsageError as ``must_fit_journal`` does,
    and for a price that cannot be looked up.

    A gate on commits looks its prices up in the files of its sides, and not here.
    """
    must_fit_journal(spec)
    with _of(spec):
        return price_of_spec(spec)


@contextmanager
def _of(spec: Spec) -> Iterator[None]:
    try:
        yield
    except UsageError as bad:
        raise UsageError(f"{spec.file}: {bad}") from None


def price_of_spec(spec: Spec) -> Json:
    """Return the price of a config as a result keeps it, with the share of the GPU if it is a slice (MIG)."""
    price = spec.price
    block = price_block(price.hardware, price.usd_per_hour, price.utilisation, utc_now()[:10], price.vcpus)
    gpus = (gpu_for(arm.runtime.device) for group in spec.groups for arm in group.arms)
    shares = [gpu.share for gpu in gpus if isinstance(gpu, Gpu)]
    return {**block, **slice_of(block, max(shares, default=None))}
