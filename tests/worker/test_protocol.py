"""Frames: what is sent arrives, and whatever else arrives is refused; nothing ever waits for ever."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.worker import protocol
from bench.worker.protocol import ChannelClosed, ProtocolError, receive, send

STALL_S = 5.0  # a test that waits this long has found a hang

texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(STALL_S)
        yield ours, theirs


def arriving(data: bytes) -> tuple[dict[str, object], list[int]]:
    """What ``receive`` makes of ``data`` and then the end of the stream."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(STALL_S)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        return receive(ours)


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


@given(st.dictionaries(texts, values, max_size=5))
def test_a_message_arrives_as_it_was_sent(message: dict[str, object]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(theirs, message)
        assert receive(ours) == (message, [])


def test_messages_keep_their_order_and_their_borders(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    for number in range(50):
        send(theirs, {"number": number, "filling": "x" * number})
    assert [receive(ours)[0]["number"] for _ in range(50)] == list(range(50))


def test_a_message_larger_than_any_socket_buffer(pair: tuple[socket.socket, socket.socket]) -> None:
    import threading

    ours, theirs = pair
    sender = threading.Thread(target=send, args=(theirs, {"text": "é" * 2_000_000}))
    sender.start()
    message, _none = receive(ours)
    sender.join()
    assert message == {"text": "é" * 2_000_000}


@pytest.mark.parametrize("count", [1, 2, protocol.MAX_DESCRIPTORS])
def test_descriptors_travel_with_their_message(pair: tuple[socket.socket, socket.socket], count: int) -> None:
    ours, theirs = pair
    files = [os.memfd_create(f"test-{index}") for index in range(count)]
    for index, file in enumerate(files):
        os.write(file, b"%d" % index)
    send(theirs, {"do": "look"}, files)
    send(theirs, {"do": "go on"})
    message, arrived = receive(ours)
    assert message == {"do": "look"}
    assert len(arrived) == count
    assert [os.pread(file, 10, 0) for file in arrived] == [b"%d" % index for index in range(count)]
    assert receive(ours) == ({"do": "go on"}, [])
    for file in [*files, *arrived]:
        os.close(file)


@pytest.mark.fault(21)
def test_an_oversized_message_is_refused_on_both_sides(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    with monkeypatch.context() as small:
        small.setattr(protocol, "MAX_FRAME_BYTES", 100)
        with pytest.raises(ProtocolError, match="over the limit of 100"):
            send(theirs, {"text": "x" * 200})
    send(theirs, {"text": "x" * 200})
    monkeypatch.setattr(protocol, "MAX_FRAME_BYTES", 100)
    with pytest.raises(ProtocolError, match="claims 211 bytes"):
        receive(ours)


@pytest.mark.fault(21)
def test_a_claim_of_four_gigabytes_costs_no_memory() -> None:
    with pytest.raises(ProtocolError, match="over the limit"):
        arriving(b"\xff\xff\xff\xff" + b"x" * 1000)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not JSON"),
        (b"[1, 2]", "a list, not an object"),
        (b'"text"', "a str, not an object"),
        (b"null", "a NoneType, not an object"),
        (b"{'single': 1}", "not JSON"),
        (b'{"a": 1} {"b": 2}', "not JSON"),
        (b'{"a": NaN}', "NaN is not a finite number"),
        (b'{"a": -Infinity}', "-Infinity is not a finite number"),
        (b'{"a": 1e999}', "1e999 is not a finite number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'\xff\xfe{"a": 1}', "not JSON"),
        (b'{"a": ' + b"[" * 200_000, "nested too deeply"),
    ],
)
@pytest.mark.fault(20, 21)
def test_what_is_not_a_message_is_refused(body: bytes, problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        arriving(frame(body))


def test_a_message_that_is_not_json_cannot_be_sent(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        send(pair[0], {"time": float("nan")})


@settings(max_examples=60)
@given(st.dictionaries(texts, values, min_size=1, max_size=3), st.data())
@pytest.mark.fault(21)
def test_a_frame_cut_anywhere_is_a_closed_channel(message: dict[str, object], data: st.DataObject) -> None:
    whole = frame(json.dumps(message).encode())
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ChannelClosed):
        arriving(whole[:cut])


@settings(max_examples=150)
@given(st.binary(max_size=200) | st.binary(max_size=60).map(frame))
def test_any_bytes_end_in_a_message_or_a_refusal(data: bytes) -> None:
    try:
        message, descriptors = arriving(data)
    except ProtocolError:
        return
    assert isinstance(message, dict)
    assert descriptors == []


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=30), st.integers(0, 40))
def test_one_changed_byte_never_hangs(noise: bytes, place: int) -> None:
    whole = bytearray(frame(b'{"ok":true,"result":{"tokens":[1,2,3]}}'))
    whole[place : place + len(noise)] = noise
    try:
        message, _none = arriving(bytes(whole))
    except ProtocolError:
        return
    assert isinstance(message, dict)


def test_talking_to_nobody(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    with pytest.raises(ChannelClosed):
        receive(ours)
    with pytest.raises(ChannelClosed):
        send(ours, {"do": "load"})
    with pytest.raises(ChannelClosed):
        send(ours, {"do": "duet"}, [ours.fileno()])


def test_a_frame_that_stops_half_way_runs_into_the_time_limit_of_the_channel(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    ours.settimeout(0.05)
    theirs.sendall(frame(b'{"ok": true}')[:7])
    with pytest.raises(TimeoutError):
        receive(ours)
