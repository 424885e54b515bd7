"""Frames between two processes: their bytes are those computed, and numbers come back as they must."""

from __future__ import annotations

import socket

import pytest
import torch

from bench.engine import split_socket
from bench.engine.cloud import connected_pair
from bench.engine.split_socket import Codec, Frame, Gone, Op


@pytest.mark.parametrize("codec", split_socket.CODECS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_numbers_come_back(codec: Codec, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    numbers = (torch.randn(2, 5, 32) * torch.tensor([1.0, 100.0]).reshape(2, 1, 1)).to(dtype)
    packed = split_socket.pack(numbers, codec)
    assert len(packed) == split_socket.packed_bytes(numbers.shape, dtype.itemsize, codec)
    back = split_socket.unpack(packed, numbers.shape, dtype, codec)
    if codec == "as-they-are":
        assert torch.equal(back, numbers)
    largest = numbers.float().abs().amax(-1, keepdim=True)
    step = {"as-they-are": 0.0, "int8": 0.5 / 127, "float8": 32 / 2 / 448}[codec]  # half the widest step
    rounding = 0.01 if dtype == torch.bfloat16 else 1e-6
    assert ((back.float() - numbers.float()).abs() <= largest * (step + rounding)).all()


def test_a_row_of_zeros_stays_one() -> None:
    zeros = torch.zeros(1, 2, 8)
    for codec in split_socket.CODECS:
        assert torch.equal(
            split_socket.unpack(split_socket.pack(zeros, codec), zeros.shape, torch.float32, codec), zeros
        )


def test_a_frame_crosses_a_socket() -> None:
    ours, theirs = connected_pair()
    with ours, theirs:
        assert ours.family == socket.AF_INET
        frame = Frame(Op.TOKEN, split_socket.pack_ids([7, 4_000_000_000]), 2, 1, "int8")
        assert split_socket.send(ours, frame) == 16 + 8
        found = split_socket.receive(theirs)
    assert found == frame
    assert split_socket.unpack_ids(found.payload) == [7, 4_000_000_000]


def test_a_connection_that_ends_is_gone() -> None:
    ours, theirs = connected_pair()
    with theirs:
        ours.sendall(b"\x01\x00")  # the beginning of a header
        ours.close()
        with pytest.raises(Gone, match="the connection was closed"):
            split_socket.receive(theirs)


def test_what_is_no_frame_is_refused() -> None:
    ours, theirs = connected_pair()
    with ours, theirs:
        ours.sendall(b"\xff" * 16)
        with pytest.raises(ValueError, match="not a frame"):
            split_socket.receive(theirs)
