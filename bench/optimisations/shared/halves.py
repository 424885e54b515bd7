"""Put the later layers of a model into a process of their own, and check that both halves are the model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bench.engine import split_socket
from bench.engine.cloud import Cloud
from bench.engine.evidence import Census, Check, check
from bench.engine.split_socket import Codec, Frame, Op
from bench.engine.splitting import Prices, Rest, cache_shape, rows_of
from bench.errors import Unsupported
from bench.link import Link, LinkSettings
from bench.optimisations.shared import decoder
from bench.records.splits import SplitPhase, SplitWork

LAYERS = "model.layers."
EMBEDDING = "model.embed_tokens.weight"
PROBE_TOKENS = 32
MOST_APART = 1e-6  # nats: the KL of the halves from the whole model, where nothing is rounded
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def open_rest(
    model: Any, edge_layers: int, codec: Codec, link: LinkSettings, prices: Prices, cloud: Cloud | None = None
) -> Rest:
    """Start the cloud's process, or take one that runs, and give it the layers behind the edge's.

    Raises Unsupported for a model that cannot be taken apart so.
    """
    import torch

    layers = len(decoder.blocks(model))
    weights = dict(_weights(model, edge_layers))
    told = {
        "config": _config(model, edge_layers),
        "attention": model.config._attn_implementation,
        "dtype": _name(model.dtype),
        "device": str(model.device),
        "threads": torch.get_num_threads(),
        "takes_ids": edge_layers == 0,
        "weights": [[name, list(one.shape), _name(one.dtype)] for name, one in weights.items()],
    }
    cloud = cloud or Cloud()
    cloud.send(Frame(Op.BUILD, json.dumps(told).encode()))
    cloud.stream(one for one in weights.values() if one.numel())
    built = json.loads(cloud.receive().payload)
    return Rest(
        cloud, Link(link), edge_layers, layers - edge_layers, codec, prices,
        weights_bytes=built["bytes"], parameters=built["parameters"], row_numbers=model.config.hidden_size,
    )  # fmt: skip


def open_prompts(
    model: Any, codec: Codec, link: LinkSettings, prices: Prices, cloud: Cloud | None = None
) -> Rest:
    """Start the cloud's process, or take one that runs, and give it the whole model, to read prompts alone.

    Raises Unsupported for a model whose cache is not plain keys and values of every token.
    """
    must_have_plain_cache(model)
    rest = open_rest(model, 0, codec, link, prices, cloud)
    return replace(
        rest, prompts_only=True, edge_layers=rest.cloud_layers, row_numbers=cache_shape(model).numbers
    )


def edge_of(model: Any, edge_layers: int) -> Any:
    """Return the model with its first layers alone, without the head, and without a norm behind them.

    With no layers it has no embedding either; the norm stays then, because a model needs one weight to have a
    dtype.
    """
    import torch

    first = decoder.first_layers(model, edge_layers)
    first._modules["lm_head"] = None
    if edge_layers:
        first.model.norm = torch.nn.Identity()
    else:
        first.model._modules["embed_tokens"] = None
    return first


def must_compute_the_same(model: Any, edge: Any, rest: Rest) -> None:
    """Raise Unsupported if both halves together do not compute what the whole model does."""
    import torch
    from torch.nn.functional import log_softmax

    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    ids = torch.arange(PROBE_TOKENS, device=model.device).mul(37).remainder(vocabulary).unsqueeze(0)
    with torch.inference_mode():
        whole = log_softmax(model(input_ids=ids, use_cache=False).logits[0].double().cpu(), -1)
        halves = log_softmax(rest.logits(rows_of(edge, ids, use_cache=False)).double(), -1)
    apart = float((whole.exp() * (whole - halves)).sum(-1).mean())
    if not apart < MOST_APART:
        name = type(model).__name__
        raise Unsupported(
            f"the two halves of {name} are {apart:.2g} nats from the whole model: not a plain stack"
        )


def _weights(model: Any, edge_layers: int) -> Iterator[tuple[str, Any]]:
    """Yield the name and the tensor of each weight of the cloud's half, its layers numbered from 0."""
    for name, tensor in model.state_dict().items():
        if name.startswith(LAYERS):
            number, _, rest = name.removeprefix(LAYERS).partition(".")
            if int(number) >= edge_layers:
                yield f"{LAYERS}{int(number) - edge_layers}.{rest}", tensor
        elif name != EMBEDDING or edge_layers == 0:
            yield name, tensor


def _config(model: Any, edge_layers: int) -> dict[str, Any]:
    """Return the config of the cloud's half: what it says of each layer is cut like the layers."""
    found: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=False))
    layers = found["num_hidden_layers"]
    cut = {
        key: value[edge_layers:]
        for key, value in found.items()
        if isinstance(value, list) and len(value) == layers and key.endswith(("_types", "_layers"))
    }
    return {**found, **cut, "num_hidden_layers": layers - edge_layers}


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


# ---- evidence ----------------------------------------------------------------------------------------


