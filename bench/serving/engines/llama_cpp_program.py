"""llama.cpp's server out of a Python package, for machines without the program ``llama-server``.

Run by its path in the interpreter that has the package ``xllamacpp`` (prebuilt), else ``llama-cpp-python``.
It takes those arguments of ``llama-server`` that a benchmark sets, by the same names for both packages.
Nothing of bench is imported here; ``bench check`` reads arguments with ``parsed``.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import runpy
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

# The types of a KV cache that llama-server takes, with the number that ggml gives each.
CACHE_TYPES = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "iq4_nl": 20, "bf16": 30,
}  # fmt: skip
UNPACKED = ("f32", "f16", "bf16")
USUAL_BATCH = 2048  # tokens; what llama.cpp takes if it is not told
# What a config may set, beside the file and the address; None is what llama.cpp takes if it is not told.
NUMBERS = {
    "--threads": None, "--threads-batch": None, "--parallel": 4, "--ctx-size": 8192, "--batch-size": None,
    "--ubatch-size": None,
}  # fmt: skip
CHOICES = ("--cache-type-k", "--cache-type-v")
SWITCHES = ("--flash-attn", "--no-flash-attn", "--cont-batching", "--no-cont-batching")


class _Parser(argparse.ArgumentParser):
    """Raises ValueError for arguments that are wrong, and leaves it to the caller how to end."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _above_0(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_above_0, required=True)
    for flag, usual in NUMBERS.items():
        parser.add_argument(flag, type=_above_0, default=usual)
    for flag in CHOICES:
        parser.add_argument(flag, choices=tuple(CACHE_TYPES), default="f16")
    parser.add_argument("--flash-attn", nargs="?", const="on", choices=("on", "off", "auto"), default="auto")
    parser.add_argument("--no-flash-attn", dest="flash_attn", action="store_const", const="off")
    parser.add_argument("--cont-batching", action=argparse.BooleanOptionalAction, default=True)
    return parser


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """Return the settings that a command line asks for. Raises ValueError with what is wrong with it."""
    parser = _parser()
    asked, unknown = parser.parse_known_args(list(words))
    if unknown:
        known = [*NUMBERS, *CHOICES, *SWITCHES]
        near = difflib.get_close_matches(unknown[0].partition("=")[0], known, 1)
        meant = f" (meant is {near[0]}?)" if near else ""
        raise ValueError(
            f"unrecognized arguments: {' '.join(unknown)}{meant}; the server of this Python package takes "
            f"{' '.join(known)} only, and the program llama-server, if it is on the path, takes all of its "
            "own"
        )
    if (asked.ubatch_size or 0) > (asked.batch_size or USUAL_BATCH):
        raise ValueError(
            f"--ubatch-size {asked.ubatch_size} is more than --batch-size {asked.batch_size or USUAL_BATCH}: "
            "llama.cpp would take the smaller of both"
        )
    if asked.cache_type_v not in UNPACKED and asked.flash_attn == "off":
        raise ValueError(
            f"--cache-type-v {asked.cache_type_v} needs flash attention, and --flash-attn is off"
        )
    return asked


def main() -> None:
    """Serve until a signal comes."""
    prebuilt = importlib.util.find_spec("xllamacpp") is not None
    try:
        asked = parsed(sys.argv[1:])
        sys.argv[1:] = [] if prebuilt else for_llama_cpp_python(asked)
    except ValueError as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        sys.exit(2)
    if prebuilt:
        _serve_by_xllamacpp(asked)
    else:
        runpy.run_module("llama_cpp.server", run_name="__main__", alter_sys=True)


def for_llama_cpp_python(asked: argparse.Namespace) -> list[str]:
    """Return the same settings by the names of llama-cpp-python's server, which has no slots.

    Raises ValueError for what it cannot do.
    """
    if not asked.cont_batching:
        raise ValueError("llama-cpp-python's server computes one request at a time: leave out cont-batching")
    words = ["--model", asked.model, "--host", asked.host, "--port", str(asked.port)]
    words += ["--n_ctx", str(asked.ctx_size)]
    given = {
        "--n_threads": asked.threads,
        "--n_threads_batch": asked.threads_batch or asked.threads,
        "--n_batch": asked.batch_size,
        "--n_ubatch": asked.ubatch_size,
        "--type_k": CACHE_TYPES[asked.cache_type_k],
        "--type_v": CACHE_TYPES[asked.cache_type_v],
        "--flash_attn": None if asked.flash_attn == "auto" else str(asked.flash_attn == "on"),
    }
    return words + [word for flag, value in given.items() if value is not None for word in (flag, str(value))]


def _serve_by_xllamacpp(asked: argparse.Namespace) -> None:
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = asked.model
    settings.hostnames = [asked.host]
    settings.port, settings.n_parallel, settings.n_ctx = asked.port, asked.parallel, asked.ctx_size
    settings.endpoint_props = settings.endpoint_metrics = True
    settings.cont_batching = asked.cont_batching
    settings.cache_type_k = xllamacpp.ggml_type(CACHE_TYPES[asked.cache_type_k])
    settings.cache_type_v = xllamacpp.ggml_type(CACHE_TYPES[asked.cache_type_v])
    flash = {"auto": -1, "off": 0, "on": 1}[asked.flash_attn]
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type(flash)
    settings.n_batch = asked.batch_size or settings.n_batch
    settings.n_ubatch = asked.ubatch_size or settings.n_ubatch
    if asked.threads is not None:
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = asked.threads
    if asked.threads_batch is not None:
        settings.cpuparams_batch.n_threads = asked.threads_batch
    server = xllamacpp.Server(settings)
    print(f"xllamacpp {xllamacpp.BUILD_INFO} serves at {server.listening_address}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
