"""A server of the OpenAI kind whose token times are known: what a client says is held against it.

The ``model`` of a request says what happens, as ``ttft=20,gap=5,tokens=8,mode=cut``; times are in ms. Each
event carries ``sent_ns``, the monotonic clock (one for all processes of a machine) when it was given to the
socket, so that the error of a client can be told from the lateness of this server.

With ``says=WORD`` each event is that word, with ``other=N`` the words from the N-th on are others, with
``noisy=1`` no two replies are the same.

``python stub.py [--port N] [--unhealthy] [--die-after N] [--leave-child] [--capacity N] [--talk MIB]`` prints
its port, and with ``--talk`` so much of nothing before it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from typing import ClassVar

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
KINDS = {True: "chat.completion.chunk", False: "text_completion"}  # without it AIPerf reads nothing
TAKEN = {
    *("ttft", "gap", "tokens", "mode", "per", "fail", "status", "think", "service", "vocabulary", "tilt"),
    *("other", "noisy", "says"),
}


def settings(model: str) -> dict[str, str]:
    """Return the settings in a model's name."""
    pairs = (part.partition("=") for part in model.split(",") if "=" in part)
    return {key: value for key, _, value in pairs if key in TAKEN}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def whole(status: int, body: object, *more: str) -> bytes:
    """Return a whole reply of JSON."""
    data = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} Stub",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Stub(asyncio.Protocol):
    """One connection."""

    seen: ClassVar[Counter[str]] = Counter()
    options = argparse.Namespace(unhealthy=False, die_after=0, leave_child=False, capacity=0)
    gate: asyncio.Semaphore | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer, self.handles = transport, b"", []
        self.used = 0
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_lost(self, exc: Exception | None) -> None:
        for handle in self.handles:
            handle.cancel()

    def data_received(self, data: bytes) -> None:
        self.got_ns = time.monotonic_ns()
        self.buffer += data
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])
        }
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        method, path, _ = lines[0].split(" ", 2)
        self.answer(method, path, headers, rest[:length])

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        if method == "GET":
            healthy = 503 if self.options.unhealthy else 200
            pages = {"/health": (healthy, {}), "/version": (200, {"version": "stub-1"}),
                     "/v1/models": (healthy, {"data": [{"id": "stub", "max_model_len": 2048}]})}  # fmt: skip
            status, page = pages.get(path, (404, {}))
            self.transport.write(whole(status, page))
            return
        asked = json.loads(body)
        if path == "/tokenize":
            ids = [len(word) % 40 for word in asked["prompt"].split()]
            if asked.get("add_special_tokens"):
                ids = [49, *ids]
            self.transport.write(whole(200, {"count": len(ids), "tokens": ids}))
            return
        if asked.get("logprobs"):
            self.distribution(asked)
            return
        self.seen["requests"] += 1
        if self.options.die_after and self.seen["requests"] >= self.options.die_after:
            os._exit(3)
        self.reply(path.endswith("/chat/completions"), asked, headers)

    def distribution(self, asked: dict) -> None:
        """The log-probabilities of ``vocabulary`` tokens after a prompt of ids, shifted by ``tilt``."""
        how = settings(asked["model"])
        size, tilt = int(how.get("vocabulary", 0)), float(how.get("tilt", 0))
        if size == 0 or asked["logprobs"] != -1:
            self.transport.write(whole(400, {"error": {"message": "no log-probabilities here"}}))
            return
        last = asked["prompt"][-1]
        logits = [((7 * one + 13 * last) % 17) / 3 + tilt * (one % 2) for one in range(size)]
        total = math.log(sum(map(math.exp, logits)))
        row = {f"token_id:{one}": logit - total for one, logit in enumerate(logits)}
        self.transport.write(whole(200, {"choices": [{"logprobs": {"top_logprobs": [row]}}]}))

    def reply(self, chat: bool, asked: dict, headers: dict[str, str]) -> None:
        how = settings(asked["model"])
        mode = how.get("mode", "ok")
        self.seen[asked["model"]] += 1
        how["nth"] = str(self.seen[asked["model"]])
        self.used += 1
        if mode == "once" and self.used > 1:  # a server that has given up the connection meanwhile
            self.transport.abort()
            return
        if self.seen[asked["model"]] <= int(how.get("fail", 0)):
            mode = "status"
        if mode == "status":
            said = {"error": {"message": f"no: {headers.get('authorization', '')}"}}
            self.transport.write(whole(int(how.get("status", 500)), said))
        elif mode == "redirect":
            self.transport.write(whole(307, {}, "Location: http://elsewhere.example/v1/completions"))
        elif mode == "json":  # the whole answer, though a stream was asked for
            self.transport.write(whole(200, {"choices": [{"index": 0, "text": "t"}]}))
        elif mode == "reset":
            self.transport.abort()
        elif mode == "hang":
            pass
        else:
            self.stream(chat, asked, how, mode)

    def stream(self, chat: bool, asked: dict, how: dict[str, str], mode: str) -> None:
        now = self.got_ns
        if Stub.gate is not None:
            task = asyncio.ensure_future(self.queued(chat, asked, how, mode, now))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            self.plan(chat, asked, how, mode, now)

    async def queued(self, chat: bool, asked: dict, how: dict[str, str], mode: str, got_ns: int) -> None:
        """One request at a time for each place of ``--capacity``."""
        assert Stub.gate is not None
        async with Stub.gate:
            await asyncio.sleep(self.plan(chat, asked, how, mode, got_ns))

    def plan(self, chat: bool, asked: dict, how: dict[str, str], mode: str, got_ns: int) -> float:
        tokens = int(how.get("tokens", asked.get("max_tokens") or asked.get("max_completion_tokens") or 8))
        ttft, gap, per = (
            float(how.get("ttft", 0)) / 1e3,
            float(how.get("gap", 0)) / 1e3,
            int(how.get("per", 1)),
        )
        self.plain = mode in ("untilclose", "untilcut")
        self.transport.write(HEAD.replace(b"Transfer-Encoding: chunked\r\n", b"") if self.plain else HEAD)
        sizes = [min(per, tokens - at) for at in range(0, tokens, per)]
        if gap == 0 and ttft == 0:
            for number, size in enumerate(sizes):
                self.token(chat, how, mode, got_ns, number, size)
            self.finish(chat, asked, how, mode, tokens)
            return 0.0
        loop, start = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        for number, size in enumerate(sizes):
            at = start + ttft + number * gap
            self.handles.append(loop.call_at(at, partial(self.token, chat, how, mode, got_ns, number, size)))
        last = start + ttft + (len(sizes) - 1) * gap
        self.handles.append(loop.call_at(last + 1e-6, partial(self.finish, chat, asked, how, mode, tokens)))
        return last - start

    def token(self, chat: bool, how: dict[str, str], mode: str, got_ns: int, number: int, size: int) -> None:
        word = "u" if number >= int(how.get("other", number + 1)) else "t"
        text = "".join(f" {word}{how['nth'] if 'noisy' in how else ''}{number}.{one}" for one in range(size))
        text = how.get("says", text)
        thinking = number < int(how.get("think", 0))
        delta = {"reasoning_content" if thinking else "content": text}
        choice = {"index": 0, "delta": delta} if chat else {"index": 0, "text": text}
        event: dict = {
            "object": KINDS[chat],
            "choices": [choice],
            "got_ns": got_ns,
            "sent_ns": time.monotonic_ns(),
        }
        if mode == "ids":
            choice["token_ids"] = list(range(size))
        if mode == "huge" and number == 2:
            event["padding"] = "x" * 20_000_000
        data = b"data: " + json.dumps(event).encode() + b"\n\n"
        if mode == "badjson" and number == 2:
            data = b"data: {not json\n\n"
        if mode == "badutf8" and number == 2:
            data = b"data: \xff\xfe\n\n"
        if mode == "crlf":
            data = b": a comment\r\n" + data.replace(b"\n", b"\r\n")
        if mode == "error" and number == 2:
            data = b'data: {"error": {"message": "out of memory"}}\n\n'
        if mode == "cut" and number == 2:
            self.transport.write(b"ff\r\n" + data[:20])
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write(data if self.plain else chunk(data))

    def finish(self, chat: bool, asked: dict, how: dict[str, str], mode: str, tokens: int) -> None:
        if self.transport.is_closing():
            return
        if mode == "drip":  # a byte now and then, and never an end
            self.transport.write(chunk(b":"))
            later = partial(self.finish, chat, asked, how, mode, tokens)
            self.handles.append(asyncio.get_running_loop().call_later(0.05, later))
            return
        reason = "length" if mode != "nofinish" else None
        choice = {"index": 0, "delta": {}, "finish_reason": reason} if chat else \
            {"index": 0, "text": "", "finish_reason": reason}  # fmt: skip
        out = b"data: " + json.dumps({"object": KINDS[chat], "choices": [choice]}).encode() + b"\n\n"
        if mode != "nousage":
            prompt = asked.get("prompt") or asked["messages"][-1]["content"]
            counted = {"wrongusage": 1, "zerousage": 0, "hugeusage": 10**6}.get(mode, tokens)
            usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": counted}
            out += (
                b"data: "
                + json.dumps({"object": KINDS[chat], "choices": [], "usage": usage}).encode()
                + b"\n\n"
            )
        if mode != "nodone":
            out += b"data: [DONE]\n\n"
        if self.plain:
            self.transport.write(out if mode == "untilclose" else b"")
            self.transport.close()
            return
        self.transport.write(chunk(out) + b"0\r\n\r\n")
        if mode == "close":  # without a word of it in the headers
            self.transport.close()
        if mode == "idle":  # nothing more was asked for a while
            asyncio.get_running_loop().call_later(0.05, self.transport.close)


async def serve(options: argparse.Namespace) -> None:
    Stub.options = options
    if options.capacity:
        Stub.gate = asyncio.Semaphore(options.capacity)
    if options.leave_child:
        subprocess.Popen(["sleep", "300"])
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", options.port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--die-after", type=int, default=0)
    parser.add_argument("--capacity", type=int, default=0)
    parser.add_argument("--talk", type=int, default=0)
    parser.add_argument("--unhealthy", action="store_true")
    parser.add_argument("--leave-child", action="store_true")
    parser.add_argument("--ignore-term", action="store_true")
    options = parser.parse_args()
    if options.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(options.talk):
        print("words " * 170_000, flush=True)
    try:
        asyncio.run(serve(options))
    except OSError as bad:
        sys.exit(f"stub: {bad}")


if __name__ == "__main__":
    main()
