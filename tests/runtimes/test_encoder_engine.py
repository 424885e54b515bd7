"""Encoders in transformers: pooling as sentence-transformers does it, special tokens, padding, schemes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from engines import told
from tiny_encoders import MEAN_NORMALISED, write_encoder

from bench.engine import Options
from bench.errors import NotApplied, Unsupported, VariantFailed
from bench.runtimes import _encoder, _transformers_encoder
from bench.worker import encoders, kernels, passes, session

TEXTS = ("a short one", "this text has some more words in it, so the other one is padded", "z")
TENSORS: dict[str, Any] = {"return_tensors": "pt", "return_token_type_ids": False}
RUNTIME = "bench.runtimes._transformers_encoder"


def engine_of(path: Path, task: str = "embedding") -> Any:
    return _transformers_encoder.load(path, Options(device="cpu", threads=1, task=task))


def encoded(engine: Any, *texts: str) -> list[list[float]]:
    return engine.encoded(engine.prefill([engine.read(text) for text in texts], 1))  # type: ignore[no-any-return]


def by_hand(path: Path, text: str, pooling: str, *, normalised: bool) -> list[float]:
    """The vector of one text, from the hidden states of transformers and a plain loop."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModel.from_pretrained(path).eval()
    with torch.no_grad():
        hidden = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).last_hidden_state[
            0
        ]
    rows = hidden.tolist()
    found = {"cls": rows[0], "lasttoken": rows[-1]}.get(pooling)
    if found is None:
        found = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    length = math.sqrt(sum(x * x for x in found)) if normalised else 1.0
    return [x / length for x in found]


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize(
    ("flag", "pooling"),
    [("mean_tokens", "mean"), ("cls_token", "cls"), ("lasttoken", "lasttoken")],
)
def test_vectors_are_pooled_as_the_files_say(
    tmp_path: Path, flag: str, pooling: str, normalised: bool
) -> None:
    path = write_encoder(tmp_path, pooling={f"pooling_mode_{flag}": True}, normalised=normalised)
    engine = engine_of(path)
    wanted = [by_hand(path, text, pooling, normalised=normalised) for text in TEXTS]
    for found in (encoded(engine, *TEXTS), [encoded(engine, text)[0] for text in TEXTS]):
        assert torch.allclose(torch.tensor(found), torch.tensor(wanted), atol=1e-5)
    assert ("normalised" in engine.reads()) is normalised
    assert "1_Pooling/config.json" in engine.reads()


def test_without_these_files_it_is_the_mean_and_the_row_says_so(tmp_path: Path) -> None:
    path = write_encoder(tmp_path)
    found = encoded(engine_of(path), TEXTS[0])[0]
    assert found == pytest.approx(by_hand(path, TEXTS[0], "mean", normalised=False), abs=1e-5)
    words = "its vector is the mean of its tokens (no file beside the weights says how)"
    assert engine_of(path).reads().endswith(words)


