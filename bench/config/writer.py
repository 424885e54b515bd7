"""Write YAML that ``parse_yaml``, which follows YAML 1.2, and PyYAML, which follows 1.1, read alike."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from bench.yaml_source import plain_scalar


class _Dumper(yaml.SafeDumper):
    """Put text in quotes that ``parse_yaml`` would take for something else; PyYAML leaves ``1e3`` plain."""

    def represent_text(self, text: str) -> yaml.Node:
        try:
            plain = plain_scalar(text) == text
        except ValueError:
            plain = False
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


def write_yaml(data: Mapping[str, object]) -> str:
    """Return YAML from which ``parse_yaml`` and PyYAML read ``data`` again."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text
