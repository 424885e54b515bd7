"""Hold an engine in process until a signal comes: ``program.py ENGINE PLACE MODEL ARGUMENTS…``.

Run by its path, in the interpreter that has the engine. Of the package only this directory can be imported
there: the packages that lie beside it belong to another interpreter.
"""

from __future__ import annotations

import signal
import sys
import types
from pathlib import Path


def main() -> None:
    """Load the model, and then serve."""
    _name_the_package()
    from bench.serving.inside.desk import Desk
    from bench.serving.inside.engine import Engine

    name, place, model, *arguments = sys.argv[1:]
    engine: Engine
    if name == "transformers-batching":
        from bench.serving.inside.transformers_engine import Transformers

        engine = Transformers.loaded(model, arguments)
    elif name == "vllm-offline":
        from bench.serving.inside.vllm_engine import Vllm

        engine = Vllm.loaded(model, arguments)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # what it has started ends with it then
    else:
        sys.exit(f"no engine in process is called {name}")
    print(f"{name} is ready", flush=True)
    Desk(engine).serve(place)


def _name_the_package() -> None:
    """Let ``bench.serving.inside`` be found without its parents' own code and without what lies beside."""
    here = Path(__file__).resolve().parent
    for name, place in (("bench", here.parents[1]), ("bench.serving", here.parent)):
        module = types.ModuleType(name)
        module.__path__ = [str(place)]
        sys.modules[name] = module


if __name__ == "__main__":
    main()
