"""Name the packages whose versions a run keeps, and those of a stored run that are not here.

Another package can add suites and metrics. Where it is missing, a run that was measured with it cannot be
summarised again, and the reason is none of the run's own words.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.errors import Explained, UsageError
from bench.formatting import one_line
from bench.plugins import versions_of_others

# Everything whose version changes a figure: engines, the packages of schemes, and what reads checkpoints.
PACKAGES = (
    "torch", "transformers", "bitsandbytes", "accelerate", "numpy", "nvidia-ml-py", "tokenizers",
    "safetensors", "torchao", "hqq", "optimum", "optimum-quanto", "llmcompressor", "compressed-tensors",
    "gptqmodel", "triton", "onnxruntime", "onnxruntime-genai", "openvino", "nncf", "llama-cpp-python",
    "gguf", "peft", "flash-attn",
)  # fmt: skip
MOST_SHOWN = 3


def installed(package: str) -> str | None:
    """Return the installed version of a distribution from its metadata; nothing is imported."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):  # a record may have an empty name
        return None


def other_plugins(machine: Mapping[str, object]) -> str:
    """Return a clause for a message about a stored run: the packages with plug-ins that it was measured with,
    and that are missing or of another version here. "" if all are here.

    ``machine`` is the fingerprint in the run. Of its packages, those that are none of ``PACKAGES`` were there
    because they add plug-ins.
    """
    differing = [
        f"{name} {version} ({'here it is ' + here if here else 'not installed here'})"
        for name, version in sorted(_of_others(machine).items())
        if (here := installed(name)) != version
    ]
    if not differing:
        return ""
    more = f" and {len(differing) - MOST_SHOWN} more" if len(differing) > MOST_SHOWN else ""
    return one_line(f"; the run was measured with plug-ins of {', '.join(differing[:MOST_SHOWN])}{more}")


def added_since(machine: Mapping[str, object]) -> bool:
    """Return whether packages add plug-ins here that a stored run did not have, or had in another version."""
    return any(_of_others(machine).get(name) != here for name, here in versions_of_others().items())


def _of_others(machine: Mapping[str, object]) -> dict[str, str]:
    kept = machine.get("packages")
    found = kept.items() if isinstance(kept, Mapping) else ()
    return {str(name): str(version) for name, version in found if name not in PACKAGES}


def of_a_stored_run(machine: Mapping[str, object]) -> Explained:
    """Add to what is unknown in the block (a suite, a metric) that packages of the stored run differ here."""

    def explain(bad: BaseException) -> UsageError | None:
        if type(bad) is not UsageError or not (clause := other_plugins(machine)):
            return None
        return UsageError(f"{bad}{clause}")

    return Explained(explain)
