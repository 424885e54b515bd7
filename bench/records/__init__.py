"""Define the frozen records that hold every measurement; all evaluation starts from them.

The journal stores these records and gives them back. Time stamps are nanoseconds since the start of their
pass, sizes are bytes, and other units are in the names.
"""

from __future__ import annotations

from bench.records.cascades import Answered, BothAnswered, Cascaded
from bench.records.drift import (
    Activations,
    Corpus,
    DriftWindow,
    RequestAnswers,
    SaidTexts,
    SuiteAnswers,
    Together,
    Windows,
)
from bench.records.encodings import EncodedTexts, Encodings
from bench.records.json_form import Json, plain
from bench.records.loaded_model import Facts, Loaded, Mixture
from bench.records.loads import LoadBlock
from bench.records.replies import (
    Counted,
    DeviceTimes,
    Encoded,
    EnergyReading,
    Exported,
    Kernel,
    MemoryPeaks,
    Solo,
    Speculated,
    StepProfile,
    TimedBatch,
    TurnTimes,
    WarmUp,
)
from bench.records.run import ANY, ArmRecord, ColdStart, RunRecord, Sides, UnitRecord
from bench.records.splits import SplitPhase, SplitWork
from bench.records.thinking import Answer

__all__ = [
    "ANY",
    "Activations",
    "Answer",
    "Answered",
    "ArmRecord",
    "BothAnswered",
    "Cascaded",
    "ColdStart",
    "Corpus",
    "Counted",
    "DeviceTimes",
    "DriftWindow",
    "Encoded",
    "EncodedTexts",
    "Encodings",
    "EnergyReading",
    "Exported",
    "Facts",
    "Json",
    "Kernel",
    "LoadBlock",
    "Loaded",
    "MemoryPeaks",
    "Mixture",
    "RequestAnswers",
    "RunRecord",
    "SaidTexts",
    "Sides",
    "Solo",
    "Speculated",
    "SplitPhase",
    "SplitWork",
    "StepProfile",
    "SuiteAnswers",
    "TimedBatch",
    "Together",
    "TurnTimes",
    "UnitRecord",
    "WarmUp",
    "Windows",
    "plain",
]  # fmt: skip
