"""Convert GGUF to float32 safetensors.

Run as ``python -m bench.models.convert GGUF DIRECTORY [off-grid]`` in its own process, because conversion
needs torch and transformers. Importing this module needs only the standard library.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.errors import BenchError, Explained
from bench.machine.proc import be_killed_first
from bench.models.child import Limits, of_libraries, reported
from bench.models.gguf_header import check_gguf
from bench.models.gguf_reading import must_be_read
from bench.models.safetensors_header import safetensors_header
from bench.records.grid import Grid, grid_of

RECIPE = 2  # part of the cache key: increase it when the same GGUF converts to a different result
GRID_FILE = "grid.json"  # stored beside the converted weights: their type in the GGUF
OFF_GRID = "off-grid"
# How transformers says that a file has no vocabulary, or not the id of a special token.
_NOT_THERE = re.compile(r"'GGUFTokenizerSkeleton' object has no attribute '(\w+)'|(tokens) and scores need")
CANNOT_READ = 3  # the exit code of the child for a file in which something is wrong
CONVERT_S, CONVERT_BYTES = 300.0, 4 << 30
PROBE_TOKENS, PROBE_CHARACTERS = (
    256,
    2000,
)  # the text on which weights moved off their grid are compared with those of the file


def conversion_limits(weights: int) -> Limits:
    """Return what the conversion of so many weights may take: a microsecond and 16 bytes for each, beside
    what the libraries take. In float32 a weight has 4 bytes, and the model is in the memory twice."""
    return Limits(CONVERT_S + weights / 1e6, CONVERT_BYTES + 16 * weights)


def _first_id(value: int | list[int] | None) -> int | None:
    """Return one token id of a config field that holds one, several or none."""
    return value[0] if isinstance(value, list) and value else value if isinstance(value, int) else None


def _save_tokenizer(gguf: Path, out: Path, eos: int | None, pad: int | None) -> None:
    """Write the GGUF's tokenizer, with the end and padding tokens that the model's config names.

    The tokenizer read from a GGUF takes its end token from elsewhere in the file. For SmolLM2 that is
    ``<|im_start|>``, so generation would stop where an answer begins.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    if eos is not None:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(eos)
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(eos if pad is None else pad)
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.save_pretrained(str(out))


def stored_grid(gguf: Path) -> Grid:
    """Return the grid of the tensor type that holds most weights of the layers' matrices in the file."""
    from gguf import GGUFReader

    count: Counter[str] = Counter()
    for tensor in GGUFReader(gguf).tensors:
        if tensor.name.startswith("blk.") and len(tensor.shape) > 1:
            count[tensor.tensor_type.name] += int(tensor.n_elements)
    return grid_of(count.most_common(1)[0][0]) if count else Grid("a file without layers", None, None)


def recorded_grid(directory: Path) -> Grid | None:
    """Return the grid of the weights in ``directory``, which were converted from a GGUF; None if unknown."""
    path = directory / GRID_FILE
    return Grid(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _loaded(gguf: Path) -> Any:
    """Return the model of a GGUF file. Raises UsageError if transformers has not read all of it."""
    import torch
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32, output_loading_info=True
    )
    must_be_read(gguf, model, report)
    return model


def convert(gguf: Path, out: Path, *, off_grid: bool = False) -> int:
    """Dequantise ``gguf`` into ``out``: float32 safetensors, config, tokenizer, and the type of the weights.

    With ``off_grid`` the weights are moved off the file's grid. Returns the parameter count.
    Raises UsageError if transformers has not read all of the file.

    transformers cannot save a model that it loaded from GGUF, so a new model takes over its weights.
    """
    import torch
    from transformers import AutoModelForCausalLM

    loaded = _loaded(gguf)
    config = loaded.config
    for key in ("quantization_config", "_model_name_or_path", "_name_or_path"):
        if hasattr(config, key):
            delattr(config, key)
    eos = _first_id(config.eos_token_id)
    pad = _first_id(config.pad_token_id)
    config.pad_token_id = eos if pad is None else pad
    _save_tokenizer(gguf, out, eos, config.pad_token_id)
    state, grid = loaded.state_dict(), stored_grid(gguf)
    if off_grid and grid.block is not None:
        state, grid = _off_grid(loaded, grid, out)
    with torch.device("meta"):
        fresh: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.load_state_dict(state, assign=True)
    fresh.tie_weights()
    fresh.generation_config.eos_token_id = config.eos_token_id
    fresh.generation_config.pad_token_id = config.pad_token_id
    fresh.save_pretrained(str(out))
    (out / GRID_FILE).write_text(json.dumps(asdict(grid), indent=1), encoding="utf-8")
    written = [safetensors_header(path) for path in sorted(out.glob("*.safetensors"))]
    return sum(math.prod(tensor.shape) for header in written for tensor in header.values())


def _off_grid(loaded: Any, grid: Grid, out: Path) -> tuple[dict[str, Any], Grid]:
    """Move the weights off their grid, and verify the result on the beginning of the evaluation text."""
    from transformers import AutoTokenizer

    from bench.models.off_grid import off_grid
    from bench.texts import mixed

    tokenizer: Any = AutoTokenizer.from_pretrained(str(out))
    return off_grid(loaded, grid, tokenizer(mixed.read()[:PROBE_CHARACTERS])["input_ids"][:PROBE_TOKENS])


@contextmanager
def _alone(gguf: Path) -> Iterator[Path]:
    """Give the file a directory of its own: the library would read configs that lie beside it, even a FIFO,
    and the converted weights are kept under the digest of this file alone."""
    with TemporaryDirectory() as place:
        link = Path(place) / gguf.name
        link.symlink_to(gguf.absolute())
        yield link


def _explained(bad: BaseException) -> BenchError | None:
    """Return what a library has raised about a file, in words of ours where they are known."""
    if absent := _NOT_THERE.search(str(bad)):
        name = (absent[1] or absent[2]).replace("unk_", "unknown_").replace("pad_", "padding_")
        return BenchError(
            f"tokenizer.ggml.{name} is not in the file, and transformers makes no tokenizer without it"
        )
    return of_libraries(bad, "transformers cannot read it, ")


def main(arguments: list[str]) -> int:
    """Run the child's command line; it prints the number of parameters that it wrote."""
    gguf, out, *more = arguments

    def converted() -> int:
        check_gguf(Path(gguf), to_convert=True)
        with Explained(_explained), _alone(Path(gguf)) as alone:
            return convert(alone, Path(out), off_grid=OFF_GRID in more)

    needs = "converting needs the packages torch, transformers and gguf"
    return reported(converted, needs, refused=CANNOT_READ)


if __name__ == "__main__":
    be_killed_first()
    raise SystemExit(main(sys.argv[1:]))