@pytest.mark.parametrize(
    ("pooling", "words"),
    [
        ({"pooling_mode_max_tokens": True}, "asks for max, and only mean, cls, lasttoken"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "asks for mean and cls"),
        ({}, "asks for None"),
        ({"pooling_mode": ["mean"]}, r"asks for \['mean'\]"),
    ],
)
def test_other_pooling_is_refused(tmp_path: Path, pooling: dict[str, Any], words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        engine_of(write_encoder(tmp_path, pooling=pooling))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"type": "a.Dense"}, "a step Dense"),
        (
            {"type": "a.Transformer", "path": "0_Transformer"},
            "'0_Transformer', and it is read from the",
        ),
        (
            {"type": "a.Pooling", "path": "2_Pooling"},
            "its Pooling in '2_Pooling', and it is read from 1_",
        ),
        ({"type": "a.Pooling", "path": ""}, "its Pooling in '', and it is read from 1_Pooling"),
    ],
)
def test_a_step_that_is_unknown_or_elsewhere_is_refused(
    tmp_path: Path, step: dict[str, str], said: str
) -> None:
    """The mean was taken for the pooling of a directory that is not read."""
    path = write_encoder(tmp_path, pooling=MEAN_NORMALISED)
    (path / "modules.json").write_text(json.dumps([step]))
    with pytest.raises(Unsupported, match=said):
        engine_of(path)
    usual = [{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling/"}]
    (path / "modules.json").write_text(json.dumps(usual))
    assert "the mean of its tokens (1_Pooling/config.json, modules.json)" in engine_of(path).reads()
    (path / "1_Pooling" / "config.json").unlink()
    with pytest.raises(Unsupported, match="has a step Pooling, and 1_Pooling"):
        engine_of(path)


@pytest.mark.parametrize("name", ["sentence_bert_config.json", "sentence_roberta_config.json"])
def test_small_letters_that_the_tokenizer_does_not_make_are_refused(tmp_path: Path, name: str) -> None:
    (write_encoder(tmp_path) / name).write_text('{"do_lower_case": true}')
    assert engine_of(tmp_path).reads()  # its tokenizer makes them by itself
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text().replace('"lowercase": true', '"lowercase": false'))
    with pytest.raises(Unsupported, match=f"{name} asks for small letters"):
        engine_of(tmp_path)


def test_what_sentence_transformers_puts_before_a_text_is_read_too(tmp_path: Path) -> None:
    """The vector was that of the bare text, and another one than the model's makers and users get."""
    path = write_encoder(tmp_path, pooling=MEAN_NORMALISED)
    settings = {"prompts": {"query": "find: ", "document": ""}, "default_prompt_name": None}
    (path / "config_sentence_transformers.json").write_text(json.dumps(settings))
    bare, wanted = engine_of(path), by_hand(path, "find: z", "mean", normalised=True)
    assert encoded(bare, "z")[0] == pytest.approx(by_hand(path, "z", "mean", normalised=True), abs=1e-5)
    (path / "config_sentence_transformers.json").write_text(
        json.dumps({**settings, "default_prompt_name": "query"})
    )
    engine = engine_of(path)
    assert encoded(engine, "z")[0] == pytest.approx(wanted, abs=1e-5)
    assert "'find: ' before it" in engine.reads()
    (path / "1_Pooling" / "config.json").write_text(json.dumps({**MEAN_NORMALISED, "include_prompt": False}))
    with pytest.raises(Unsupported, match="leaves the prompt out of the vector"):
        engine_of(path)
    (path / "config_sentence_transformers.json").write_text('{"default_prompt_name": "query"}')
    with pytest.raises(Unsupported, match="no text for its default prompt, 'query'"):
        engine_of(path)


@pytest.mark.parametrize(
    "name",
    [
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
    ],
)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not readable as JSON"), ("5", "is no JSON (list|dict)"), ("[" * 5000, "nested too deeply"),
        ("[" + "[]," * 500_001 + "[]]", "more than 500000 lists and objects"),
    ],
    ids=["broken", "number", "deep", "wide"],
)  # fmt: skip
def test_a_file_that_is_none_of_an_encoder(tmp_path: Path, name: str, content: str, said: str) -> None:
    path = write_encoder(tmp_path, pooling=MEAN_NORMALISED)
    (path / name).write_text(content)
    with pytest.raises(VariantFailed, match=f"{name}: .*{said}"):
        engine_of(path)


@pytest.mark.parametrize(
    ("named", "similarity", "said"),
    [
        (None, "cosine", ""), ("cosine", "cosine", ""),
        ("dot", "dot", "; vectors are compared by dot product"),
        ("manhattan", "manhattan", "; vectors are compared by Manhattan distance"),
    ],
)  # fmt: skip
def test_documents_are_ranked_by_what_the_model_is_made_for(
    tmp_path: Path, named: str | None, similarity: str, said: str
) -> None:
    path = write_encoder(tmp_path, pooling=MEAN_NORMALISED, normalised=False)
    (path / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": named}))
    engine = engine_of(path)
    assert encoders.encoded(engine, ["a", "b"], 1).similarity == similarity
    assert str(engine.reads()).endswith(f"modules.json){said}")


def test_a_similarity_that_is_not_known_is_refused(tmp_path: Path) -> None:
    path = write_encoder(tmp_path, pooling=MEAN_NORMALISED)
    (path / "config_sentence_transformers.json").write_text('{"similarity_fn_name": "hers"}')
    with pytest.raises(Unsupported, match="compares vectors by 'hers', and only cosine, dot, euclidean"):
        engine_of(path)


def test_a_long_text_is_cut_between_its_special_tokens(tmp_path: Path) -> None:
    engine = engine_of(write_encoder(tmp_path))
    for ids, length in ((engine.read("word " * 100), 64), (engine.read("word " * 100, 10), 10)):
        assert (len(ids), ids[0], ids[-1]) == (length, 2, 3)
    found = encoders.encoded(engine, ["word " * 100, "word"], 1)
    assert found.cut == 1
    for name, length in (("sentence_xlm-roberta_config.json", 14), ("sentence_bert_config.json", 12)):
        (tmp_path / name).write_text(json.dumps({"max_seq_length": length}))
        assert len(engine_of(tmp_path).read("word " * 100)) == length


def test_a_classifier_gives_the_logits_of_its_labels(tmp_path: Path) -> None:
    names = {0: "bad", 1: "good", 2: "neither"}
    head = "AutoModelForSequenceClassification"
    path = write_encoder(tmp_path, head=head, num_labels=3, id2label=names)
    engine = engine_of(path, "classification")
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(path).eval()
    with torch.no_grad():
        wanted = [
            model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).logits[0]
            for text in TEXTS
        ]
    assert torch.allclose(torch.tensor(encoded(engine, *TEXTS)), torch.stack(wanted), atol=1e-5)
    assert engine.labels() == ("bad", "good", "neither")
    assert engine.reads() == "a text of at most 64 tokens; its label is the likeliest"
    reranker = write_encoder(tmp_path / "reranker", head=head, num_labels=1)
    assert engine_of(reranker, "classification").reads().endswith("not of a pair of texts")


