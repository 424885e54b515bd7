"""Which GPU a worker will use, and why it could not, on machines of every kind."""

from __future__ import annotations

import pytest
from fake_nvml import GIB, Card, Machine, gpu_machine, h100_slice

from bench.machine import gpus, nvml
from bench.machine.devices import cuda_device_count
from bench.machine.nvml import Gpu, NoNvml

__all__ = ["gpu_machine"]
Patch = pytest.MonkeyPatch


def cards(*names: str) -> list[Card]:
    """Cards with the UUIDs GPU-a…, GPU-b…"""
    return [Card(f"GPU-{letter}{letter}-1", name) for letter, name in zip("abcdefg", names, strict=False)]


def names() -> list[str] | str:
    found = gpus.visible()
    return found.code if isinstance(found, NoNvml) else [gpu.uuid for gpu in found]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, ["GPU-aa-1", "GPU-bb-1", "GPU-cc-1"]),
        ("2,0", ["GPU-cc-1", "GPU-aa-1"]),
        ("GPU-bb", ["GPU-bb-1"]),
        ("GPU-bb-1,0", ["GPU-bb-1", "GPU-aa-1"]),
        ("0,7,1", ["GPU-aa-1"]),
        ("1,1", ["GPU-bb-1"]),
        ("GPU-", []),
        ("-1", []),
        ("", []),
    ],
)
def test_gpus_are_those_that_cuda_would_show(
    gpu_machine: Machine, monkeypatch: Patch, chosen: str | None, expected: list[str]
) -> None:
    gpu_machine(*cards("H100", "H100", "H100"))
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert names() == expected
    assert chosen == "1,1" or chosen == "GPU-" or cuda_device_count() == len(expected)


def test_a_device_is_the_same_card_under_either_numbering(gpu_machine: Machine, monkeypatch: Patch) -> None:
    gpu_machine(*cards("H100", "H100", "H100"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    found = gpus.gpu_for("cuda:1")
    assert isinstance(found, Gpu)
    assert found.uuid == "GPU-aa-1"
    assert gpus.gpu_for("cuda") == gpus.gpu_for("auto") == gpus.gpu_for("cuda:0")
    assert gpus.gpu_for("cpu") is gpus.gpu_for("cuda:2") is None
    assert gpus.lock_names(["cuda", "auto", "cuda:1", "cpu"]) == ["GPU-aa-1", "GPU-cc-1"]


def test_a_model_that_is_split_holds_every_gpu_of_it(gpu_machine: Machine) -> None:
    gpu_machine(*cards("H100", "H100", "H100"))
    assert gpus.spread("auto", 2) == ("cuda:0", "cuda:1")
    assert gpus.lock_names(gpus.spread("cuda", 2)) == ["GPU-aa-1", "GPU-bb-1"]
    assert gpus.spread("cuda:2", 1) == ("cuda:2",)
    assert gpus.spread("cpu", 2) == ("cpu",)


def test_different_cards_in_the_order_of_their_speed_are_not_known(
    gpu_machine: Machine, monkeypatch: Patch
) -> None:
    gpu_machine(*cards("T4", "H100"))
    assert names() == ["GPU-aa-1", "GPU-bb-1"]
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert names() == "gpu_order"
    assert gpus.lock_names(["cuda:0"]) == ["every-gpu"]
    (said,) = gpus.cautions(["cuda:0"])
    assert "set CUDA_DEVICE_ORDER=PCI_BUS_ID" in said


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cuda:7", "cuda:7: this machine shows 1 CUDA device(s): cuda:0 NVIDIA H100 80GB HBM3"),
        ("cuda:0", None),
    ],
)
def test_a_device_that_is_not_there(gpu_machine: Machine, device: str, words: str | None) -> None:
    gpu_machine(Card())
    assert gpus.why_not(device, cuda_device_count()) == words


