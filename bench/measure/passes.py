"""The passes that the worker of a row runs alone, in the order in which the journal lists them.

Each pass is one command to the worker and one record in the journal; ``fsync`` runs after a pass, never
during it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench import plugins
from bench.errors import Unsupported
from bench.measure import replies
from bench.measure.arm import ArmUnderTest, Fetch, load_arguments, prompt_arguments
from bench.models.reference import LocalModel
from bench.records import Corpus, EnergyReading, Loaded, WarmUp
from bench.workloads import Prompt

# A disturbed solo pass is repeated. The last attempt counts, and its noise is recorded beside it.
SOLO_ATTEMPTS = 2
IDLE_S = 10.0  # METRICS 4.5
ELSEWHERE = "a server elsewhere uses energy that no counter here sees"


def begin(under: ArmUnderTest) -> None:
    """Write the arm's first record, which says what the arm is."""
    arm = under.arm
    under.record(
        started=True,
        is_baseline=arm.is_baseline,
        runtime=arm.runtime.to_json(),
        workload=arm.workload.to_json(),
        optimise=[step.label for step in arm.optimise],
    )


def load(under: ArmUnderTest, model: LocalModel, baseline: LocalModel, fetch: Fetch | None = None) -> Loaded:
    """Load a model that runs alone, and check the evidence. ``baseline`` is what its schemes learn from."""
    checks = {"step_by_step": not under.reopened}
    loaded = under.stage("load", replies.LOAD, **load_arguments(under.arm, model, baseline, fetch), **checks)
    under.loaded_with(loaded)
    return loaded


def warm_up(under: ArmUnderTest, prompts: Sequence[Prompt], **limits: object) -> WarmUp:
    """Hand over the prompts and warm up; ``limits`` are further arguments of the warm-up."""
    encoded = under.stage("tokenise", replies.PROMPTS, **prompt_arguments(under.arm, prompts))
    check_fits_context(under, max(encoded.input_tokens))
    warm = under.stage("warm up", replies.WARM_UP, least=under.arm.workload.warmup, **limits)
    under.record(prompts_digest=encoded.digest, end_ids=encoded.end_ids, warm_up=warm)
    return warm


def check_fits_context(under: ArmUnderTest, longest: int) -> None:
    """Raise Unsupported if the longest request exceeds the context: output beyond it is meaningless."""
    written = 0 if under.arm.runtime.task else under.arm.workload.output_tokens
    context, wanted = under.known.context, longest + written
    if context is not None and wanted > context:
        raise Unsupported(f"{wanted} tokens in and out do not fit the model's context of {context}")


def alone(under: ArmUnderTest) -> None:
    """Run the passes without a partner. They give absolute figures, memory and energy; each has a pass of its
    own."""
    for attempt in range(1, SOLO_ATTEMPTS + 1):
        again = f" (attempt {attempt}: something else was using the machine)" if attempt > 1 else ""
        solo = under.stage(f"solo, {under.arm.workload.requests} requests{again}", replies.SOLO)
        if not under.disturbed:
            break
    counted = {
        "characters": solo.characters,
        "answers": solo.answers,
        "texts": solo.texts or None,
        "speculated": solo.speculated,
        "cascaded": solo.cascaded or None,
        "split": solo.split,
    }
    under.record(solo=solo.batches, **{key: value for key, value in counted.items() if value is not None})
    if under.known.on_gpu:
        under.record(device_times=under.stage("the GPU's own time", replies.DEVICE_TIMES))
    under.record(memory=under.stage("memory", replies.MEMORY))
    under.record(energy=_energy(under))
    for name in under.context.measure.probes:
        module = plugins.module_name("probes", name)
        under.record(probes={name: under.stage(f"probe {name}", replies.PROBE, module=module)})


def profile(under: ArmUnderTest) -> None:
    """Look at the kernels of one step and at the evidence in them. The profiler stays attached to the process
    and slows it down, so nothing is timed in it afterwards."""
    under.record(profile=under.stage("kernels of a step", replies.PROFILE))


def _energy(under: ArmUnderTest) -> EnergyReading:
    """Measure energy, again if others used the machine: a counter counts their work too. Baselines also
    measure the power of the idle device, which their variants share."""
    if under.is_far:  # and each further request would be paid
        return EnergyReading(None, energy_valid=False, code="elsewhere", reason=ELSEWHERE)
    idle_s = IDLE_S if under.arm.is_baseline else 0.0
    for _attempt in range(SOLO_ATTEMPTS):
        found = under.stage("energy", replies.ENERGY, idle_s=idle_s)
        if not under.disturbed or found.joules is None:
            return found
    why = under.on_gpu.void or "others used the processors"
    return replace(
        found, energy_valid=False, code="neighbours", reason=f"{why}, and a counter counts that too"
    )


def ceilings(under: ArmUnderTest) -> None:
    """Measure the machine's best bandwidth and arithmetic rate; done once for each baseline."""
    under.record(ceilings=under.stage("machine ceilings", replies.CEILINGS))


def read_text(under: ArmUnderTest) -> Corpus:
    """Let the worker tokenise the evaluation text; return its token count and digest."""
    return under.stage("read evaluation text", replies.CORPUS, text=under.context.text)
