"""The census counts what is there: each storage once, packed weights as packed, zeros as zeros."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from bitsandbytes.functional import has_avx512bf16

from bench.engine import Options, census
from bench.engine.evidence import replaced
from bench.errors import Unsupported
from bench.models.fetch import ensure
from bench.models.reference import Named, Random
from bench.optimisations.quantise import bnb_fp4, bnb_int8, bnb_nf4, torch_int8_dynamic
from bench.runtimes import transformers as runtime

# tiny-llama: 2 layers of q 64x64, k and v 32x64, o 64x64, gate and up 128x64, down 64x128
MATRICES = [64 * 64, 32 * 64, 32 * 64, 64 * 64, 128 * 64, 128 * 64, 64 * 128] * 2
LINEAR = sum(MATRICES)
VOCABULARY = 512 * 64
NORMS = 5 * 64
ROPE = 2 * 8 * 4  # inv_freq and original_inv_freq, head_dim/2 float32 each
PACKED = ("bnb_nf4", "bnb_int8", "hqq", "quanto_int4", "torch_int8_dynamic", "torchao_int8")
ALL = (LINEAR + 2 * VOCABULARY + NORMS) * 4 + ROPE


class Small(torch.nn.Module):  # type: ignore[misc]
    """A model of whatever modules it is given."""

    def __init__(self, head: torch.nn.Module | None = None, **modules: torch.nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.head = head

    def get_output_embeddings(self) -> torch.nn.Module | None:
        return self.head


def tiny(dtype: str = "float32") -> Any:
    return runtime.load(ensure(Random("tiny-llama")).directory, Options(dtype=dtype, random=True)).model


def test_a_plain_model_to_the_byte() -> None:
    found = census.take(tiny())
    assert found.weights_bytes == ALL
    assert found.bytes_by_dtype == {"float32": ALL}
    assert sorted(m.elements for m in found.matrices) == sorted([*MATRICES, VOCABULARY])
    assert [m.name for m in found.matrices if m.is_head] == ["lm_head"]
    assert {m.module for m in found.matrices} == {"Linear"}
    assert all(m.stored_bytes == m.elements * 4 for m in found.matrices)


def test_half_precision_is_half_the_bytes() -> None:
    found = census.take(tiny("bfloat16"))
    assert found.bytes_by_dtype == {"bfloat16": (LINEAR + 2 * VOCABULARY + NORMS) * 2, "float32": ROPE}


def test_tied_weights_are_counted_once() -> None:
    embedding = torch.nn.Embedding(100, 8)
    head = torch.nn.Linear(8, 100, bias=False)
    head.weight = embedding.weight
    found = census.take(Small(head, embedding=embedding))
    assert found.weights_bytes == 100 * 8 * 4
    assert [m.is_head for m in found.matrices] == [True]


def test_a_real_tied_model() -> None:
    """SmolLM2: 134 515 008 parameters, the head tied to the embedding, and 2 · 32 rotary frequencies."""
    model = runtime.load(ensure(Named("smollm2-135m")).directory, Options(dtype="bfloat16")).model
    found = census.take(model, count_zeros=False)
    assert found.bytes_by_dtype == {"bfloat16": 134_515_008 * 2, "float32": 64 * 4}
    assert len(found.matrices) == 30 * 7 + 1


def test_two_views_of_one_storage_are_the_storage_once() -> None:
    whole = torch.zeros(10, 8)
    left, right = torch.nn.Linear(8, 4, bias=False), torch.nn.Linear(8, 6, bias=False)
    left.weight, right.weight = torch.nn.Parameter(whole[:4]), torch.nn.Parameter(whole[4:])
    assert census.take(Small(left=left, right=right)).weights_bytes == 10 * 8 * 4


def test_zeros_are_counted_matrix_by_matrix() -> None:
    layer = torch.nn.Linear(10, 10, bias=False)
    layer.weight.data.fill_(1.0)
    layer.weight.data.view(-1)[:37] = 0
    assert census.take(Small(layer=layer)).matrices[0].zero_fraction == pytest.approx(0.37)
    assert census.take(Small(layer=layer), count_zeros=False).matrices[0].zero_fraction is None


def test_negative_zero_is_zero() -> None:
    layer = torch.nn.Linear(2, 2, bias=False)
    layer.weight.data[:] = torch.tensor([[0.0, -0.0], [1.0, 2.0]])
    assert census.take(Small(layer=layer)).matrices[0].zero_fraction == 0.5


def test_buffers_biases_and_norms_are_weights_too() -> None:
    layer = torch.nn.Linear(4, 3)
    layer.register_buffer("scale", torch.ones(5, dtype=torch.float16))
    layer.register_buffer("absent", None)
    found = census.take(Small(layer=layer, norm=torch.nn.LayerNorm(4)))
    assert found.bytes_by_dtype == {"float32": (12 + 3 + 4 + 4) * 4, "float16": 10}
    assert [m.name for m in found.matrices] == ["layer"]


def test_embeddings_and_norms_are_no_matrices() -> None:
    found = census.take(Small(embedding=torch.nn.Embedding(9, 3), norm=torch.nn.LayerNorm(3)))
    assert found.matrices == ()
    assert found.weights_bytes == (27 + 6) * 4


def test_a_tensor_hung_on_a_module_or_on_a_weight_counts() -> None:
    class State:
        def __init__(self) -> None:
            self.absmax = torch.zeros(7)

    layer = torch.nn.Linear(4, 4, bias=False)
    layer.scales = torch.zeros(6)
    layer.state = State()
    layer.weight.more = State()
    assert census.take(Small(layer=layer)).weights_bytes == (16 + 6 + 7 + 7) * 4


REST = (2 * VOCABULARY + NORMS) * 4 + ROPE


def test_bnb_int8_by_hand() -> None:
    """One byte a weight, one float32 scale a row; the rest stays as it was."""
    found = census.take(bnb_int8.apply(tiny(), bnb_int8.Params()))
    rows = 2 * (64 + 32 + 32 + 64 + 128 + 128 + 64)
    assert found.bytes_by_dtype == {"int8": LINEAR, "float32": REST + rows * 4}
    first = found.of("Linear8bitLt")[0]
    assert (first.dtype, first.elements, first.stored_bytes) == ("int8", 64 * 64, 64 * 64 + 64 * 4)


def test_bnb_int8_logs_nothing_in_a_step(caplog: pytest.LogCaptureFixture) -> None:
    """Its products log a warning each where their inputs are not float16."""
    model = bnb_int8.apply(tiny("bfloat16"), bnb_int8.Params()).eval()
    model(input_ids=torch.tensor([[1, 2, 3]]))
    assert caplog.records == []


# A CPU with AVX-512 bf16 has a kernel of its own, which keeps the scales in bfloat16.
SCALE_BYTES = 2 if has_avx512bf16() else 4


@pytest.mark.parametrize("scheme", [bnb_nf4, bnb_fp4])
def test_bnb_four_bit_by_hand(scheme: Any) -> None:
    """Half a byte a weight, one scale for 64 weights, one table of 16 float32 a matrix."""
    found = census.take(scheme.apply(tiny(), scheme.Params()))
    scales, tables = LINEAR // 64 * SCALE_BYTES, 14 * 16 * 4
    in_float32 = REST + tables + (scales if SCALE_BYTES == 4 else 0)
    in_bfloat16 = {"bfloat16": scales} if SCALE_BYTES == 2 else {}
    assert found.bytes_by_dtype == {"uint8": LINEAR // 2, "float32": in_float32, **in_bfloat16}
    first = found.of("Linear4bit")[0]
    assert (first.dtype, first.stored_bytes) == ("uint8", 64 * 64 // 2 + 64 * SCALE_BYTES + 16 * 4)
    assert first.zero_fraction is None


@pytest.mark.skipif(has_avx512bf16(), reason="this CPU's kernel undoes the quantisation of the scales")
def test_bnb_double_quantised_by_hand() -> None:
    """The scales become one byte each, with a float32 for 256 of them, a table of 256 and an offset."""
    plain = census.take(bnb_nf4.apply(tiny(), bnb_nf4.Params()))
    double = census.take(bnb_nf4.apply(tiny(), bnb_nf4.Params(double_quant=True)))
    saved = plain.weights_bytes - double.weights_bytes
    extra = 14 * (4 + 256 * 4 + 4)  # at most, where nothing is shared between matrices
    assert LINEAR // 64 * 3 - extra <= saved < LINEAR // 64 * 3


@pytest.mark.skipif(not has_avx512bf16(), reason="for CPUs with AVX-512 bf16")
@pytest.mark.parametrize("params", [{"double_quant": True}, {"block_size": 128}])
def test_bnb_refuses_what_the_kernel_of_this_cpu_cannot_do(params: Any) -> None:
    with pytest.raises(Unsupported, match="kernel for this CPU"):
        bnb_nf4.apply(tiny(), bnb_nf4.Params(**params))


def test_torch_dynamic_int8_by_hand() -> None:
    """One byte a weight, the head's copy included; one scale a matrix stands inside the packed object."""
    found = census.take(torch_int8_dynamic.apply(tiny(), torch_int8_dynamic.Params()))
    assert found.bytes_by_dtype == {
        "qint8": LINEAR + VOCABULARY,
        "float32": (VOCABULARY + NORMS) * 4 + ROPE,
    }
    assert sum(m.is_head for m in found.of("DynamicQuantizedLinear")) == 1


