"""Define the facts of a model card: counts, the sizes of its weights and KV cache, what its makers state."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(gt=0, lt=2**50)]
Bytes = Annotated[int, Field(ge=0, lt=2**50)]
Stated = Annotated[str, Field(pattern=r"^[1-9][0-9]*(\.[0-9]+)?[MBT]$|^0\.[0-9]+[BT]$")]
Precision = Literal["float32", "bfloat16", "float8 e4m3 blocks", "mxfp4"]
CACHE_BYTES = 2  # of one value in `kv_bytes_per_token` and `kv_window_bytes`


class Record(BaseModel):
    """A part of a model file: frozen, strict, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Architecture(Record):
    """What the estimates of time and memory need: counts, not bytes; ``context`` is in tokens.

    The optional keys are for models that are not plain. Without ``active_parameters`` every parameter is used
    for every token; without ``kv_bytes_per_token`` each layer caches a key and a value for each KV head.
    Without ``value_head_dim`` a value is as long as a key.
    """

    parameters: Count
    active_parameters: Count | None = None
    layers: Count
    hidden_size: Count
    attention_heads: Count
    kv_heads: Count
    head_dim: Count
    value_head_dim: Count | None = None
    intermediate_size: Count
    vocabulary: Count
    context: Count
    tied_embeddings: bool
    experts: Count | None = None
    experts_per_token: Count | None = None
    sliding_window: Count | None = None
    kv_bytes_per_token: Bytes | None = None
    kv_window_bytes: Bytes = 0

    @property
    def active(self) -> int:
        """Return the number of parameters that are used for one token."""
        return self.active_parameters or self.parameters

    @property
    def token_bytes(self) -> int:
        """Return the bytes that one more token adds to the KV cache at 16 bits, once all windows are full."""
        if self.kv_bytes_per_token is not None:
            return self.kv_bytes_per_token
        return 2 * self.layers * self.kv_heads * self.head_dim * CACHE_BYTES

    def weights_bytes(self, bits: int) -> int:
        """Return the size of all parameters at ``bits`` for each."""
        return self.parameters * bits // 8

    def cache_bytes(self, tokens: int, item_bytes: int = CACHE_BYTES) -> int:
        """Return the size of the KV cache of one sequence, for values of ``item_bytes``.

        A layer with a sliding window keeps at most the tokens of its window.
        """
        window = self.sliding_window or 1
        windows = self.kv_window_bytes * min(tokens, window) // window
        return (self.token_bytes * tokens + windows) * item_bytes // CACHE_BYTES


class Published(Record):
    """The sizes as the makers state them, with their rounding; ``note`` says what they count differently."""

    parameters: Stated
    active_parameters: Stated | None = None
    note: str | None = None


class Reasoning(Record):
    """The texts between which a model writes what it thinks before its answer."""

    start: Annotated[str, Field(min_length=1)]
    end: Annotated[str, Field(min_length=1)]
