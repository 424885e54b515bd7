"""The part of a config that reads text, and what its class says where the file is silent."""

from __future__ import annotations

from typing import Any

import pytest
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
)

from bench.models.text_config import DEFAULTS, TEXT_ALONE, TIED, WITHOUT_TEXT_CLASS, text_config

NOT_BUILT = {"musicgen", "musicgen_melody"}  # their configs need those of their parts


def test_the_tied_classes_are_those_of_transformers() -> None:
    kinds = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - NOT_BUILT
    texts = {kind: CONFIG_MAPPING[kind]().get_text_config(decoder=True) for kind in kinds}
    tied = {kind for kind, text in texts.items() if getattr(text, "tie_word_embeddings", False)}
    assert tied == TIED


@pytest.mark.parametrize("kind", sorted(DEFAULTS))
def test_the_defaults_are_those_of_the_class(kind: str) -> None:
    built = CONFIG_MAPPING[kind]()
    for key, value in DEFAULTS[kind].items():
        if key == "sliding_window_pattern":
            assert built.layer_types.index("full_attention") == value - 1
        else:
            assert getattr(built, key) == value, key


def test_the_models_that_are_loaded_without_their_other_senses() -> None:
    for kind in TEXT_ALONE:
        assert {"text_config", "vision_config"} <= set(CONFIG_MAPPING[kind].sub_configs)
        assert MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind].endswith("ForCausalLM")
        assert hasattr(transformers, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind])


def test_the_models_without_a_class_for_text_alone() -> None:
    mixed = {*MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, *MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES}
    known = {kind for kind in mixed if kind in CONFIG_MAPPING}
    assert known - set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) == WITHOUT_TEXT_CLASS


@pytest.mark.parametrize("kind", [None, 5, [], {"a": 1}])
def test_what_anybody_may_have_written(kind: Any) -> None:
    assert text_config({"model_type": kind, "hidden_size": 8})["hidden_size"] == 8
    assert text_config({"text_config": {"model_type": kind}})["tie_word_embeddings"] is False
    assert text_config({"text_config": kind}).get("text_config") == kind or isinstance(kind, dict)


def test_the_inner_config_counts_and_the_outer_one_fills_it() -> None:
    found = text_config(
        {
            "model_type": "gemma3",
            "architectures": ["Gemma3ForConditionalGeneration"],
            "tie_word_embeddings": False,
            "hidden_size": 1,
            "text_config": {"model_type": "gemma3_text", "hidden_size": 64, "head_dim": 32},
            "vision_config": {"hidden_size": 7},
        }
    )
    assert (found["hidden_size"], found["head_dim"], found["num_attention_heads"]) == (64, 32, 8)
    assert found["tie_word_embeddings"] is False
    assert "vision_config" not in found
