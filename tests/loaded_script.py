"""Files of scripts/ have no suffix, so an import does not find them."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def loaded_script(name: str) -> ModuleType:
    """A script as a module, anew each time; its dataclasses look for it among the modules."""
    loader = SourceFileLoader(f"script_{name.replace('-', '_')}", str(SCRIPTS / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = sys.modules[loader.name] = module_from_spec(spec)
    loader.exec_module(module)
    return module
