"""A block within the settings of a plug-in: read from YAML, and refused at the line of its own key."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent

import pytest

from bench.config.plugin_settings import settings
from bench.errors import ConfigError
from bench.link import NO_DELAY, LinkSettings, Outage
from bench.yaml_source import parse_yaml


@dataclass(frozen=True)
class Params:
    """Settings of something that crosses a link."""

    link: LinkSettings = NO_DELAY
    spare: LinkSettings | None = None


def read(text: str) -> dict[str, object]:
    source = parse_yaml(dedent(text), "a.yaml")
    assert isinstance(source.data, dict)
    return settings(source, Params, source.data, ())


def test_a_block_is_read_into_its_record() -> None:
    found = read("link: {round_trip_ms: 40, megabits_per_s: 20, outage: {after_s: 5, for_s: 2}}")
    expected = LinkSettings(round_trip_ms=40, megabits_per_s=20, outage=Outage(5, 2))
    assert found == {"link": expected, "spare": None}


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("loss: 1.5", "a.yaml:3: link.loss: loss must be 0 or more and below 1, not 1.5"),
        ("megabits_per_s: 0", "a.yaml:3: link.megabits_per_s: megabits_per_s must be 0.001 to"),
        ("megabits_per_s: fast", "a.yaml:3: link.megabits_per_s: should be a valid number, not 'fast'"),
        ("jiter_ms: 3", "a.yaml:3: link.jiter_ms: unknown key (did you mean 'jitter_ms'?)"),
        ("outage: {for_s: -1}", "a.yaml:3: link.outage.for_s: for_s must be 0.001 to 1e+06, not -1"),
        ("outage: {until: 3}", "a.yaml:3: link.outage.until: unknown key (known: after_s, for_s, every_s)"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(block: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(f"link:\n  round_trip_ms: 40\n  {block}\n")
    assert str(refused.value).startswith(said)


def test_a_block_that_may_be_absent_is_refused_in_the_same_way() -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml:1: spare\.lost: unknown key \(did you mean 'loss'\?\)"):
        read("spare: {lost: 1}")
