"""Shorten the names of kernels: ``cutlass s8 gemm`` stands for four hundred characters of C++.

The full name stays in ``run.json`` and in the report's tooltip. A library is recognised by patterns in the
kernel's name, mangled or not. If no pattern matches, the name is shortened to its last identifier.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

LONGEST = 40
MOST_LETTERS = 1000  # characters that are searched: some patterns need time quadratic in the length
_OPERATOR = re.compile(r"[a-z_0-9]+::[A-Za-z_0-9.]+$")  # torch operators, such as ``aten::mm``
# The names of types in CUDA's libraries, in kernel names and in template arguments.
_TYPES = {
    "bf16": "bf16", "bfloat16": "bf16", "bfloat16_t": "bf16", "__nv_bfloat16": "bf16", "f16": "f16",
    "fp16": "f16", "half": "f16", "half_t": "f16", "__half": "f16", "f32": "f32", "float": "f32",
    "tf32": "tf32", "tf32f32": "tf32", "tfloat32_t": "tf32", "s8": "s8", "i8": "s8", "int8_t": "s8",
    "signed char": "s8",
    "e4m3": "fp8", "float_e4m3_t": "fp8", "__nv_fp8_e4m3": "fp8", "e5m2": "fp8", "float_e5m2_t": "fp8",
    "u4": "4bit", "s4": "4bit", "float_e2m1_t": "fp4", "e2m1": "fp4",
}  # fmt: skip
_NVJET = {"tst": "bf16", "hsh": "f16", "sss": "f32", "qqtst": "fp8", "qqhsh": "fp8"}
_GGML = {
    "2": "q4_0", "3": "q4_1", "6": "q5_0", "7": "q5_1", "8": "q8_0", "10": "q2_k", "11": "q3_k", "12": "q4_k",
    "13": "q5_k", "14": "q6_k",
}  # fmt: skip


@cache
def short(name: str) -> str:
    """Return the short name of a kernel or operator."""
    name = name[:MOST_LETTERS]
    if _OPERATOR.match(name):
        return name
    for pattern, words in _RULES:
        if match := pattern.search(name):
            said = words if isinstance(words, str) else words(name, match)
            return _bounded(said)
    return _bounded(_last_identifier(name))


def _bounded(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"


def _last_identifier(name: str) -> str:
    """Return ``bar`` for ``void foo::bar<int>(float*)``; a mangled name is returned unchanged."""
    bare = re.sub(r"\(anonymous namespace\)::", "", name).removeprefix("void ")
    bare = re.split(r"[<(]", bare, maxsplit=1)[0].strip()
    return bare.rpartition("::")[2] or name


def _type_in(text: str, *, otherwise: str = "") -> str:
    """Return the first type that a template or a name mentions."""
    known = "|".join(sorted(map(re.escape, _TYPES), key=len, reverse=True))
    match = re.search(rf"(?<![A-Za-z0-9])({known})(?![A-Za-z0-9])", text.replace("_tn_", " "))
    return _TYPES[match[1]] if match else otherwise


def _sparsity(name: str) -> str:
    """Return `` 2:4`` for a kernel that uses 2:4 sparsity, else an empty string."""
    return " 2:4" if re.search(r"sparse|spgemm|SparseConfig", name, re.IGNORECASE) else ""


def _cutlass(name: str, _match: re.Match[str]) -> str:
    """Name a kernel like ``cutlass_80_tensorop_bf16_s16816gemm_bf16_128x64_tn`` by the type after ``gemm``.

    If there is none, it is a product of float32: on tensor cores (tf32), or without them (sgemm).
    """
    typed = re.search(r"gemm_(?:grouped_|relu_)?([a-z0-9]+?)_", name)
    kind = _TYPES.get(typed[1], "") if typed else ""
    if not kind and re.search(r"tensorop_s\d+(?:sp)?gemm", name):
        kind = "tf32"
    elif not kind and re.search(r"sgemm|simt", name):
        kind = "f32"
    kind = kind or _type_in(name.replace("tensorop", ""))
    return f"cutlass {kind} gemm{_sparsity(name)}"


def _xmma(name: str, match: re.Match[str]) -> str:
    kind = re.match(r"bf16|f16|tf32|f32|i8|e4m3|e5m2", match[1])
    library = "cusparselt" if _sparsity(name) else "cublas"
    return f"xmma {_TYPES[kind[0]] if kind else match[1]} gemm{_sparsity(name)} ({library})"


def _cublas(name: str, match: re.Match[str]) -> str:
    """Name a kernel like ``ampere_bf16_s16816gemm_bf16_64x64`` by its type.

    Without a type, ``sgemm_32x32`` is a product of float32, and ``h16816gemm`` one of float16.
    """
    kind = _TYPES.get((match[1] or "").rstrip("_"))
    return f"cublas {kind or ('f16' if match[2].startswith('h') else 'f32')} gemm"


def _nvjet(_name: str, match: re.Match[str]) -> str:
    return f"cublas {_NVJET.get(match[1], '')} gemm (nvjet)"


def _gemv(name: str, _match: re.Match[str]) -> str:
    return f"gemv {_type_in(name)} (cublas)"


def _triton(_name: str, match: re.Match[str]) -> str:
    """Name a kernel like ``triton_poi_fused_mul_silu_0`` by the operators that were fused.

    A kernel from a template (``tem``) is often a matrix product.
    """
    operators = match[2].strip("_")
    said = re.sub(r"_+", " ", operators)
    if match[1] == "tem":
        is_product = re.search(r"(?:^|_)(?:add|b)?mm(?:_|$)|scaled_mm|int_mm", operators)
        return f"{'gemm ' if is_product else ''}{said} (triton)"
    return f"{said[: LONGEST - 9]} (triton)"


def _functor(name: str, _match: re.Match[str]) -> str:
    """Name an elementwise kernel of torch by its innermost functor, or by the function around its lambda."""
    inner = re.search(r"CUDAFunctor(?:On(?:Self|Other))?_(\w+)", name)
    functors = [functor for functor in re.findall(r"(\w+?)Functor\b", name) if functor not in _GENERIC]
    around = re.search(r"(\w+?)_kernel(?:_cuda|_impl|_impl_cuda)?\(at::", name)
    out = re.search(r"(\w+?)_cuda_out", name)
    if inner:
        said = inner[1]
    elif functors:
        said = functors[-1]
    elif around or out:
        said = (around or out)[1]  # type: ignore[index]
        said = re.sub(r"^(direct|bfloat16|float16|float8)_", "", said)
    else:
        said = "copy" if "copy" in name else ""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", said).replace("_", " ").lower()
    return f"elementwise {words}"


_GENERIC = frozenset({"Binary", "AUnary", "BUnary", "CUDA", "OpMath", "Unary", "PointwiseOp"})


def _reduction(name: str, _match: re.Match[str]) -> str:
    inner = re.search(r"(\w+?)(?:Ops|NanFunctor|Functor)\b", name.partition("ReduceOp")[2] or name)
    return f"reduce {inner[1].lower() if inner and inner[1] != 'func_wrapper_t' else ''}"


def _ggml(name: str, match: re.Match[str]) -> str:
    kind = re.search(r"ggml_type\)(\d+)", name)
    said = _GGML.get(kind[1], "") if kind else ""
    return f"{'gemv' if match[1] == 'vec_' else 'gemm'} {said} (llama.cpp)"


def _nccl(_name: str, match: re.Match[str]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", match[1]).lower() + " (nccl)"


def _cub(_name: str, match: re.Match[str]) -> str:
    return f"{re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', match[1]).lower()} (cub)"


def _dequantised(name: str, _match: re.Match[str]) -> str:
    kind = "8bit" if re.search(r"General8bit|, 0>|Li0E", name) else "4bit"
    return f"dequantise {kind} (bitsandbytes)"


Words = str | Callable[[str, "re.Match[str]"], str]
# The first pattern that matches decides, so a library that uses another's templates comes before the other.
_RULES: tuple[tuple[re.Pattern[str], Words], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"^Memcpy (\w+)", lambda _name, match: f"copy {match[1]}"),
        (r"^Memset", "memset"),
        (r"CompiledFxGraph", "compiled graph (inductor)"),
        # quantisation
        (r"kgemm_4bit_inference_naive", "gemv 4bit (bitsandbytes)"),
        (r"kDequantizeBlockwise", _dequantised),
        (r"kQuantizeBlockwise", "quantise blockwise (bitsandbytes)"),
        (r"kInt8VectorQuant|kgetColRowStats", "quantise int8 (bitsandbytes)"),
        (r"kdequant_mm_int32_fp16", "dequantise int32 (bitsandbytes)"),
        (r"[Mm]arlin_24", "gemm 4bit 2:4 (marlin)"),
        (r"[Mm]arlin.*repack|repack.*[Mm]arlin", "repack (marlin)"),
        (r"Marlin|marlin", "gemm 4bit (marlin)"),
        (r"[Mm]achete", "gemm 4bit (machete)"),
        (r"gemm_half_q_half", "gemm 4bit (exllama)"),
        (r"reconstruct_(?:gptq|exllama)", "dequantise (exllama)"),
        (r"gemm_forward_4bit", "gemm 4bit (awq)"),
        (r"tinygemm_m16n8k16", "gemm int4 (tinygemm)"),
        (r"QUANT_GEMM_Kernel", "gemm fp6 (torchao)"),
        (r"gem(v|m)_(?:INT|A\d+W\d+)\w*kernel", lambda _name, match: f"gem{match[1]} int (gemlite)"),
        (r"quanto::\w*unpack|unpack_4bit_kernel", "unpack 4bit (quanto)"),
        (r"mul_mat_(vec_)?q", _ggml),
        (r"quantize_(?:mmq_)?q8_1", "quantise q8_1 (llama.cpp)"),
        (r"flash_attn_(?:ext|tile|vec)", "attention (llama.cpp)"),
        (r"rms_norm_f32", "rms norm (llama.cpp)"),
        # attention
        (r"flash_fwd_splitkv_combine", "attention combine (flash)"),
        (r"flash_fwd_splitkv", "attention split kv (flash)"),
        (r"FlashAttnFwdSm90|FlashAttnFwd", "attention (flash 3)"),
        (r"flash_fwd|flash::", "attention (flash)"),
        (r"fmha_cutlass|AttentionKernel<", "attention (memory efficient)"),
        (r"cudnn_generated\w*sdpa|cudnn\w*flash", "attention (cudnn)"),
        (r"Batch(Decode|Prefill)With", lambda _name, match: f"attention {match[1].lower()} (flashinfer)"),
        (r"paged_attention_v\d", "paged attention (vllm)"),
        (r"reshape_and_cache", "cache write (vllm)"),
        (r"_fwd_grouped_kernel_stage1|_fwd_kernel_stage1", "attention decode (triton)"),
        (r"_fwd_kernel_stage2", "attention combine (triton)"),
        (r"^(?:_attn)?_fwd(?:_kernel)?$", "attention (triton)"),
        # triton
        (r"^triton_([a-z]{3})_(?:fused_)?(.*?)_?\d*$", _triton),
        # matrix products
        (r"nvjet_([a-z]+)_", _nvjet),
        (r"sm\d+_xmma_(?:sparse_)?gemm_([a-z0-9]+)_", _xmma),
        (r"cutlass", _cutlass),
        (r"(?:ampere|volta|turing|maxwell|hopper)_(\w+?_)?([sih]\d*gemm)", _cublas),
        (r"splitK[rR]educe", "split-k reduce (cublas)"),
        (r"gemv(?:x|NSP|2T|2N|N|T)?\w*(?:::kernel|_kernel)|gemvx", _gemv),
        (r"gemmk1_kernel", "gemm k1 (cublas)"),
        # torch
        (r"reduce_kernel", _reduction),
        (r"softmax_warp_forward|cunn_SoftMaxForward|SoftMaxForward", "softmax"),
        (r"layer_norm", "layer norm"),
        (r"[rR][mM][sS]_?[nN]orm", "rms norm"),
        (r"rotary_embedding|RotaryPosEnc|rope_kernel|BatchQKApplyRotary", "rotary embedding"),
        (r"silu_and_mul|act_and_mul", "silu and mul"),
        (r"CatArrayBatchedCopy", "cat"),
        (r"indexSelect|index_select", "index select"),
        (r"vectorized_gather|_scatter_gather", "gather"),
        (r"index_elementwise_kernel|gpu_index_kernel|index_put", "index"),
        (r"(?:elementwise|unrolled)_\w*kernel", _functor),
        (r"topk|gatherTopK", "top k"),
        (r"ncclDevKernel_([A-Za-z]+)|ncclKernel_([A-Za-z]+)", _nccl),
        (r"cub::\w*(?:::\w+)*::Device(\w+?)(?:Kernel|<)", _cub),
    )
)
