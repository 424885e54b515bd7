"""A model in two processes computes what it does in one, and moves the bytes that its shapes give."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from byte_tokenizer import write_tokenizer
from engines import decoded, saved, sizes, toys

from bench.engine import Changed, Options
from bench.engine.cloud import Cloud
from bench.engine.split_socket import Codec
from bench.engine.splitting import Prices
from bench.errors import Unsupported, VariantFailed
from bench.link import NO_DELAY, Link, LinkDown, LinkSettings, Outage
from bench.machine.proc import stat_of
from bench.optimisations.shared import halves
from bench.optimisations.split import layers
from bench.runtimes import transformers as runtime

ROOT = Path(__file__).resolve().parents[2]
LAYERS, SIZE, TOKENS = 4, 64, 8
PROMPTS = [[5, 6, 7, 8, 9, 10], [11, 12, 13]]
TEXT = [(37 * place) % 500 for place in range(48)]


def engine(path: Path) -> Any:
    return runtime.load(path, Options(device="cpu", threads=1))


def split(path: Path, edge_layers: int, cloud: Cloud) -> Any:
    """The model in two processes, one of which runs already: starting it takes seconds."""
    found = engine(path)
    rest = halves.open_rest(found.model, edge_layers, "as-they-are", NO_DELAY, Prices(), cloud)
    found.change(Changed(halves.edge_of(found.model, edge_layers), rest=rest))
    return found


@pytest.fixture(scope="module")
def cloud(warm_cloud: None) -> Iterator[Cloud]:
    found = Cloud()
    yield found
    found.close()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = {**sizes(96), "num_hidden_layers": LAYERS}
    path = saved(transformers.LlamaConfig(**shape, tie_word_embeddings=True), tmp_path_factory.mktemp("m"))
    write_tokenizer(path)
    return path


@pytest.fixture
def halved(llama: Path, cloud: Cloud) -> Any:
    return split(llama, 2, cloud)


def kl(whole: torch.Tensor, other: torch.Tensor) -> float:
    p, q = whole.double().log_softmax(-1), other.double().log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


@pytest.mark.parametrize("k", range(LAYERS))
def test_the_halves_compute_what_the_whole_does(k: int, llama: Path, cloud: Cloud) -> None:
    whole, found = engine(llama), split(llama, k, cloud)
    assert abs(kl(whole.logits(TEXT), found.logits(TEXT))) < 1e-6
    for prompts in ([PROMPTS[0]], PROMPTS):  # one sequence, and a batch with padding
        assert decoded(found, prompts, TOKENS) == decoded(whole, prompts, TOKENS)
    assert len(found.model.model.layers) == k
    _both_hold_their_own_part(whole, found, k)


def _both_hold_their_own_part(whole: Any, found: Any, k: int) -> None:
    """A tied head is in the cloud, and the same numbers are the edge's embedding."""
    embedding = whole.model.get_input_embeddings().weight.numel()
    twice = embedding if k else SIZE  # with no layer at the edge only its norm is left there
    assert found.parameters() == whole.parameters() + twice
    assert found.census().weights_bytes == pytest.approx(whole.census().weights_bytes + 4 * twice, rel=0.01)
    generations = [one.prefill([PROMPTS[0]], 2) for one in (whole, found)]
    assert found.cache_bytes(generations[1]) == whole.cache_bytes(generations[0])


@pytest.mark.parametrize("k", range(LAYERS))
def test_the_bytes_are_those_of_the_shapes(k: int, llama: Path, cloud: Cloud) -> None:
    """By hand: a header of 16 bytes, 4 for the padding of a prompt, 4 · 64 for a position or 4 for an id.
    Back come 16, the time in 8 and the token in 4."""
    found = split(llama, k, cloud)
    decoded(found, [PROMPTS[0]], TOKENS)
    work = found.split_work()
    position = 4 if k == 0 else 4 * SIZE
    assert (work.edge_layers, work.cloud_layers) == (k, LAYERS - k)
    assert work.prefill.sent_bytes == 16 + 4 + 6 * position
    assert work.decode.sent_bytes == (TOKENS - 1) * (16 + position)
    assert work.prefill.received_bytes == 28
    assert work.decode.received_bytes == (TOKENS - 1) * 28
    assert (work.prefill.passes, work.decode.passes, work.decode.positions) == (1, TOKENS - 1, TOKENS - 1)
    assert work.processes[0] == os.getpid() != work.processes[1]


@pytest.mark.parametrize("kind", sorted(toys(96, 8)))
def test_every_architecture_is_split_in_the_middle(kind: str, tmp_path: Path, cloud: Cloud) -> None:
    path = saved(toys(96, 8)[kind](), tmp_path)
    write_tokenizer(path)
    whole, found = engine(path), split(path, 1, cloud)
    assert abs(kl(whole.logits(TEXT), found.logits(TEXT))) < 1e-6
    assert decoded(found, [TEXT[:20]], TOKENS) == decoded(whole, [TEXT[:20]], TOKENS)
    checks, _held = found.as_decoded()
    assert all(one.holds for one in checks)