def test_a_device_that_the_user_has_hidden(gpu_machine: Machine, monkeypatch: Patch) -> None:
    gpu_machine(*cards("H100", "H100"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-zz")  # a UUID is not looked up when devices are counted
    reason = gpus.why_not("cuda", cuda_device_count())
    assert reason == "cuda: this machine shows 0 CUDA device(s) (CUDA_VISIBLE_DEVICES=GPU-zz)"


@pytest.mark.parametrize(("mode", "words"), [(0, None), (2, "takes no process"), (3, "takes one process")])
def test_a_card_that_takes_no_pair(gpu_machine: Machine, mode: int, words: str | None) -> None:
    gpu_machine(Card(mode=mode))
    reason = gpus.why_not("auto", 1)
    assert (reason is None) == (words is None)
    assert words is None or (words in str(reason) and "nvidia-smi -c DEFAULT" in str(reason))


@pytest.mark.parametrize(
    ("torch", "driver", "refused"),
    [
        ((13, 0), 12040, True),
        ((12, 8), 12040, False),
        ((12, 8), 13000, False),
        (None, 12040, False),
        ((13, 0), 0, False),
    ],
)
def test_a_driver_that_is_too_old(
    gpu_machine: Machine, monkeypatch: Patch, torch: tuple[int, int] | None, driver: int, refused: bool
) -> None:
    """Of an earlier major version of CUDA than torch was built for; a minor one does not matter."""
    gpu_machine(Card(), driver="550.54.15", cuda=driver)
    monkeypatch.setattr(gpus, "cuda_of_torch", lambda: torch)
    reason = gpus.why_not("cuda", 1)
    assert (reason is not None) == refused
    if reason:
        assert "driver 550.54.15 runs CUDA 12.4 at most" in reason
        assert "built for CUDA 13.0" in reason


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("cuda: Optional[str] = '12.8'", (12, 8)),
        ("cuda = '13.0'", (13, 0)),
        ("cuda: Optional[str] = None", None),
    ],
)
def test_torch_s_cuda_is_read_from_its_file(
    monkeypatch: Patch,
    tmp_path,
    line: str,
    version: tuple[int, int] | None,  # type: ignore[no-untyped-def]
) -> None:
    (tmp_path / "version.py").write_text(f"__version__ = '2.11.0'\n{line}\nhip: Optional[str] = '6.0'\n")
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(gpus, "find_spec", lambda name: spec)
    assert gpus.cuda_of_torch() == version
    monkeypatch.setattr(gpus, "find_spec", lambda name: None)
    assert gpus.cuda_of_torch() is None


@pytest.mark.parametrize(
    ("machine", "code"),
    [({"library": False}, "nvml_missing"), ({"broken": "Driver/library version mismatch"}, "nvml_failed")],
)
@pytest.mark.fault(29)
def test_a_gpu_without_nvml_runs_and_says_what_is_not_known(
    gpu_machine: Machine, machine: dict[str, object], code: str
) -> None:
    gpu_machine(Card(), **machine)
    assert gpus.why_not("cuda", 1) is None
    found = gpus.gpu_for("cuda")
    assert isinstance(found, NoNvml)
    assert found.code == code
    (said,) = gpus.cautions(["cuda", "cpu"])
    assert said.startswith("GPU cuda: its neighbours, throttling, energy and memory by process")
    assert found.reason in said


def test_a_slice_is_known_by_its_share(gpu_machine: Machine, monkeypatch: Patch) -> None:
    """Of processors or of memory, whichever is more."""
    small, deep = h100_slice(), h100_slice("1g.20gb", "MIG-cccc-1", 20 * GIB)
    gpu_machine(Card(slices=[small, deep]), Card("GPU-dd-1"))
    assert names() == ["MIG-bbbb-1", "GPU-dd-1"]  # CUDA shows the first slice of a board
    first = gpus.gpu_for("cuda")
    assert isinstance(first, Gpu)
    assert (first.profile, first.share) == ("1g.10gb", pytest.approx(1 / 7))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-cccc-1")
    other = gpus.gpu_for("cuda")
    assert isinstance(other, Gpu)
    assert (other.profile, other.share, other.memory_bytes) == ("1g.20gb", 0.25, 20 * GIB)
    (said,) = gpus.cautions(["cuda"])
    assert "priced as 25% of the card" in said


@pytest.mark.parametrize(
    ("uuid", "profile", "share"),
    [("aaaa-1", "", 1.0), ("bbbb-1", "1g.10gb", pytest.approx(1 / 7)), ("nobody", None, None)],
)
def test_torch_s_uuid_finds_the_card(
    gpu_machine: Machine, uuid: str, profile: str | None, share: float | None
) -> None:
    gpu_machine(Card(), Card("GPU-zz-1", slices=[h100_slice()]))
    found = nvml.gpu_of(uuid)
    assert isinstance(found, NoNvml) == (profile is None)
    if isinstance(found, Gpu):
        assert (found.profile, found.share) == (profile, share)


def test_a_sliced_board_that_torch_names_is_a_slice_of_unknown_size(gpu_machine: Machine) -> None:
    gpu_machine(Card(slices=[h100_slice()]))
    found = nvml.gpu_of("aaaa-1")
    assert isinstance(found, Gpu)
    assert found.profile == "?"
