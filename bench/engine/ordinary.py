"""Name what runs in a decode step of a model that nothing was done to.

The operators are those of Llama, GPT-2, Qwen 3, Gemma 3 and Mixtral in torch 2.13, and a test holds a Llama
against the list. On a GPU they start dense kernels, and calls of the driver.
"""

from __future__ import annotations

_OPERATORS = """
__and__ _grouped_mm _index_put_impl_ _local_scalar_dense _reshape_alias _softmax _to_copy _unsafe_view
_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention
_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention add add_ addmm alias arange
argmax as_strided baddbmm bitwise_and bmm cat chunk clamp_ clone contiguous copy_ cos cumsum detach_ div
div_ dropout embedding empty empty_like empty_strided eq expand fill_ floor_divide full ge gelu gt histc
index index_put_ index_select item layer_norm le lift_fresh linear linspace log_softmax lt masked_fill
masked_fill_ matmul mean mm mul mul_ narrow native_layer_norm ne neg new_empty new_ones ones permute pow
relu repeat reshape resize_ resolve_conj result_type rsqrt scalar_tensor scaled_dot_product_attention
select sigmoid silu sin slice softmax sort split squeeze sub sum t tanh to topk transpose tril triu
type_as unsqueeze view where zero_ zeros
"""
ON_A_GPU = (
    "cudaLaunchKernel", "cudaMemcpyAsync", "cudaMemsetAsync", "cudaStreamSynchronize",
    "Memcpy DtoD (Device -> Device)", "Memset (Device)", "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n",
    "ampere_sgemm_32x32_sliced1x4_tn", "ampere_bf16_s16816gemm_bf16_64x64_ldg8_f2f_stages_64x5_tn",
    "cutlass_80_wmma_tensorop_bf16_gemm_tn", "void cutlass::Kernel2<gemm>",
    "nvjet_tst_64x8_64x16_4x1_v_bz_TNT", "void gemv2T_kernel_val<int, float>",
    "void at::native::vectorized_elementwise_kernel<4>", "void at::native::reduce_kernel<512, 1>",
    "void pytorch_flash::flash_fwd_splitkv_kernel", "fmha_cutlassF_bf16_aligned_64x64_rf_sm80",
)  # fmt: skip
# A kernel is no evidence of a change if its pattern matches one of these.
ORDINARY = (*(f"aten::{name}" for name in _OPERATORS.split()), "detach_", *ON_A_GPU)