@pytest.mark.parametrize(("codec", "most"), [("int8", 1e-2), ("float8", 1e-1)])
def test_rounded_activations_take_a_byte_and_drift(
    halved: Any, llama: Path, codec: Codec, most: float
) -> None:
    halved._rest.codec = codec
    assert 1e-9 < kl(engine(llama).logits(TEXT), halved.logits(TEXT)) < most
    decoded(halved, [PROMPTS[0]], 2)
    assert halved.split_work().decode.sent_bytes == 16 + SIZE + 4


# ---- the link ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        LinkSettings(round_trip_ms=30),
        LinkSettings(round_trip_ms=20, megabits_per_s=10),
        LinkSettings(megabits_per_s=0.1),
        LinkSettings(round_trip_ms=25, up_megabits_per_s=1, down_megabits_per_s=20),
        LinkSettings(round_trip_ms=40, jitter_ms=10, megabits_per_s=5),
    ],
    ids=str,
)
def test_a_token_takes_what_both_sides_and_the_link_take(settings: LinkSettings, halved: Any) -> None:
    """The time at the clock is that of the layers and the link, within 10 %, in the calmest of many steps:
    other programs may take the processors in between."""
    halved._rest.link = Link(settings)
    both_s = settings.one_way_s(16 + 4 * SIZE, "up") + settings.one_way_s(28, "down")
    generation = halved.prefill([PROMPTS[0]], 200)
    halved.split_work()
    shares = [2.0]
    while shares[-1] > 1.1 and len(shares) < 200:
        started = time.monotonic()
        halved.step(generation)
        took_s, work = time.monotonic() - started, halved.split_work()
        step = work.decode
        assert step.link_asked_s == pytest.approx(both_s, abs=settings.jitter_ms / 500)
        assert step.link_asked_s <= step.link_s <= step.total_s <= took_s
        shares.append(took_s / (step.edge_s + step.cloud_s + step.link_asked_s))
    assert 1 <= shares[-1] < 1.1


def test_a_link_that_is_down_ends_the_row_with_words(halved: Any) -> None:
    halved._rest.link = Link(LinkSettings(outage=Outage()))
    with pytest.raises(LinkDown, match="the link is down") as down:
        halved.prefill([PROMPTS[0]], 2)
    assert isinstance(down.value, VariantFailed)


def test_an_earlier_batch_is_refused(halved: Any) -> None:
    first = halved.prefill([PROMPTS[0]], 4)
    halved.prefill([PROMPTS[1]], 4)
    with pytest.raises(Unsupported, match="one batch at a time"):
        halved.step(first)


def test_halves_that_compute_something_else_are_refused(halved: Any, llama: Path) -> None:
    whole = engine(llama)
    halves.must_compute_the_same(whole.model, halved.model, halved._rest)
    edge = halves.edge_of(whole.model, 1)  # the second layer is on neither side
    with pytest.raises(Unsupported, match="nats from the whole"):
        halves.must_compute_the_same(whole.model, edge, halved._rest)


# ---- the other process -------------------------------------------------------------------------------


def gone(pid: int) -> bool:
    return not stat_of(pid) or stat_of(pid)[0] == "Z"


def test_a_cloud_that_dies_is_said(llama: Path, warm_cloud: None) -> None:
    found = engine(llama)
    found.change(layers.apply(found.model, layers.Params()))
    os.kill(found._rest.cloud.pid, signal.SIGKILL)
    with pytest.raises(VariantFailed, match=r"the cloud process is gone \(.*exit code -9"):
        found.prefill([PROMPTS[0]], 2)


def test_a_cloud_that_fails_says_why_and_ends_with_the_engine(llama: Path, warm_cloud: None) -> None:
    found = split(llama, 2, Cloud())
    pid = found._rest.cloud.pid
    assert not gone(pid)
    wrong = torch.zeros(1, 3, SIZE + 1)  # of another size than the model's
    with pytest.raises(VariantFailed, match="the cloud process: RuntimeError: shape"):
        found._rest.choose(wrong, [0], 0)
    del found
    gc.collect()
    assert gone(pid)


def test_the_cloud_ends_with_a_worker_that_is_killed() -> None:
    """Nothing in a killed process runs: the kernel ends the other one."""
    script = textwrap.dedent(
        """
        import time
        from bench.engine.cloud import Cloud
        cloud = Cloud()
        print(cloud.pid, flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        while b"cloud" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            time.sleep(0.01)
        time.sleep(0.5)
        assert not gone(pid)
        worker.kill()
    until = time.monotonic() + 20
    while not gone(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert gone(pid)


# ---- settings ----------------------------------------------------------------------------------------


def test_layers_that_are_not_there_are_refused() -> None:
    said = layers.refuse(layers.Params(edge_layers=4), {"layers": 4})
    assert said == "edge_layers 4: the model has 4; the nearest is 3"
    assert layers.refuse(layers.Params(edge_layers=3), {"layers": 4}) is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"edge_layers": -1}, "edge_layers must be 0 or more"),
        ({"edge_layers": 0, "activations": "int8"}, "token ids are sent then"),
        ({"cloud_usd_per_hour": -1}, "cloud_usd_per_hour must be"),
        ({"cloud_usd_per_hour": 1}, "go together"),
        ({"egress_usd_per_gb": 1}, "go together"),
        ({"link": {"loss": 2}}, "loss must be"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        layers.Params(**wrong)
