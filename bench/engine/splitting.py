"""Run the edge's side of a split model: send what its layers computed over a link, and receive tokens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

from bench.engine import split_socket
from bench.engine.cloud import Cloud
from bench.engine.split_socket import Codec, Frame, Op
from bench.errors import Unsupported
from bench.link import Link
from bench.records.splits import SplitPhase, SplitWork


def rows_of(edge: Any, ids: Any, **given: Any) -> Any:
    """Return what the edge sends for token ids [sequences, tokens].

    These are the activations after its last layer [sequences, tokens, size], or the ids if it has no layer.
    """
    if not len(edge.model.layers):
        return ids
    return edge.model(input_ids=ids, **given).last_hidden_state


@dataclass(frozen=True)
class Prices:
    """Hold the prices of an hour of each side and of a gigabyte out of the cloud; None if not given."""

    edge_usd_per_hour: float | None = None
    cloud_usd_per_hour: float | None = None
    egress_usd_per_gb: float | None = None


@dataclass(frozen=True)
class CacheShape:
    """Describe what a KV cache holds per token: layers, heads per layer, numbers per head, and dtype."""

    layers: int
    heads: int
    numbers: int
    dtype: Any


def cache_shape(model: Any) -> CacheShape:
    """Return what a plain KV cache of the model holds per token."""
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    numbers = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return CacheShape(config.num_hidden_layers, heads, numbers, model.dtype)


@dataclass(frozen=True)
class Prompts:
    """Hold what the cloud computed from prompts: the next token of each, and (keys, values) per layer."""

    tokens: list[int]
    layers: tuple[tuple[Any, Any], ...]


@dataclass
class Tally:
    """Sum up the passes of one phase since the last call of ``Rest.read``."""

    passes: int = 0
    positions: int = 0
    edge_ns: int = 0
    cloud_ns: int = 0
    total_ns: int = 0
    link_s: float = 0.0
    link_asked_s: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0

    def phase(self) -> SplitPhase:
        """Return the sums as a record; the time that belongs to no other part is that of the socket."""
        edge_s, cloud_s, total_s = self.edge_ns / 1e9, self.cloud_ns / 1e9, self.total_ns / 1e9
        return SplitPhase(
            passes=self.passes,
            positions=self.positions,
            edge_s=edge_s,
            cloud_s=cloud_s,
            link_s=self.link_s,
            link_asked_s=self.link_asked_s,
            socket_s=max(total_s - edge_s - cloud_s - self.link_s, 0.0),
            sent_bytes=self.sent_bytes,
            received_bytes=self.received_bytes,
        )


@dataclass
class Rest:
    """Use the part of a model that is in another process, over a link, and count the work of both.

    If ``edge_layers`` is 0, token ids cross the link; otherwise the activations after the last layer of the
    edge do. ``prompts_only`` says that the cloud reads the prompts with all layers and sends its KV cache
    back.
    """

    cloud: Cloud
    link: Link
    edge_layers: int
    cloud_layers: int
    codec: Codec
    prices: Prices = Prices()
    prompts_only: bool = False
    row_numbers: int = 0
    weights_bytes: int = 0
    parameters: int = 0
    prefill: Tally = field(default_factory=Tally)
    decode: Tally = field(default_factory=Tally)
    _batch: int = 0

    def choose(self, rows: Any, pads: Sequence[int] | None, started_ns: int) -> list[int]:
        """Send what the edge computed, and return the token that the cloud chose for each sequence.

        ``rows`` are activations [sequences, tokens, size], or token ids [sequences, tokens]. ``pads`` begins
        a batch, and says how many positions of each sequence are padding; None continues the batch. The edge
        began this pass at ``started_ns``.
        """
        begins = pads is not None
        payload = (split_socket.pack_ids(pads) if pads is not None else b"") + self._packed(rows)
        frame = Frame(
            Op.PROMPT if begins else Op.TOKEN, payload, rows.shape[0], rows.shape[1], self._codec_of(rows)
        )
        reply = self.over_link(frame, self.prefill if begins else self.decode, started_ns)
        return split_socket.unpack_ids(reply)

    def read_prompts(
        self, ids: Any, pads: Sequence[int], shape: CacheShape, started_ns: int | None
    ) -> Prompts:
        """Let the cloud read whole prompts [sequences, tokens], and return its tokens and its KV cache.

        If ``started_ns`` is None the prompts are for scoring, which is not timed, so they bypass the link.
        """
        sequences, tokens = ids.shape
        payload = split_socket.pack_ids(pads) + split_socket.pack_ids(ids.flatten().tolist())
        frame = Frame(Op.CACHE, payload, sequences, tokens, self.codec)
        if started_ns is None:
            reply = self.cloud.ask(frame)[0].payload[split_socket.NANOSECONDS.size :]
        else:
            reply = self.over_link(frame, self.prefill, started_ns)
        unpacking = perf_counter_ns()
        head = sequences * split_socket.ID_BYTES
        part_shape = (sequences, shape.heads, tokens, shape.numbers)
        size = split_socket.packed_bytes(part_shape, shape.dtype.itemsize, self.codec)
        places = range(head, head + 2 * shape.layers * size, size)
        view = memoryview(reply)
        parts = [
            split_socket.unpack(view[at : at + size], part_shape, shape.dtype, self.codec) for at in places
        ]
        if started_ns is not None:
            spent = perf_counter_ns() - unpacking
            self.prefill.edge_ns += spent
            self.prefill.total_ns += spent
        return Prompts(
            split_socket.unpack_ids(reply[:head]), tuple(zip(parts[::2], parts[1::2], strict=True))
        )

    def over_link(self, frame: Frame, tally: Tally, started_ns: int) -> bytes:
        """Send a frame over the link, count it and its reply in ``tally``, and return the reply's payload.

        Raises LinkDown if the link is down, and VariantFailed if the cloud's process failed.
        """
        carried = self.link.carried
        asked_before = carried.asked_s
        tally.edge_ns += perf_counter_ns() - started_ns
        up_s = self.link.carry(split_socket.HEADER.size + len(frame.payload), "up")
        reply, sent, received = self.cloud.ask(frame)
        down_s = self.link.carry(received, "down")
        tally.link_s += up_s + down_s
        tally.link_asked_s += carried.asked_s - asked_before
        tally.cloud_ns += split_socket.NANOSECONDS.unpack_from(reply.payload)[0]
        tally.sent_bytes += sent
        tally.received_bytes += received
        tally.passes += 1
        tally.positions += frame.sequences * frame.tokens
        tally.total_ns += perf_counter_ns() - started_ns
        return reply.payload[split_socket.NANOSECONDS.size :]

    def logits(self, rows: Any) -> Any:
        """Return the cloud's logits for all rows of one sequence, float32 [tokens, vocabulary].

        They are for scoring, which is not timed, so they bypass the link.
        """
        import torch

        frame = Frame(Op.LOGITS, self._packed(rows), rows.shape[0], rows.shape[1], self._codec_of(rows))
        reply, _sent, _received = self.cloud.ask(frame)
        return split_socket.unpack(reply.payload, (rows.shape[1], -1), torch.float32, "as-they-are")

    def held_bytes(self) -> int:
        """Return the bytes of the keys and values that the cloud holds."""
        reply, _sent, _received = self.cloud.ask(Frame(Op.HELD))
        return int(split_socket.NANOSECONDS.unpack(reply.payload)[0])

    def begin_pass(self) -> int:
        """Return the time at which a pass begins, in nanoseconds."""
        return perf_counter_ns()

    def begin_batch(self) -> int:
        """Return the number of a new batch. The cloud holds the cache of only one batch at a time."""
        self._batch += 1
        return self._batch

    def must_be_current(self, batch: int) -> None:
        """Raise Unsupported if ``batch`` is not the newest one, because the cloud has dropped its cache."""
        if batch != self._batch:
            raise Unsupported("a split model decodes one batch at a time, and another one has begun")

    def read(self) -> SplitWork:
        """Return the work since the last call, and reset the counts."""
        work = SplitWork(
            edge_layers=self.edge_layers,
            cloud_layers=self.cloud_layers,
            processes=(os.getpid(), self.cloud.pid),
            row_numbers=self.row_numbers,
            prefill=self.prefill.phase(),
            decode=self.decode.phase(),
            edge_usd_per_hour=self.prices.edge_usd_per_hour,
            cloud_usd_per_hour=self.prices.cloud_usd_per_hour,
            egress_usd_per_gb=self.prices.egress_usd_per_gb,
        )
        self.prefill, self.decode = Tally(), Tally()
        self.link.read()
        return work

    def _codec_of(self, rows: Any) -> Codec:
        return self.codec if rows.is_floating_point() else "as-they-are"

    def _packed(self, rows: Any) -> bytes:
        """Return activations packed by the codec, or token ids as they are."""
        if rows.is_floating_point():
            return split_socket.pack(rows, self.codec)
        return split_socket.pack_ids(rows.flatten().tolist())