def test_torch_dynamic_int8_keeps_its_bias_in_the_packed_object() -> None:
    model = torch_int8_dynamic.apply(Small(layer=torch.nn.Linear(8, 4)), torch_int8_dynamic.Params())
    assert census.take(model).bytes_by_dtype == {"qint8": 32, "float32": 16}


def test_the_census_changes_nothing() -> None:
    model = tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert census.take(model) == census.take(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("scheme", PACKED)
def test_packed_weights_are_as_many_parameters_as_before(scheme: str) -> None:
    """Of every way to pack: two weights in a byte, in a buffer, in a tensor's subclass, behind a method."""
    packs = importlib.import_module(f"bench.optimisations.quantise.{scheme}")
    model = tiny()
    assert census.parameters(model) == LINEAR + 2 * VOCABULARY + NORMS
    assert census.parameters(packs.apply(model, packs.Params())) == LINEAR + 2 * VOCABULARY + NORMS


def test_weights_are_counted_as_before_packing_whatever_holds_them() -> None:
    """The share that is packed counts weights, and not what holds them: integers of eight weights each, and
    stacks of experts in eight bits beside their scales."""

    class Integers(torch.nn.Module):  # type: ignore[misc]
        in_features, out_features = 64, 16

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("qweight", torch.zeros(8, 16, dtype=torch.int32))

    class Experts(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            stack = torch.zeros(4, 8, 8).to(torch.float8_e4m3fn)
            self.up_proj = torch.nn.Parameter(stack, requires_grad=False)
            self.up_proj_scale_inv = torch.nn.Parameter(torch.ones(4, 1, 1))
            self.down_proj = torch.nn.Parameter(torch.zeros(4, 8, 8))

    found = census.take(Small(layer=Integers(), experts=Experts(), dense=torch.nn.Linear(4, 2)))
    assert [(m.dtype, m.weights) for m in found.matrices] == [("int32", 64 * 16), ("float32", 8)]
    assert (found.packed_others, found.others) == (256, 256)


def test_packed_weights_are_not_unpacked_to_count_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only whether there is a bias is not seen from outside: each layer was unpacked twice."""
    unpacked: list[object] = []
    kind = torch.ao.nn.quantized.dynamic.Linear
    both = kind._weight_bias
    monkeypatch.setattr(kind, "_weight_bias", lambda layer: [unpacked.append(layer), both(layer)][1])
    assert census.parameters(Small(one=kind(8, 4), two=kind(8, 4, bias_=False))) == 32 + 4 + 32
    assert len(unpacked) == 2


def test_a_tied_head_is_one_matrix_of_parameters_and_a_packed_bias_counts() -> None:
    embedding, head = torch.nn.Embedding(100, 8), torch.nn.Linear(8, 100)
    head.weight = embedding.weight
    packed = torch.ao.nn.quantized.dynamic.Linear(8, 4)
    assert census.parameters(Small(head, embedding=embedding, packed=packed)) == 800 + 100 + 8 * 4 + 4


class OfHers(torch.nn.Module):  # type: ignore[misc]
    """A linear layer of somebody else: codes of its own name and shape, with the sizes that torch's has."""

    def __init__(self, codes: torch.Tensor | None, out_features: int = 6, in_features: int = 8) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.register_buffer("scale", torch.ones(6, 2, dtype=torch.float16))
        self.register_buffer("codes", codes)
        self.bias = torch.nn.Parameter(torch.ones(6))


@pytest.mark.parametrize(
    "codes",
    [torch.zeros(6, 2, 4, dtype=torch.uint8), torch.zeros(48, dtype=torch.uint8), torch.zeros(6, 8)],
    ids=["groups", "flat", "matrix"],
)
def test_a_layer_that_says_its_sizes_is_found_whatever_its_codes_are_called(codes: torch.Tensor) -> None:
    model = Small(layer=OfHers(codes))
    (found,) = census.take(model).matrices
    assert (found.module, found.shape, found.weights) == ("OfHers", (6, 8), 48)
    assert found.dtype == str(codes.dtype).removeprefix("torch.")
    assert found.stored_bytes == codes.nbytes + 6 * 2 * 2 + 6 * 4
    assert census.parameters(model) == 48 + 6


def test_a_claim_of_a_class_that_holds_nothing_says_what_does() -> None:
    before = census.take(Small(layer=torch.nn.Linear(8, 6)))
    after = census.take(Small(layer=OfHers(torch.zeros(48, dtype=torch.uint8))))
    assert all(one.holds for one in replaced(before, after, "OfHers", "uint8"))
    assert replaced(before, before, "OfHers", "uint8")[0].found == "0 (weights are in Linear)"
    assert replaced(before, census.take(Small()), "OfHers")[0].found == "0 (no layer has a weight matrix)"


def test_a_bias_or_a_scale_is_no_weight() -> None:
    wrapper = OfHers(None, out_features=60, in_features=80)
    assert not census.take(Small(wrapper=wrapper)).matrices
