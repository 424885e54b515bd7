"""Run the passes that the worker of a row does alone, in the order in which the journal lists them.

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


def begin(row: ArmUnderTest) -> None:
    """Write the first record of a row: its runtime, workload and steps."""
    arm = row.arm
    row.record(
        started=True,
        is_baseline=arm.is_baseline,
        runtime=arm.runtime.to_json(),
        workload=arm.workload.to_json(),
        optimise=[step.label for step in arm.optimise],
    )


def load(
    row: ArmUnderTest, model: LocalModel, baseline: LocalModel, fetch: Fetch | None = None, process: int = 0
) -> Loaded:
    """Load and optimise a model, and check the evidence. Its schemes may learn from ``baseline``. ``process``
    is the number of the pair that its process belongs to, from 1; 0 is in none."""
    told = {"step_by_step": not row.reopened, "process": process}
    loaded = row.stage("load", replies.LOAD, **load_arguments(row.arm, model, baseline, fetch), **told)
    row.loaded_with(loaded)
    return loaded


def warm_up(row: ArmUnderTest, prompts: Sequence[Prompt], **limits: object) -> WarmUp:
    """Hand over the prompts and warm up; ``limits`` are further arguments of the warm-up."""
    encoded = row.stage("tokenise", replies.PROMPTS, **prompt_arguments(row.arm, prompts))
    row.input_tokens = encoded.input_tokens
    check_fits_context(row, max(encoded.input_tokens))
    warm = row.stage("warm up", replies.WARM_UP, least=row.arm.workload.warmup, **limits)
    row.record(prompts_digest=encoded.digest, end_ids=encoded.end_ids, warm_up=warm)
    return warm


def check_fits_context(row: ArmUnderTest, longest: int) -> None:
    """Raise Unsupported if the longest request exceeds the context: output beyond it is meaningless."""
    written = 0 if row.arm.runtime.task else row.arm.workload.output_tokens
    context, wanted = row.known.context, longest + written
    if context is not None and wanted > context:
        raise Unsupported(f"{wanted} tokens in and out do not fit the model's context of {context}")


def alone(row: ArmUnderTest) -> None:
    """Run the passes without a partner, one for each kind of figure: times, memory, energy, probes."""
    for attempt in range(1, SOLO_ATTEMPTS + 1):
        again = f" (attempt {attempt}: something else was using the machine)" if attempt > 1 else ""
        solo = row.stage(f"solo, {row.arm.workload.requests} requests{again}", replies.SOLO)
        if not row.disturbed:
            break
    counted = {
        "characters": solo.characters,
        "answers": solo.answers,
        "texts": solo.texts or None,
        "speculated": solo.speculated,
        "cascaded": solo.cascaded or None,
        "split": solo.split,
    }
    row.record(solo=solo.batches, **{key: value for key, value in counted.items() if value is not None})
    if row.known.on_gpu:
        row.record(device_times=row.stage("the GPU's own time", replies.DEVICE_TIMES))
    row.record(memory=row.stage("memory", replies.MEMORY))
    row.record(energy=_energy(row))
    for name in row.context.measure.probes:
        module = plugins.module_name("probes", name)
        row.record(probes={name: row.stage(f"probe {name}", replies.PROBE, module=module)})


def profile(row: ArmUnderTest) -> None:
    """Record the kernels of one step. The profiler stays attached to the process and slows it down, so
    nothing is timed in it afterwards."""
    row.record(profile=row.stage("kernels of a step", replies.PROFILE))


def _energy(row: ArmUnderTest) -> EnergyReading:
    """Measure energy, and once more if others used the machine meanwhile, because a counter counts their work
    too. A baseline also measures the power of the idle device, which is that of its variants too."""
    if row.is_far:  # and each further request would be paid
        return EnergyReading(None, energy_valid=False, code="elsewhere", reason=ELSEWHERE)
    idle_s = IDLE_S if row.arm.is_baseline else 0.0
    for _attempt in range(SOLO_ATTEMPTS):
        reading = row.stage("energy", replies.ENERGY, idle_s=idle_s)
        if not row.disturbed or reading.joules is None:
            return reading
    why = row.on_gpu.void or "others used the processors"
    return replace(
        reading, energy_valid=False, code="neighbours", reason=f"{why}, and a counter counts that too"
    )


def ceilings(row: ArmUnderTest) -> None:
    """Measure the machine's best bandwidth and arithmetic rate, once for each baseline; record nothing of an
    environment that cannot measure them."""
    if found := row.stage("machine ceilings", replies.CEILINGS):
        row.record(ceilings=found)


def read_text(row: ArmUnderTest) -> Corpus:
    """Let the worker tokenise the evaluation text; return its token count and digest."""
    return row.stage("read evaluation text", replies.CORPUS, text=row.context.text)
