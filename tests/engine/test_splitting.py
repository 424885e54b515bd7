"""The edge's side of a split model, against a cloud that is data: what is sent, counted and charged."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.engine import split_socket
from bench.engine.split_socket import Codec, Frame, Op
from bench.engine.splitting import CacheShape, Prices, Rest, Tally, cache_shape
from bench.errors import Unsupported
from bench.link import Link, LinkSettings
from bench.records.splits import SplitPhase


class Cloud:
    """Answers every frame with the payload it is given, and says that it computed for 2 s."""

    pid = 4711

    def __init__(self, payload: bytes, timed: bool = True) -> None:
        self.frames: list[Frame] = []
        self._reply = (split_socket.NANOSECONDS.pack(2_000_000_000) if timed else b"") + payload

    def ask(self, frame: Frame) -> tuple[Frame, int, int]:
        self.frames.append(frame)
        return Frame(frame.op, self._reply), 70, 30


def rest(payload: bytes, codec: Codec = "as-they-are", *, timed: bool = True, **more: Any) -> Rest:
    cloud: Any = Cloud(payload, timed)
    return Rest(cloud, Link(LinkSettings()), 2, 3, codec, **more)


def frames(of: Rest) -> list[Frame]:
    cloud: Any = of.cloud
    return list(cloud.frames)


def test_what_belongs_to_no_other_part_is_the_socket_s() -> None:
    tally = Tally(3, 30, 1_000_000_000, 2_000_000_000, 7_000_000_000, 1.5, 1.25, 70, 30)
    found = tally.phase()
    assert found == SplitPhase(3, 30, 1.0, 2.0, 1.5, 1.25, 2.5, 70, 30)
    assert found.total_s == 7.0
    assert Tally(total_ns=1_000_000_000, link_s=1.5).phase().socket_s == 0.0  # clocks of two processes


def test_a_pass_begins_a_batch_or_goes_on() -> None:
    one = rest(split_socket.pack_ids([7, 8]))
    ids = torch.tensor([[4, 5, 6], [1, 2, 3]])
    assert one.choose(ids, (0, 1), one.begin_pass()) == [7, 8]
    assert one.choose(ids[:, :1], None, one.begin_pass()) == [7, 8]
    assert frames(one) == [
        Frame(Op.PROMPT, split_socket.pack_ids([0, 1, 4, 5, 6, 1, 2, 3]), 2, 3),
        Frame(Op.TOKEN, split_socket.pack_ids([4, 1]), 2, 1),
    ]
    work = one.read()
    for phase, positions in ((work.prefill, 6), (work.decode, 2)):
        assert (phase.passes, phase.positions, phase.cloud_s) == (1, positions, 2.0)
        assert (phase.sent_bytes, phase.received_bytes) == (70, 30)
    assert (work.edge_layers, work.cloud_layers, work.processes) == (2, 3, (os.getpid(), 4711))
    assert one.read().prefill == SplitPhase()


def test_what_is_sent_is_what_the_link_carries() -> None:
    """A header of 16 bytes and 8 ids of 4 go up, 30 bytes come back: at 8 bits a second that is their sum."""
    one = rest(split_socket.pack_ids([7]))
    carried: list[tuple[int, str]] = []
    one.link.carry = lambda size, way: carried.append((size, way)) or 0.5  # type: ignore
    one.choose(torch.tensor([[4, 5, 6, 7]]), (0,), one.begin_pass())
    assert carried == [(16 + 4 + 16, "up"), (30, "down")]
    assert one.prefill.link_s == 1.0


@pytest.mark.parametrize(("codec", "size"), [("as-they-are", 2 * 3 * 8 * 4), ("int8", 2 * 3 * (8 + 4))])
def test_activations_are_rounded_and_ids_never_are(codec: Codec, size: int) -> None:
    one = rest(split_socket.pack_ids([7, 8]), codec)
    one.choose(torch.ones(2, 3, 8), None, one.begin_pass())
    one.choose(torch.ones(2, 1, dtype=torch.long), None, one.begin_pass())
    assert [(frame.codec, len(frame.payload)) for frame in frames(one)] == [(codec, size), ("as-they-are", 8)]


@pytest.mark.parametrize("timed", [True, False])
def test_prompts_that_the_cloud_reads_come_back_as_a_cache(timed: bool) -> None:
    torch.manual_seed(0)
    shape = CacheShape(layers=2, heads=3, numbers=4, dtype=torch.float32)
    parts = [torch.randn(2, 3, 5, 4) for _ in range(4)]
    payload = split_socket.pack_ids([7, 8]) + b"".join(
        split_socket.pack(part, "as-they-are") for part in parts
    )
    one = rest(payload, prompts_only=True)
    ids = torch.arange(10).reshape(2, 5)
    read = one.read_prompts(ids, (0, 2), shape, one.begin_pass() if timed else None)
    assert read.tokens == [7, 8]
    for (keys, values), key, value in zip(read.layers, parts[::2], parts[1::2], strict=True):
        assert torch.equal(keys, key)
        assert torch.equal(values, value)
    assert frames(one) == [Frame(Op.CACHE, split_socket.pack_ids([0, 2, *range(10)]), 2, 5)]
    phase = one.read().prefill
    assert (phase.passes, phase.positions) == ((1, 10) if timed else (0, 0))
    assert (phase.edge_s > 0) is timed


def test_scoring_and_what_the_cloud_holds_are_not_timed() -> None:
    rows = torch.randn(5, 11)
    one = rest(split_socket.pack(rows, "as-they-are"), timed=False)
    assert torch.equal(one.logits(torch.ones(1, 5, 8)), rows)
    assert rest(b"").held_bytes() == 2_000_000_000
    assert one.read().prefill == SplitPhase()


def test_only_the_newest_batch_has_a_cache() -> None:
    one = rest(b"", prices=Prices(1.0, 2.0, 3.0))
    first, second = one.begin_batch(), one.begin_batch()
    assert (first, second) == (1, 2)
    one.must_be_current(second)
    with pytest.raises(Unsupported, match="another one has begun"):
        one.must_be_current(first)
    work = one.read()
    assert (work.edge_usd_per_hour, work.cloud_usd_per_hour, work.egress_usd_per_gb) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("config", "heads", "numbers"),
    [
        ({"num_key_value_heads": 2, "head_dim": 16}, 2, 16),
        ({"num_key_value_heads": None, "head_dim": None}, 4, 8),
        ({}, 4, 8),
    ],
)
def test_what_a_cache_holds_of_a_token(config: dict[str, int | None], heads: int, numbers: int) -> None:
    text = SimpleNamespace(num_attention_heads=4, hidden_size=32, num_hidden_layers=5, **config)
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda decoder: text), dtype=torch.float16)
    assert cache_shape(model) == CacheShape(5, heads, numbers, torch.float16)
