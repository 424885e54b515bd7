"""Check that transformers has read all of a GGUF file; it passes over tensors and keys that it does not know.

The model that it makes then is another one than the file's: without the biases, with other positions, or with
weights that it made up. It logs this at most. llama.cpp reads such a file as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.formatting import count, printable

WINDOW = "attention.sliding_window"
# Keys that change what is computed, behind the name of the architecture, with the values that change nothing.
DECISIVE: Mapping[str, tuple[object, ...]] = {
    "rope.scaling.type": ("none",),
    "rope.scaling.factor": (0, 1),
    "rope.scaling.attn_factor": (0, 1),
    WINDOW: (0,),
    "attention.scale": (0,),
    "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,),
    "attention.causal": (True,),
    "attn_logit_softcapping": (0,),
    "final_logit_softcapping": (0,),
    "logit_scale": (0, 1),
    "embedding_scale": (0, 1),
    "residual_scale": (0, 1),
    "expert_weights_scale": (0, 1),
}
# Numbers that change what is computed and that no tensor tells: transformers takes its own for a missing one.
# One of the epsilons is enough.
HEADS, CHOSEN = ("attention.head_count",), ("expert_used_count",)
EPSILONS = tuple(f"attention.{name}_epsilon" for name in ("layer_norm_rms", "layer_norm", "group_norm"))
READS_ITS_ROTATION = ("gpt_oss",)  # the one architecture whose rope.scaling keys transformers reads
NAMED = 3
INSTEAD = "give the model's own safetensors, beside which {quantise: gguf-file} measures the file itself"


def must_be_read(gguf: Path, model: Any, report: Mapping[str, Any]) -> None:
    """Raise UsageError for tensors or numbers that were made up, for tensors that were left out, and for a
    key that was not read.

    ``model`` is what transformers made of the file, ``report`` what it says about loading it.
    """
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    for names, what in (
        (_made_up(report), "not in the file, so made up"),
        (_left_out(reader, model), "in the file and left out"),
    ):
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            said = printable(f"{', '.join(names[:NAMED])}{more}")
            raise UsageError(f"{count(len(names), 'tensor')} {what} by transformers: {said}; {INSTEAD}")
    for key in _assumed(reader, model.config):
        raise UsageError(printable(f"{key} is not in the file, so made up by transformers; {INSTEAD}"))
    for key, value in _not_read(reader, model.config):
        raise UsageError(printable(f"transformers does not read {key} ({str(value)[:30]}); {INSTEAD}"))


def _made_up(report: Mapping[str, Any]) -> list[str]:
    wrong = (*(report.get("missing_keys") or ()), *(report.get("mismatched_keys") or ()))
    return sorted(str(one[0] if isinstance(one, tuple | list) else one) for one in wrong)


def _left_out(reader: Any, model: Any) -> list[str]:
    """Return the tensors that no parameter of the model was made from.

    They are looked for by name only if the numbers of weights differ: a stack of experts has no name in the
    tables of GGUF.
    """
    import gguf

    held = {one.data_ptr(): one.numel() for one in model.state_dict().values()}
    if sum(int(one.n_elements) for one in reader.tensors) == sum(held.values()):
        return []
    names_of = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    of_file = names_of.get(_architecture(reader))
    if of_file is None:
        return []
    table = gguf.get_tensor_name_map(of_file, model.config.num_hidden_layers)
    known = {table.get_name(name, try_suffixes=(".weight", ".bias")) for name in model.state_dict()}
    of_all = (str(one.name) for one in reader.tensors)
    return sorted(name for name in of_all if name not in known and "_exps." not in name)


def _assumed(reader: Any, config: Any) -> Iterator[str]:
    """Yield the keys that are not in the file, though a model cannot be computed without their numbers."""
    needed = [EPSILONS]
    if hasattr(config, "num_attention_heads"):
        needed.append(HEADS)
    if any("_exps." in str(one.name) for one in reader.tensors):
        needed.append(CHOSEN)
    for settings in needed:
        names = [f"{_architecture(reader)}.{setting}" for setting in settings]
        if not any(name in reader.fields for name in names):
            yield names[0]


def _not_read(reader: Any, config: Any) -> Iterator[tuple[str, object]]:
    """Yield the decisive keys that transformers has no place for, unless its config says the same anyway."""
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

    architecture, kind = _architecture(reader), config.model_type
    read = {*GGUF_CONFIG_MAPPING.get(architecture, ()), *GGUF_CONFIG_MAPPING.get(kind, ())}
    for setting, neutral in DECISIVE.items():
        field = reader.fields.get(f"{architecture}.{setting}")
        if field is None or setting in read:
            continue
        if kind in READS_ITS_ROTATION and setting.startswith("rope."):
            continue
        value, same = field.contents(), getattr(config, setting.rpartition(".")[2], None)
        spans = setting == WINDOW and value >= config.max_position_embeddings
        if value not in neutral and value != same and not spans:
            yield f"{architecture}.{setting}", value


def _architecture(reader: Any) -> str:
    return str(reader.fields["general.architecture"].contents())
