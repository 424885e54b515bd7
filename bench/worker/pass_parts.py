"""Measure the parts of a pass on a CPU: products by their rows, attention, routing to experts, narrow models.

The estimates of `bench.plan` add them up. All of it is the best of five runs, in the dtype of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from bench.records.json_form import Json

Clock = Callable[[], int]
Synchronise = Callable[[], None]

REPEATS = 5
BLOCK_BYTES = 1 << 28  # far larger than the caches, which may serve a part of less
WIDTHS, ROWS = (128, 256, 512, 1024, 2048), (1, 2, 4, 8, 16, 32, 64, 128, 512)
LEAST_BYTES, LEAST_OF_MANY = 1 << 26, 1 << 24  # for many rows, which take longer, and for very many
MANY_ROWS = 128
MOST_MATRICES = 2048
OUTPUTS, HEAD_WIDTHS, HEAD_ROWS = 16_384, (128, 512, 2048), (1, 2, 4, 8, 32, 128)
HEADS, KV_HEADS, HEAD_DIM = 8, 2, 64
LATENT_KEY, LATENT_VALUE = 192, 128  # of a head with latent attention, as in DeepSeek-V3
ATTENDED = (32, 128, 512, 2048)
ROUTED_TOKENS, CHOSEN, HIDDEN = 128, 8, 512
CONTEXT, STEPS = 128, 20


def measure(dtype: str, narrow: Mapping[str, Json], clock_ns: Clock) -> Json:
    """Return all parts by the names that `bench.plan.ceilings.Measured` gives them.

    ``narrow`` has the configs of narrow models of each kind of layer, whose steps are mostly overhead.
    """
    import torch

    with torch.inference_mode():
        return {
            "products": products(dtype, clock_ns),
            "heads": heads(dtype, clock_ns),
            "attention": attention(dtype, clock_ns),
            "routed_value_s": routed_value_s(dtype, clock_ns),
            "steps_s": {kind: step_s(config, dtype, clock_ns) for kind, config in narrow.items()},
        }


def products(dtype: str, clock_ns: Clock) -> Json:
    """Return the seconds for each weight of a product, by the width of a square matrix and by the rows that
    are multiplied with it: ``widths``, ``rows``, and ``seconds`` with a list for each width.

    The products take turns over matrices that are larger than the caches together, as the layers of a model
    are.
    """
    return _by_rows(WIDTHS, ROWS, lambda width: (width, width), dtype, clock_ns)


def heads(dtype: str, clock_ns: Clock) -> Json:
    """Return the same for output layers, by their inputs: with few inputs and many outputs a weight takes
    longer than in a square matrix of as many weights."""
    return _by_rows(HEAD_WIDTHS, HEAD_ROWS, lambda width: (OUTPUTS, width), dtype, clock_ns)


def _by_rows(
    widths: Sequence[int],
    rows: Sequence[int],
    shape: Callable[[int], tuple[int, int]],
    dtype: str,
    clock_ns: Clock,
) -> Json:
    import torch
    from torch.nn.functional import linear

    def one(matrices: list[torch.Tensor], count: int) -> float:
        left = torch.randn(count, matrices[0].shape[1]).to(matrices[0].dtype)
        least = LEAST_BYTES if count <= MANY_ROWS else LEAST_OF_MANY
        few = matrices[: max(len(matrices) // count, least // matrices[0].nbytes, 1)]
        spent_s = best(clock_ns, lambda: [linear(left, matrix) for matrix in few])
        return spent_s / len(few) / float(few[0].numel())

    seconds = []
    for width in widths:
        first = torch.randn(*shape(width)).to(getattr(torch, dtype))
        matrices = [first.clone() for _ in range(max(min(BLOCK_BYTES // first.nbytes, MOST_MATRICES), 1))]
        seconds.append([one(matrices, count) for count in rows])
    return {"widths": list(widths), "rows": list(rows), "seconds": seconds}


def attention(dtype: str, clock_ns: Clock) -> Json:
    """Return the FLOP per second of attention by the number of ``tokens``: of a prompt, where half of the
    pairs count, and of a step after so many tokens; with keys longer than values also (``latent``)."""
    found: dict[str, list[float]] = {"prompt": [], "step": [], "latent_prompt": [], "latent_step": []}
    for tokens in ATTENDED:
        for kind, kv_heads, key, value in (
            ("", KV_HEADS, HEAD_DIM, HEAD_DIM),
            ("latent_", HEADS, LATENT_KEY, LATENT_VALUE),
        ):
            attend = partial(_attention_s, dtype, clock_ns, kv_heads=kv_heads, key=key, value=value)
            each = 2.0 * HEADS * (key + value)  # FLOP of a pair
            found[f"{kind}prompt"].append(each * tokens**2 / 2 / attend(tokens, tokens))
            found[f"{kind}step"].append(each * tokens / attend(1, tokens))
    return {"tokens": list(ATTENDED), **found}


def _attention_s(
    dtype: str, clock_ns: Clock, queries: int, tokens: int, *, kv_heads: int, key: int, value: int
) -> float:
    """Return the seconds of one call of torch's attention, as transformers calls it."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    of = getattr(torch, dtype)
    query = torch.randn(1, HEADS, queries, key).to(of)
    keys, values = (torch.randn(1, kv_heads, tokens, size).to(of) for size in (key, value))
    grouped = kv_heads != HEADS
    calls = max(ATTENDED[-1] // tokens // queries, 1)

    def work() -> None:
        for _ in range(calls):
            scaled_dot_product_attention(query, keys, values, is_causal=queries > 1, enable_gqa=grouped)

    return best(clock_ns, work) / calls


def routed_value_s(dtype: str, clock_ns: Clock) -> float:
    """Return the seconds of one value that is sorted by experts, masked, weighted, and added where it was.

    The operations are those of transformers around the products of all experts at once.
    """
    import torch

    of = getattr(torch, dtype)
    hidden = torch.randn(ROUTED_TOKENS, HIDDEN).to(of)
    order = torch.randperm(ROUTED_TOKENS * CHOSEN)
    back = torch.argsort(order)
    weights = torch.rand(len(order), 1).to(of)
    none = torch.zeros(len(order), 1, dtype=torch.bool)

    def work() -> None:
        chosen = hidden[order // CHOSEN]
        chosen.masked_fill_(none, 0.0)
        given = chosen.masked_fill(none, 0.0) * weights
        given[back].view(ROUTED_TOKENS, CHOSEN, HIDDEN).sum(dim=1)

    return best(clock_ns, work) / (len(order) * HIDDEN)


def step_s(config: Json, dtype: str, clock_ns: Clock) -> float:
    """Return the seconds of a decoding step after 128 tokens, of a model with random weights."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    values: dict[str, Any] = dict(config)
    made = transformers.AutoConfig.for_model(str(values.pop("model_type")), **values)
    model = transformers.AutoModelForCausalLM.from_config(made, dtype=getattr(torch, dtype)).eval()
    prompt = torch.zeros(1, CONTEXT, dtype=torch.long)
    cache = model(input_ids=prompt, use_cache=True).past_key_values
    token = torch.zeros(1, 1, dtype=torch.long)
    return best(clock_ns, lambda: model(input_ids=token, past_key_values=cache, use_cache=True), STEPS)


def best(
    clock_ns: Clock,
    work: Callable[[], Any],
    repeats: int = REPEATS,
    synchronise: Synchronise = lambda: None,
) -> float:
    """Return the shortest of some runs in seconds, after one uncounted; ``synchronise`` waits for a GPU."""
    work()
    synchronise()
    shortest = float("inf")
    for _ in range(repeats):
        start = clock_ns()
        work()
        synchronise()
        shortest = min(shortest, (clock_ns() - start) / 1e9)
    return shortest
