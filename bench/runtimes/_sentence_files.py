"""Read the files of sentence-transformers beside an encoder: how its hidden states become one vector, how
much of a text is read, and what is put before each text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import Outcome, Unsupported, UsageError, VariantFailed
from bench.models.json_files import read_json
from bench.records.json_form import Json

MODULES, POOLING, SETTINGS = "modules.json", "1_Pooling/config.json", "config_sentence_transformers.json"
PLACES = {"Transformer": "", "Pooling": "1_Pooling"}  # of the steps that have files
# Where the length of a text stands; the first of them that is there counts. Before its version 1 the library
# had a file for each architecture, and it reads them still.
SENTENCES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
FLAG = "pooling_mode_"
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
POOLINGS = {"mean": "mean", "cls": "first", "lasttoken": "last"}  # in their words and in ours
SHIFTED = ("roberta", "xlm-roberta", "camembert", "mpnet")  # positions begin behind that of the padding
MOST_SHOWN = 60
USUAL_LENGTH = 512  # of a config that names no longest text


@dataclass(frozen=True)
class Pooling:
    """How the hidden states of a text become one vector; ``said_by`` names the files that say so."""

    of: str = "mean"
    normalised: bool = False
    said_by: str = ""


def refuse_encoder(directory: Path, task: str | None) -> str | None:
    """Return what in these files is not computed here, as an engine would refuse it once it is loaded; None
    if all of it is, and for a model without a task, which writes. Small letters are left to the engine,
    because only a tokenizer says whether it makes them."""
    if task is None:
        return None
    try:
        if task == "embedding":
            pooling_of(directory)
            similarity_of(directory)
        prompt_of(directory)
    except VariantFailed as bad:
        return bad.reason
    return None


def pooling_of(directory: Path) -> Pooling:
    """Read the files of sentence-transformers. Raises Unsupported for a step that is not known here, or that
    lies elsewhere."""
    modules = [one for one in _json(directory / MODULES, list) or [] if isinstance(one, dict)]
    kinds = [str(one.get("type")).rpartition(".")[2] for one in modules]
    if other := set(kinds) - {"Transformer", "Pooling", "Normalize"}:
        raise Unsupported(f"{MODULES} has a step {min(other)[:MOST_SHOWN]}, which is not known here")
    for kind, one in zip(kinds, modules, strict=True):
        place = PLACES.get(kind) if one.get("path") is None else str(one["path"]).rstrip("/")
        if place is not None and kind in PLACES and place != PLACES[kind]:
            lies = f"{place[:MOST_SHOWN]!r}, and it is read from {PLACES[kind] or 'the directory itself'}"
            raise Unsupported(f"{MODULES} has its {kind} in {lies}")
    said = _json(directory / POOLING, dict)
    if said is None and "Pooling" in kinds:
        raise Unsupported(f"{MODULES} has a step Pooling, and {POOLING} is not there")
    if said is None:
        return Pooling(normalised="Normalize" in kinds, said_by=MODULES if kinds else "")
    flags = [key.removeprefix(FLAG) for key, value in said.items() if key.startswith(FLAG) and value is True]
    of_flags = [flag.removesuffix("s").removesuffix("_token") for flag in flags]
    wanted = of_flags or [str(said.get("pooling_mode"))[:MOST_SHOWN]]
    if len(wanted) != 1 or wanted[0] not in POOLINGS:
        asked = " and ".join(wanted)
        raise Unsupported(f"{POOLING} asks for {asked}, and only {', '.join(POOLINGS)} are known here")
    files = f"{POOLING}, {MODULES}" if kinds else POOLING
    return Pooling(POOLINGS[wanted[0]], "Normalize" in kinds, files)


def similarity_of(directory: Path) -> str:
    """Return what two vectors of the model are compared by, in the words of sentence-transformers; it takes
    the cosine of a model that does not say. Raises Unsupported for a function that is not known here."""
    named = (_json(directory / SETTINGS, dict) or {}).get("similarity_fn_name")
    if named is not None and named not in SIMILARITIES:
        known = ", ".join(SIMILARITIES)
        raise Unsupported(
            f"{SETTINGS} compares vectors by {str(named)[:MOST_SHOWN]!r}, and only {known} are known here"
        )
    return "cosine" if named is None else str(named)


def prompt_of(directory: Path) -> str:
    """Return what sentence-transformers puts before every text by itself; most models have no such prompt.

    Raises Unsupported if that prompt is not there, or if its tokens have no part in the vector.
    """
    settings = _json(directory / SETTINGS, dict) or {}
    name, prompts = settings.get("default_prompt_name"), settings.get("prompts")
    if name is None:
        return ""
    prompt = prompts.get(name) if isinstance(prompts, Mapping) and isinstance(name, str) else None
    if not isinstance(prompt, str):
        raise Unsupported(f"{SETTINGS} has no text for its default prompt, {str(name)[:MOST_SHOWN]!r}")
    if prompt and (_json(directory / POOLING, dict) or {}).get("include_prompt") is False:
        raise Unsupported(f"{POOLING} leaves the prompt out of the vector, which is not done here")
    return prompt


def longest_of(directory: Path, config: Json, tokenizer: Any | None) -> int:
    """Return how many tokens of a text are read: the least that the files beside the weights say. Raises
    Unsupported if they ask for small letters, and the tokenizer makes none."""
    name = next((name for name in SENTENCES if (directory / name).is_file()), SENTENCES[0])
    sentence = _json(directory / name, dict) or {}
    if sentence.get("do_lower_case") and not _makes_small_letters(tokenizer):
        raise Unsupported(f"{name} asks for small letters (do_lower_case), and the tokenizer makes none")
    positions = config.get("max_position_embeddings") or USUAL_LENGTH
    said = [
        positions - (2 if config.get("model_type") in SHIFTED else 0),
        sentence.get("max_seq_length"),
        getattr(tokenizer, "model_max_length", None),
    ]
    return min(one for one in said if type(one) is int and one > 0)


def _makes_small_letters(tokenizer: Any | None) -> bool:
    normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    return normalizer is not None and normalizer.normalize_str("A") == "a"


def _json(path: Path, kind: type) -> Any | None:
    """Return what a file holds; None without it. Raises VariantFailed unless it is JSON of this kind."""
    if not path.is_file():
        return None
    try:
        found = read_json(path)
    except UsageError as bad:
        raise VariantFailed(Outcome.LOAD_ERROR, str(bad)) from None
    if not isinstance(found, kind):
        raise VariantFailed(Outcome.LOAD_ERROR, f"{path}: is no JSON {kind.__name__}")
    return found
