"""llama.cpp's server out of a Python package, for machines without the program ``llama-server``.

Run by its path in the interpreter that has the package ``xllamacpp`` (prebuilt), else ``llama-cpp-python``.
It takes the few arguments of ``llama-server`` that a benchmark sets. Nothing of bench is imported here.
"""

from __future__ import annotations

import argparse
import importlib.util
import runpy
import signal
import sys


def main() -> None:
    """Serve until a signal comes."""
    if importlib.util.find_spec("xllamacpp") is None:
        runpy.run_module("llama_cpp.server", run_name="__main__", alter_sys=True)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--ctx-size", type=int, default=8192)
    asked, unknown = parser.parse_known_args()
    if unknown:
        parser.error(
            f"unrecognized arguments: {' '.join(unknown)}; the server of this Python package takes those "
            "above only, and the program llama-server, if it is on the path, takes all of its own"
        )
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = asked.model
    settings.hostnames = [asked.host]
    settings.port, settings.n_parallel, settings.n_ctx = asked.port, asked.parallel, asked.ctx_size
    settings.endpoint_props = settings.endpoint_metrics = True
    if asked.threads is not None:
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = asked.threads
    server = xllamacpp.Server(settings)
    print(f"xllamacpp {xllamacpp.BUILD_INFO} serves at {server.listening_address}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
