"""Read the part of a config that reads and writes text, with what its class says where the file is silent.

The config of a multimodal checkpoint has it as ``text_config``, beside a config for pictures or sound. Those
of Gemma 3 leave out whatever is the default of the class. Nothing of transformers is imported here; a test
compares what stands here with its classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The output head of these is the embedding unless their config says otherwise (transformers 5.17).
TIED = frozenset({
    "bart", "bert", "bert-generation", "big_bird", "bigbird_pegasus", "biogpt", "blenderbot",
    "blenderbot-small", "bloom", "camembert", "cohere", "cohere2", "cohere2_moe", "cohere_compass_text",
    "cpmant", "ctrl", "data2vec-text", "electra", "ernie", "ernie4_5", "ernie4_5_moe", "falcon",
    "falcon_mamba", "gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma3n_text", "gemma4",
    "gemma4_assistant", "gemma4_text", "gemma4_unified", "gemma4_unified_assistant", "gemma4_unified_text",
    "got_ocr2", "gpt-sw3", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox_japanese", "granite_swa", "jetmoe",
    "lfm2", "lfm2_moe", "mamba", "marian", "mbart", "megatron-bert", "minicpm3", "modernbert-decoder", "mpt",
    "mvp", "openai-gpt", "opt", "pegasus", "plbart", "prophetnet", "recurrent_gemma", "roberta",
    "roberta-prelayernorm", "roc_bert", "roformer", "smollm3", "starcoder2", "trocr", "vaultgemma", "whisper",
    "xglm", "xlm", "xlm-roberta", "xlm-roberta-xl", "xlnet", "xmod", "youtu", "zamba", "zamba2", "zaya",
})  # fmt: skip
DEFAULTS: Mapping[str, Mapping[str, int]] = {
    "gemma3_text": {
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262_208,
        "max_position_embeddings": 131_072, "sliding_window": 4096, "sliding_window_pattern": 6,
    },
}  # fmt: skip
# Multimodal configs of which AutoModelForCausalLM loads the part for text alone.
TEXT_ALONE = frozenset({"llama4", "mllama", "qwen3_5", "qwen3_5_moe", "qwen4_exp"})
# Models that also read pictures or sound, and of which AutoModelForCausalLM has no class (transformers 5.17).
WITHOUT_TEXT_CLASS = frozenset({
    "aria", "aya_vision", "blip", "blip-2", "chameleon", "cohere2_vision", "cohere_compass",
    "cosmos3_edge", "cosmos3_omni", "deepseek_ocr2", "deepseek_vl", "deepseek_vl_hybrid",
    "diffusion_gemma", "ernie4_5_vl_moe", "evolla", "exaone4_5", "fast_vlm", "florence2",
    "fun_asr_nano", "glm46v", "glm4v", "glm4v_moe", "glm5_next", "glm_ocr", "glmasr", "glmga",
    "granite4_vision", "granite_speech", "granite_speech_plus", "hunyuan_vl", "idefics", "idefics2",
    "idefics3", "inkling_mm_model", "instructblip", "instructblipvideo", "internvl", "janus",
    "kimi_k25", "kosmos-2", "kosmos-2.5", "kyutai_speech_to_text", "lfm2_vl", "lighton_ocr", "llava",
    "llava_next", "llava_next_video", "llava_onevision", "minicpmv4_6", "minimax_m3_vl", "mistral3",
    "mistral4", "muse_glimmer", "ovis2", "paddleocr_vl", "paligemma", "perception_lm", "pi0",
    "pix2struct", "pp_chart2table", "pp_formulanet", "qianfan_ocr", "qwen2_5_omni",
    "qwen2_5_omni_thinker", "qwen2_5_vl", "qwen2_audio", "qwen2_vl", "qwen3_asr", "qwen3_omni_moe",
    "qwen3_omni_moe_thinker", "qwen3_vl", "qwen3_vl_moe", "shieldgemma2", "smolvlm", "step3p7",
    "t5gemma2", "udop", "vibevoice_asr", "video_llama_3", "video_llava", "vipllava",
    "vision-encoder-decoder", "voxtral", "voxtral_realtime",
})  # fmt: skip


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config of the part that reads and writes text: that of the whole model if it has no other.

    What the file does not say has the value of its class, as far as it is known here.
    """
    inner = config.get("text_config")
    if not isinstance(inner, Mapping):
        return {**_of_class(str(config.get("model_type"))), **config}
    around = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    writes = {"architectures": ["ForCausalLM"]}  # the outer class is named after what it reads
    return {**_of_class(str(inner.get("model_type"))), **around, **writes, **inner}


def without_text_class(config: Mapping[str, Any]) -> str | None:
    """Return a sentence if transformers loads a model only with what reads pictures or sound; else None."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in WITHOUT_TEXT_CLASS:
        return None
    return f"{kind} also reads pictures or sound, and transformers has no class for its text alone"


def _of_class(kind: str) -> dict[str, Any]:
    return {"tie_word_embeddings": kind in TIED, **DEFAULTS.get(kind, {})}
