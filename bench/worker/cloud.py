"""Run the cloud's side of a split model: a process that holds the rest of the layers and answers the edge.

``__main__.py cloud FD PARENT`` starts it. It gets its weights over the connection that it answers on, and
leaves when that ends.
"""

from __future__ import annotations

import json
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from time import perf_counter_ns
from types import TracebackType
from typing import Any

from bench.engine import split_socket
from bench.engine.split_socket import Frame, Gone, Op
from bench.errors import Outcome, VariantFailed
from bench.worker import builds
from bench.worker.exceptions import classify, reason

# transformers imports these if they are there, which takes seconds; weights that cross the socket are dense.
NOT_NEEDED = ("hqq", "torchao", "scipy")


class Half:
    """The layers behind the edge's, with the final norm, the head and a KV cache of their own."""

    def __init__(self, model: Any, *, takes_ids: bool) -> None:
        self.model, self.takes_ids = model, takes_ids
        self.device, self.dtype = model.device, model.dtype
        self.cache: Any = None
        self.pads: Any = None
        self.length = 0

    # Each public method answers one operation; the reply's payload is what it returns.

    def choose(self, frame: Frame) -> bytes:
        """Read the frame's rows behind what the cache holds, and return the token of each sequence."""
        payload = self._begin(frame) if frame.op != Op.TOKEN else frame.payload
        logits = self._read(payload, frame)[:, -1]
        return split_socket.pack_ids(logits.argmax(-1).tolist())

    def prompt_and_cache(self, frame: Frame) -> bytes:
        """Read whole prompts and return the token of each, then the keys and values of every layer in the
        frame's codec."""
        token = self.choose(frame)
        layers = self.cache.layers
        parts = (
            split_socket.pack(part, frame.codec) for layer in layers for part in (layer.keys, layer.values)
        )
        answer = token + b"".join(parts)
        self.cache = None  # the edge has it now
        return answer

    def logits(self, frame: Frame) -> bytes:
        """Return the logits of every row, float32, without a cache."""
        out = self.model(**self._given(frame.payload, frame), use_cache=False)
        return split_socket.pack(out.logits[0].float(), "as-they-are")

    def held(self, _frame: Frame) -> bytes:
        """Return the bytes of the keys and values."""
        layers = getattr(self.cache, "layers", ())
        parts = [getattr(layer, name, None) for layer in layers for name in ("keys", "values")]
        return split_socket.NANOSECONDS.pack(sum(part.nbytes for part in parts if part is not None))

    def _begin(self, frame: Frame) -> bytes:
        """Begin a batch with an empty cache, and return the payload behind the padding of each sequence."""
        import torch
        from transformers import DynamicCache

        size = frame.sequences * split_socket.ID_BYTES
        pads = split_socket.unpack_ids(frame.payload[:size])
        self.pads = torch.tensor(pads, device=self.device).unsqueeze(1) if any(pads) else None
        self.cache, self.length = DynamicCache(config=self.model.config), 0
        return frame.payload[size:]

    def _read(self, payload: bytes, frame: Frame) -> Any:
        import torch

        start, self.length = self.length, self.length + frame.tokens
        mask = positions = None
        if self.pads is not None:
            columns = torch.arange(self.length, device=self.device).unsqueeze(0)
            mask = (columns >= self.pads).long()
            positions = (columns - self.pads).clamp(min=0)[:, start:]
        out = self.model(
            **self._given(payload, frame), attention_mask=mask, position_ids=positions,
            past_key_values=self.cache, use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        return out.logits

    def _given(self, payload: bytes, frame: Frame) -> dict[str, Any]:
        import torch

        if self.takes_ids:
            ids = torch.tensor(split_socket.unpack_ids(payload), device=self.device)
            return {"input_ids": ids.reshape(frame.sequences, frame.tokens)}
        shape = (frame.sequences, frame.tokens, self.model.config.hidden_size)
        rows = split_socket.unpack(payload, shape, self.dtype, frame.codec)
        return {"inputs_embeds": rows.to(self.device)}


def build(told: Mapping[str, Any], channel: socket.socket) -> Half:
    """Make the model that ``told`` describes, and read its weights from the connection.

    Raises VariantFailed if the weights are not those of such a model.
    """
    import torch
    import transformers

    from bench.runtimes._checkpoint import into_own_memory

    torch.set_num_threads(told["threads"])
    config = transformers.AutoConfig.for_model(**told["config"])
    dtype = getattr(torch, told["dtype"])
    model = transformers.AutoModelForCausalLM.from_config(
        config, dtype=dtype, attn_implementation=told["attention"]
    )
    weights = {}
    for name, shape, kind in told["weights"]:
        weights[name] = torch.empty(shape, dtype=getattr(torch, kind))
        if weights[name].numel():
            split_socket.fill(channel, split_socket.view(weights[name]))
    missing, unexpected = model.load_state_dict(weights, strict=False, assign=True)
    takes_ids, embedding = told["takes_ids"], "model.embed_tokens.weight"
    if unexpected or set(missing) - ({embedding} if not takes_ids else set()):
        names = ", ".join([*missing, *unexpected][:3])
        raise VariantFailed(Outcome.UNSUPPORTED, f"the layers of {type(model).__name__} do not fit ({names})")
    if takes_ids:
        model.tie_weights()
    else:
        model.model.embed_tokens = None
    model.eval().requires_grad_(False).to(told["device"])
    if told["device"] == "cpu":
        into_own_memory(model)
    return Half(model, takes_ids=takes_ids)


def serve(channel: socket.socket) -> None:
    """Answer the edge until it closes the connection."""
    sys.modules.update(dict.fromkeys(NOT_NEEDED))  # type: ignore[arg-type]
    import torch
    import transformers

    sys.excepthook = _reporter(channel)
    builds.watch()
    transformers.logging.set_verbosity_error()
    half: Half | None = None
    while True:
        try:
            frame = split_socket.receive(channel)
        except Gone:
            return
        started = perf_counter_ns()
        if frame.op == Op.BUILD:
            half = build(json.loads(frame.payload), channel)
            said = {"bytes": _bytes(half.model), "parameters": _parameters(half.model)}
            answer = json.dumps(said).encode()
        else:
            assert half is not None, "asked before anything was built"
            answers: dict[Op, Callable[[Frame], bytes]] = {
                Op.PROMPT: half.choose, Op.TOKEN: half.choose, Op.CACHE: half.prompt_and_cache,
                Op.LOGITS: half.logits, Op.HELD: half.held,
            }  # fmt: skip
            with torch.inference_mode():
                answer = answers[frame.op](frame)
        if frame.op in (Op.PROMPT, Op.TOKEN, Op.CACHE):
            answer = split_socket.NANOSECONDS.pack(perf_counter_ns() - started) + answer
        split_socket.send(channel, Frame(frame.op, answer, frame.sequences, frame.tokens, frame.codec))


def _parameters(model: Any) -> int:
    return sum(one.numel() for one in model.parameters())


def _bytes(model: Any) -> int:
    return sum({one.data_ptr(): one.nbytes for one in (*model.parameters(), *model.buffers())}.values())


def _reporter(channel: socket.socket) -> Callable[..., None]:
    """Return an excepthook that tells the edge what went wrong, and prints the traceback to the log."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, error, trace)
        payload = f"{classify(error, 'run')}:{reason(error)[:600]}".encode()
        split_socket.send(channel, Frame(Op.FAILED, payload))

    return report