def test_a_head_is_left_out_and_a_lost_layer_is_not_made_up(tmp_path: Path) -> None:
    """Of a masked language model only the encoder is read; it has no pooler, and needs none."""
    from safetensors.torch import load_file, save_file

    path = write_encoder(tmp_path, head="AutoModelForMaskedLM")
    assert engine_of(path).finite([2, 7, 3])
    file = path / "model.safetensors"
    tensors = load_file(file)
    del tensors["bert.encoder.layer.1.output.dense.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(VariantFailed, match="made up by the loader"):
        engine_of(path)


# ---- through the worker ------------------------------------------------------------------------


def load(path: Path, *steps: tuple[str, str], dtype: str = "float32", task: str = "embedding") -> Any:
    options = {
        "device": "cpu",
        "dtype": dtype,
        "threads": 1,
        "attention": "sdpa",
        "random": False,
        "task": task,
    }
    return session.load(
        {
            "directory": str(path), "runtime": RUNTIME, "options": {**options, "task": task},
            "step_by_step": True,            "optimise": [told(*step, {}) for step in steps],
        }
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_evidence_says_what_is_read_and_that_padding_is_not(tmp_path: Path, dtype: str) -> None:
    _engine, found = load(write_encoder(tmp_path, pooling=MEAN_NORMALISED), dtype=dtype)
    claims = {one["claim"]: one["found"] for one in found.evidence[0]["checks"]}
    assert _encoder.ALONE in claims
    assert _encoder.DIFFERENT in claims
    assert "the mean of its tokens, normalised" in claims["what the model reads"]
    assert found.facts.context == 64


def test_an_encoder_that_reads_its_padding_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = lambda prompts, pad: (_encoder.padded(prompts, pad)[0], None)  # noqa: E731
    monkeypatch.setattr(_transformers_encoder, "padded", blind)
    with pytest.raises(NotApplied, match=_encoder.ALONE):
        load(write_encoder(tmp_path))


@pytest.mark.parametrize("scheme", ["torch-int8-dynamic", "quanto-int8"])
def test_a_scheme_packs_an_encoder_and_its_kernel_is_found(tmp_path: Path, scheme: str) -> None:
    path = write_encoder(tmp_path, pooling=MEAN_NORMALISED)
    engine, found = load(path, ("quantise", scheme))
    plain = engine_of(path)
    cosine = sum(
        a * b for a, b in zip(encoded(engine, TEXTS[1])[0], encoded(plain, TEXTS[1])[0], strict=True)
    )
    assert 0.98 < cosine < 1 - 1e-7
    batch = [engine.read(text) for text in TEXTS]
    assert kernels.of_a_step(engine, batch, 1, found.evidence).kernels
    solo = passes.solo(engine, [batch], 1)
    assert solo.batches[0].tokens == ((), (), ())
    assert solo.batches[0].whole


def test_weights_that_are_no_numbers_are_found(tmp_path: Path) -> None:
    engine = engine_of(write_encoder(tmp_path))
    engine.model.encoder.layer[1].output.dense.weight.data.fill_(float("nan"))
    assert not engine.finite([2, 7, 3])


def test_one_of_the_hub_says_which_task_to_give(tmp_path: Path) -> None:
    """Of a repository nothing is known before it is fetched, so it is loaded as a model that writes."""
    path = write_encoder(tmp_path, pooling=MEAN_NORMALISED)
    with pytest.raises(Unsupported, match=r"set runtime\.task to embedding"):
        _transformers_encoder.decoders.load(path, Options(device="cpu", threads=1))
