"""Choose how many threads an engine takes if the config does not say."""

from __future__ import annotations


def usual() -> int:
    """Return the number of threads that torch would take, so that all engines on the processor are alike.

    llama.cpp would take four, whatever the machine.
    """
    import torch

    return int(torch.get_num_threads())