def two_processes(after: Census) -> tuple[SplitWork | None, list[Check]]:
    """Return what a short request did on both sides, and the check that these were two processes."""
    work = after.decoding.split if after.decoding else None
    if work is None:
        return None, [check("processes", "one", False, "two")]
    here, there = work.processes
    return work, [check("processes", f"{here} and {there}", here != there, "two")]


def bytes_match(work: SplitWork, size: int, item_bytes: int, codec: Codec, sequences: int = 1) -> list[Check]:
    """Check the bytes counted at the socket against those that the shapes give."""
    found = []
    for name, phase in (("prompts", work.prefill), ("tokens", work.decode)):
        sent, received = expected_bytes(phase, size, item_bytes, codec, sequences, begins=name == "prompts")
        counted = f"{phase.sent_bytes} up, {phase.received_bytes} down"
        holds = phase.passes > 0 and (phase.sent_bytes, phase.received_bytes) == (sent, received)
        found.append(check(f"bytes of {name}", counted, holds, f"{sent} up, {received} down"))
    return found


def expected_bytes(
    phase: SplitPhase, size: int, item_bytes: int, codec: Codec, sequences: int = 1, *, begins: bool
) -> tuple[int, int]:
    """Return the bytes up and down that the passes of a phase must have moved.

    A position is ``size`` numbers, or one id if ``size`` is 0. A prompt also says how many positions of each
    sequence are padding; a reply has a time and a token for each sequence.
    """
    packed = phase.positions * split_socket.ID_BYTES
    if size:
        packed = split_socket.packed_bytes((phase.positions, size), item_bytes, codec)
    pads = phase.passes * sequences * split_socket.ID_BYTES if begins else 0
    down = phase.passes * (
        split_socket.HEADER.size + split_socket.NANOSECONDS.size + sequences * split_socket.ID_BYTES
    )
    return phase.passes * split_socket.HEADER.size + pads + packed, down


def check_prices(params: Any) -> None:
    """Raise ValueError for a price that is negative or no number, and for the price of one side alone. A
    price of 0 is allowed: a device that is owned and counted elsewhere."""
    for name in ("edge_usd_per_hour", "cloud_usd_per_hour", "egress_usd_per_gb"):
        usd = getattr(params, name)
        if usd is not None and not 0 <= usd <= 1_000_000:
            raise ValueError(f"{name} must be 0 to 1000000 dollars, not {usd:g}")
    edge, cloud = params.edge_usd_per_hour, params.cloud_usd_per_hour
    if (edge is None) != (cloud is None) or (edge is None and params.egress_usd_per_gb is not None):
        raise ValueError("edge_usd_per_hour and cloud_usd_per_hour go together: one side alone has no price")


# ---- prompts alone -----------------------------------------------------------------------------------


def must_have_plain_cache(model: Any) -> None:
    """Raise Unsupported unless the cache holds plain keys and values of every token in every layer, as many
    numbers of both as ``cache_shape`` says. Multi-head latent attention holds other numbers of keys than of
    values."""
    import torch
    from transformers import DynamicCache

    decoder.blocks(model)
    cache, name = DynamicCache(config=model.config), type(model).__name__
    kinds = {type(layer).__name__ for layer in cache.layers}
    if kinds - {"DynamicLayer"}:
        raise Unsupported(f"the cache of {name} has {', '.join(sorted(kinds))}: only plain ones can be sent")
    with torch.inference_mode():
        model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=model.device), past_key_values=cache)
    plain = cache_shape(model)
    wanted = torch.Size((1, plain.heads, 1, plain.numbers))
    if any(part.shape != wanted for layer in cache.layers for part in (layer.keys, layer.values)):
        raise Unsupported(f"the cache of {name} holds other keys than values: only plain ones can be sent")


def item_bytes(census: Census) -> int:
    """Return the bytes of a number of the model, as its head is stored."""
    return ITEM_BYTES[next(one for one in census.matrices if one.is_head).dtype]


def cache_bytes(work: SplitWork, plain_bytes: float, item: int, codec: Codec) -> int:
    """Return the bytes of all cached positions that must have come down; ``plain_bytes`` is what one takes
    where nothing is rounded."""
    numbers = round(work.prefill.positions * plain_bytes / item)
    return split_socket.packed_bytes((numbers // work.row_numbers, work.row_numbers), item, codec)


def prompts_match(work: SplitWork, cache_size: int, sequences: int = 1) -> list[Check]:
    """Check the bytes of prompts against those that ids and caches take, and that no token crossed alone."""
    phase = work.prefill
    sent = (
        phase.passes * (split_socket.HEADER.size + sequences * split_socket.ID_BYTES)
        + phase.positions * split_socket.ID_BYTES
    )
    received = expected_bytes(phase, 0, 0, "as-they-are", sequences, begins=True)[1] + cache_size
    counted = f"{phase.sent_bytes} up, {phase.received_bytes} down"
    holds = phase.passes > 0 and (phase.sent_bytes, phase.received_bytes) == (sent, received)
    return [
        check("bytes of prompts", counted, holds, f"{sent} up, {received} down"),
        check("passes of single tokens over the link", work.decode.passes, not work.decode.passes, 0),
    ]
