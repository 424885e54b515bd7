"""What an engine would refuse after loading is found by ``bench check``, from files and cards alone."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import ggufs
import pytest
import torch
import transformers
import yaml
from byte_tokenizer import write_tokenizer
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from bench import plugins
from bench.cli.check import describe
from bench.config.loadable import EAGER_ONLY, NO_CLASS, ONE_ATTENTION, ONE_FORM, WITH_TOKENIZER
from bench.config.reader import read_config
from bench.engine import Options
from bench.errors import ConfigError, Unsupported, VariantFailed
from bench.models import gguf_architectures, templates
from bench.models.gguf_header import read_header
from bench.runtimes import _text
from bench.runtimes import numpy as numpy_engine
from bench.runtimes._plain_text import AS_IT_STANDS, why_other_tokens

TABLE = Path(__file__).parents[2] / "results" / "reference" / "architectures"
OWN_READERS = ("numpy", "llama-cpp", "onnxruntime")  # of config.json: a key that one ignores is another model
CONTROLS = [
    (row["engine"], row["model_type"], row["end"])
    for file in TABLE.glob("controls-*.jsonl")
    for row in map(json.loads, file.read_text().splitlines())
    if row["engine"] in OWN_READERS
]
SMALL: dict[str, Any] = {
    "vocab_size": 260, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 2,
}  # fmt: skip


def read(to: Path, model: object, **blocks: object) -> Any:
    file = to / "config.yaml"
    price = {"usd_per_hour": 1.0}
    file.write_text(yaml.safe_dump({"model": model, "price": price, "variants": [{"name": "v"}], **blocks}))
    return read_config(file)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    to = tmp_path / "model"
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL)).save_pretrained(to)
    write_tokenizer(to)
    return to


def test_the_architectures_are_those_of_the_table() -> None:
    rows = [json.loads(line) for file in TABLE.glob("*.jsonl") for line in file.read_text().splitlines()]
    assert {row["model_type"] for row in rows if row.get("attention") == "eager"} == EAGER_ONLY


@pytest.mark.parametrize("random", ["gpt-oss-20b", "gpt-oss-120b"])
def test_an_attention_that_the_architecture_does_not_have(tmp_path: Path, random: str) -> None:
    model = {"random": random, "layers": 2, "hidden": 64}
    with pytest.raises(ConfigError, match=r"runtime.attention: gpt_oss has no sdpa .*attention to eager"):
        read(tmp_path, model)
    read(tmp_path, model, runtime={"attention": "eager"})


def test_the_attention_of_a_directory(tmp_path: Path, llama: Path) -> None:
    read(tmp_path, {"path": str(llama)})
    file = llama / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_type": "bloom"}))
    with pytest.raises(ConfigError, match="bloom has no sdpa attention"):
        read(tmp_path, {"path": str(llama)})
    read(tmp_path, {"path": str(llama)}, runtime={"python": "/usr/bin/python3"})  # another transformers


@pytest.mark.parametrize("kind", ["qwen2_vl", "mistral3", "voxtral"])
def test_a_model_that_transformers_loads_with_eyes_or_ears_only(
    tmp_path: Path, llama: Path, kind: str
) -> None:
    """`bench check` showed a plan, and the run then said that there is no causal language model."""
    file = llama / "config.json"
    said = {**json.loads(file.read_text()), "model_type": kind, "architectures": ["ForConditionalGeneration"]}
    file.write_text(json.dumps(said))
    with pytest.raises(ConfigError, match=rf"model: {kind} also reads pictures or sound, .*vllm"):
        read(tmp_path, {"path": str(llama)})
    read(tmp_path, {"path": str(llama)}, runtime={"python": "/usr/bin/python3"})  # another transformers
    read(tmp_path, {"path": str(llama)}, runtime={"task": "embedding"})  # its vectors have a class


@pytest.mark.parametrize("engine", ONE_ATTENTION)
def test_a_graph_of_a_decoder_has_one_attention(tmp_path: Path, llama: Path, engine: str) -> None:
    """One engine repeated the asked attention as evidence, whatever its graph computes."""
    with pytest.raises(ConfigError, match=f"runtime.attention: does nothing for {engine}, which has one"):
        read(tmp_path, {"path": str(llama)}, runtime={"name": engine, "attention": "eager"})
    config = llama / "config.json"
    said = {**json.loads(config.read_text()), "architectures": ["BertModel"], "model_type": "bert"}
    config.write_text(json.dumps(said))
    read(tmp_path, {"path": str(llama)}, runtime={"name": engine, "attention": "eager"})


@pytest.mark.parametrize("engine", ["numpy", "llama-cpp"])
def test_an_engine_with_one_attention_has_no_choice_of_it(tmp_path: Path, llama: Path, engine: str) -> None:
    """Its row would bear the name of an attention that nothing computes."""
    with pytest.raises(ConfigError, match=f"runtime.attention: does nothing for {engine}"):
        read(tmp_path, {"path": str(llama)}, runtime={"name": engine, "attention": "eager"})
    rows = read(
        tmp_path, {"path": str(llama)}, runtime={"attention": "eager"},
        variants=[{"name": "other", "runtime": {"name": engine}}],
    )  # fmt: skip
    assert rows.groups[0].variants[0].runtime.attention == "sdpa"  # a variant does not take it over


@pytest.mark.parametrize("engine", WITH_TOKENIZER)
def test_a_directory_without_a_tokenizer(tmp_path: Path, llama: Path, engine: str) -> None:
    for file in llama.glob("*token*"):
        file.unlink()
    with pytest.raises(ConfigError, match="no tokenizer beside the weights"):
        read(tmp_path, {"path": str(llama)}, runtime={"name": engine})


@pytest.mark.parametrize("engine", ONE_FORM)
def test_a_tokenizer_in_a_form_that_the_engine_does_not_read(
    tmp_path: Path, llama: Path, engine: str
) -> None:
    (llama / "tokenizer.json").rename(llama / "tokenizer.model")
    more = {"command": {"command": ["cat"]}, "callable": {"target": "a:b"}}.get(engine, {})
    with pytest.raises(ConfigError, match=f"no tokenizer.json, and {engine} reads no other file"):
        read(tmp_path, {"path": str(llama)}, runtime={"name": engine, **more})


@pytest.mark.parametrize("engine", OWN_READERS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "gelu"), ("sliding_window", 16), ("soft_cap", 30.0),
        ("rope_parameters", {"rope_type": "yarn", "factor": 8.0, "rope_theta": 1e4}),
        ("quantization_config", {"quant_method": "gptq", "bits": 4}),
    ],
)  # fmt: skip
def test_a_key_that_an_engine_does_not_compute(
    tmp_path: Path, llama: Path, engine: str, key: str, value: object
) -> None:
    """Only the config is needed to know it, and the sentence is the one that loading would end with."""
    read(tmp_path, {"path": str(llama)}, runtime={"name": engine})
    file = llama / "config.json"
    said = {**json.loads(file.read_text()), key: value}
    file.write_text(json.dumps(said))
    reason = plugins.load("runtimes", engine).refuse_model(said)
    assert str(reason).startswith(f"the {engine} engine does not compute {key}: ")
    if key == "quantization_config":  # whose weights would have to be packed too
        return
    with pytest.raises(ConfigError, match=f"engine does not compute {key}: .*runtime.name transformers runs"):
        read(tmp_path, {"path": str(llama)}, runtime={"name": engine})
    read(tmp_path, {"path": str(llama)})  # transformers runs the model's own code


NAMED = [
    None,
    *AS_IT_STANDS[1:],
    "GPT2Tokenizer",
    "GPT2TokenizerFast",
    "LlamaTokenizer",
    "LlamaTokenizerFast",
]
WRITTEN = "Hello, wörld  two\n lines 12 don't x"


@pytest.mark.parametrize("name", NAMED)
def test_an_engine_that_reads_other_tokens_than_transformers(
    tmp_path: Path, llama: Path, name: str | None
) -> None:
    """With the class of a Llama, transformers takes the words from the file and nothing else."""
    file = llama / "tokenizer_config.json"
    said = {**json.loads(file.read_text()), "tokenizer_class": name}
    file.write_text(
        json.dumps(said if name else {key: said[key] for key in said if key != "tokenizer_class"})
    )
    theirs = transformers.AutoTokenizer.from_pretrained(llama, local_files_only=True)
    ours = Tokenizer.from_file(str(llama / "tokenizer.json"))
    same = theirs(WRITTEN)["input_ids"] == ours.encode(WRITTEN).ids
    assert same == (why_other_tokens(llama) is None) == (not str(name).startswith("Llama"))
    if same:
        read(tmp_path, {"path": str(llama)}, runtime={"name": "numpy"})
        return
    with pytest.raises(ConfigError, match="with the tokenizer_class LlamaTokenizer"):
        read(tmp_path, {"path": str(llama)}, runtime={"name": "numpy"})
    with pytest.raises(Unsupported, match="it could read other tokens"):
        numpy_engine.load(llama, Options(device="cpu", threads=1))


def test_another_pre_tokenizer_than_that_of_the_class(llama: Path) -> None:
    settings, file = llama / "tokenizer_config.json", llama / "tokenizer.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "tokenizer_class": "GPT2Tokenizer"}))
    assert why_other_tokens(llama) is None
    file.write_text(json.dumps({**json.loads(file.read_text()), "pre_tokenizer": None}))
    assert "tokenizer_class GPT2Tokenizer" in str(why_other_tokens(llama))


TOOL = {
    "content": "<tool>", "lstrip": False, "rstrip": False, "single_word": False, "normalized": False,
    "special": True,
}  # fmt: skip
WITH_TOOLS = "a  <tool>  b<tool>"


@pytest.mark.parametrize(
    ("file", "said", "held"),
    [
        ("tokenizer_config.json", {"added_tokens_decoder": {"260": TOOL}}, None),
        ("tokenizer_config.json", {"added_tokens_decoder": {"260": {**TOOL, "lstrip": True}}}, TOOL),
        ("tokenizer_config.json", {"added_tokens_decoder": {"260": TOOL}}, {**TOOL, "rstrip": True}),
        ("tokenizer_config.json", {"pad_token": "<tool>"}, None),
        ("tokenizer_config.json", {"pad_token": {**TOOL, "__type": "AddedToken"}}, None),
        ("tokenizer_config.json", {"additional_special_tokens": ["<tool>"]}, None),
        ("tokenizer_config.json", {"extra_special_tokens": {"tool_token": "<tool>"}}, None),
        ("special_tokens_map.json", {"mask_token": "<tool>"}, None),
        ("added_tokens.json", {"<tool>": 260}, None),
        ("tokenizer_config.json", {"added_tokens_decoder": {"260": TOOL}}, TOOL),
        ("tokenizer_config.json", {"added_tokens_decoder": {"300": TOOL}}, TOOL),
        ("tokenizer_config.json", {"pad_token": "<tool>"}, {**TOOL, "lstrip": True}),
        ("special_tokens_map.json", {"mask_token": "<tool>"}, TOOL),
        ("tokenizer_config.json", {"added_tokens_decoder": {}}, {**TOOL, "lstrip": True}),
    ],
)
def test_a_token_that_stands_beside_tokenizer_json_alone_is_refused(
    tmp_path: Path, llama: Path, file: str, said: dict[str, Any], held: dict[str, Any] | None
) -> None:
    """transformers finds it in a text; the engine that reads one file split it into its letters."""
    path, whole = llama / file, llama / "tokenizer.json"
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **said}))
    if held is not None:
        words = json.loads(whole.read_text())
        words["added_tokens"].append({"id": 260, **held})
        whole.write_text(json.dumps(words))
    theirs = transformers.AutoTokenizer.from_pretrained(llama, local_files_only=True)
    ours = Tokenizer.from_file(str(whole))
    same = (
        theirs(WITH_TOOLS, add_special_tokens=False)["input_ids"]
        == ours.encode(WITH_TOOLS, add_special_tokens=False).ids
    )
    assert same == (why_other_tokens(llama) is None)
    if same:
        read(tmp_path, {"path": str(llama)}, runtime={"name": "numpy"})
        return
    with pytest.raises(ConfigError, match=f"{file} has the token '<tool>', which is"):
        read(tmp_path, {"path": str(llama)}, runtime={"name": "numpy"})
    read(tmp_path, {"path": str(llama)})  # transformers reads all of its files
    with pytest.raises(Unsupported, match="would read other tokens than this engine"):
        numpy_engine.load(llama, Options(device="cpu", threads=1))


@pytest.mark.parametrize("engine", ["llama-cpp", "onnxruntime", "openvino"])
def test_an_engine_that_takes_no_random_weights(tmp_path: Path, engine: str) -> None:
    with pytest.raises(ConfigError, match=f"model: the {engine} engine needs a model's weights, not random"):
        read(tmp_path, {"random": "tiny-llama"}, runtime={"name": engine})


def test_an_engine_that_traces_takes_no_packed_checkpoint() -> None:
    refuse_model = plugins.load("runtimes", "openvino").refuse_model
    assert "not packed ones" in refuse_model({"quantization_config": {"quant_method": "awq"}})
    assert refuse_model({"model_type": "llama"}) is None


@pytest.mark.parametrize(("engine", "kind", "end"), CONTROLS)
def test_the_models_that_an_engine_computes_are_those_of_the_table(engine: str, kind: str, end: str) -> None:
    class_of = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    config = transformers.AutoConfig.for_model(kind).to_dict() | {"architectures": [class_of[kind]]}
    found = plugins.load("runtimes", engine).refuse_model(config)
    assert (found is None) == (end == "compared"), found


@pytest.mark.parametrize("name", templates.FILES)
def test_a_missing_chat_template_is_said(tmp_path: Path, llama: Path, name: str) -> None:
    said = "has no chat template: chat prompts are read as plain text"
    assert said in describe(read(tmp_path, {"path": str(llama)}))
    assert said not in describe(
        read(tmp_path, {"path": str(llama)}, workload={"name": "fixed", "input_tokens": 8})
    )
    (llama / name).parent.mkdir(exist_ok=True)
    (llama / name).write_text("{{ messages }}")
    assert said not in describe(read(tmp_path, {"path": str(llama)}))


@pytest.mark.parametrize("name", [*templates.FILES, "chat_template.json"])
def test_a_template_is_one_if_the_tokenizer_reads_it(llama: Path, name: str) -> None:
    (llama / name).parent.mkdir(exist_ok=True)
    (llama / name).write_text('{"chat_template": "{{ messages }}"}')
    found = _text.tokenizer_of(llama)
    assert found is not None
    assert templates.has_template(llama) == bool(found.chat_template)


def test_a_vocabulary_whose_class_nothing_names(tmp_path: Path, llama: Path) -> None:
    """Older repositories have vocab.json and merges.txt; transformers needs to be told who reads them."""
    held = json.loads((llama / "tokenizer.json").read_text())["model"]["vocab"]
    (llama / "tokenizer.json").unlink()
    (llama / "vocab.json").write_text(json.dumps(held))
    (llama / "merges.txt").write_text("#version: 0.2\n")
    settings = {"tokenizer_class": "GPT2Tokenizer", "unk_token": "</s>"}
    (llama / "tokenizer_config.json").write_text(json.dumps(settings))
    assert _text.tokenizer_of(llama) is not None
    read(tmp_path, {"path": str(llama)})
    for without in ({"unk_token": "</s>"}, None):
        (llama / "tokenizer_config.json").unlink(missing_ok=True)
        if without is not None:
            (llama / "tokenizer_config.json").write_text(json.dumps(without))
        with pytest.raises(VariantFailed, match="cannot be read"):
            _text.tokenizer_of(llama)
        with pytest.raises(ConfigError, match="alone, and no tokenizer_config"):
            read(tmp_path, {"path": str(llama)})


def test_the_types_without_a_class_of_tokenizer_are_those_of_transformers() -> None:
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    assert {TOKENIZER_MAPPING_NAMES.get(kind) for kind in NO_CLASS} <= {None, "TokenizersBackend"}


@pytest.mark.parametrize("in_files", [False, True])
def test_templates_with_names_and_no_default(tmp_path: Path, llama: Path, in_files: bool) -> None:
    """transformers says at the first message that it does not know which to take, or takes the default."""
    for names in (("rag", "tool_use"), ("default", "tool_use")):
        if in_files:
            (llama / "additional_chat_templates").mkdir(exist_ok=True)
            for name in names:
                (llama / "additional_chat_templates" / f"{name}.jinja").write_text("{{ messages }}")
        else:
            file = llama / "tokenizer_config.json"
            listed = [{"name": name, "template": "{{ messages }}"} for name in names]
            file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": listed}))
        tokenizer = transformers.AutoTokenizer.from_pretrained(llama, local_files_only=True)
        message, model = [{"role": "user", "content": "a"}], {"path": str(llama)}
        if "default" in names:
            assert tokenizer.apply_chat_template(message, tokenize=False)
            read(tmp_path, model)
            continue
        with pytest.raises(ValueError, match="no default specified"):
            tokenizer.apply_chat_template(message, tokenize=False)
        with pytest.raises(ConfigError, match="chat templates for rag, tool_use, and no default"):
            read(tmp_path, model)
        read(tmp_path, model, workload={"name": "fixed", "input_tokens": 8})  # no message
        read(tmp_path, model, runtime={"name": "numpy"})  # reads it as plain text


def test_a_template_within_the_settings_of_the_tokenizer(tmp_path: Path, llama: Path) -> None:
    file = llama / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": "{{ messages }}"}))
    assert templates.has_template(llama)


def test_the_result_says_in_what_form_a_text_is_read(llama: Path) -> None:
    text = _text.tokenizer_of(llama)
    assert text is not None
    found = _Reads(llama, 260, random=False)
    assert found.reads() == (
        "chat messages as plain text: it has no template; plain text begins with no special token"
    )
    (llama / "chat_template.jinja").write_text("{{ messages }}")
    assert "in its chat template" in str(_Reads(llama, 260, random=False).reads())


class _Reads(_text.TextModel):
    facts = prefill = step = tokens = logits = synchronise = None  # type: ignore[assignment]


def test_harness_and_worker_know_the_same_tokenizers() -> None:
    assert (*templates.TOKENIZERS, templates.SETTINGS) == _text.TOKENIZERS
    kinds = {one for one in dir(transformers) if one.endswith("Tokenizer")}
    files = {
        one: set(vars(kind).get("vocab_files_names", ())) and set(kind.vocab_files_names.values())
        for one in kinds
        if isinstance(kind := getattr(transformers, one), type)
    }
    unknown = {one for one, names in files.items() if names and not names & set(templates.TOKENIZERS)}
    # Encoder-decoders; the last is there where sentencepiece is installed.
    assert unknown <= {"FSMTTokenizer", "MyT5Tokenizer", "SpeechT5Tokenizer"}


@pytest.mark.parametrize("kind", ["LlamaTokenizer", "GemmaTokenizer", "BertTokenizer", "T5Tokenizer"])
def test_settings_of_a_tokenizer_are_none(tmp_path: Path, llama: Path, kind: str) -> None:
    """transformers makes a tokenizer without words of them, so each text became the same unknown tokens."""
    (llama / "tokenizer.json").unlink()
    (llama / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind}))
    with pytest.raises(ConfigError, match="no tokenizer beside the weights"):
        read(tmp_path, {"path": str(llama)})
    with pytest.raises(VariantFailed, match=f"transformers makes a {kind} without words"):
        _text.tokenizer_of(llama)
    (llama / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ByT5Tokenizer"}))
    read(tmp_path, {"path": str(llama)})
    assert _text.tokenizer_of(llama) is not None


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "_fsdp_wrapped_module."])
def test_the_names_of_a_wrapper(tmp_path: Path, llama: Path, prefix: str) -> None:
    file = llama / "model.safetensors"
    save_file({f"{prefix}{name}": one for name, one in load_file(file).items()}, file)
    with pytest.raises(ConfigError, match=f"all tensors are called {prefix}"):
        read(tmp_path, {"path": str(llama)})


def test_a_head_that_is_not_there(tmp_path: Path, llama: Path) -> None:
    file = llama / "model.safetensors"
    save_file({name: one for name, one in load_file(file).items() if name != "lm_head.weight"}, file)
    for other in ("", "v_head.summary.weight", "qa_outputs.weight"):  # heads that write no tokens
        save_file({**load_file(file), **({other: torch.ones(1)} if other else {})}, file)
        with pytest.raises(ConfigError, match="no tensor is a head"):
            read(tmp_path, {"path": str(llama)})
    config = llama / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "tie_word_embeddings": True}))
    read(tmp_path, {"path": str(llama)})


def test_an_encoder_made_from_a_decoder_needs_no_head(tmp_path: Path, llama: Path) -> None:
    file, config = llama / "model.safetensors", llama / "config.json"
    save_file({name: one for name, one in load_file(file).items() if name != "lm_head.weight"}, file)
    as_classifier = {"architectures": ["LlamaForSequenceClassification"]}
    config.write_text(json.dumps({**json.loads(config.read_text()), **as_classifier}))
    read(tmp_path, {"path": str(llama)})  # its head is called ``score``


@pytest.mark.parametrize(
    ("engine", "architecture", "said"),
    [
        *(("transformers", known, None) for known in ("llama", "qwen2moe", "gpt-oss", "gemma3", "t5encoder")),
        ("transformers", "rwkv6", "reads no GGUF of the architecture rwkv6"),
        ("numpy", "rwkv6", "reads no GGUF of the architecture rwkv6"),
        ("llama-cpp", "x\ny", "architecture x y"),
    ],
)
def test_a_gguf_of_an_architecture_that_cannot_be_converted(
    tmp_path: Path, engine: str, architecture: str, said: str | None
) -> None:
    about = ggufs.text("general.architecture") + struct.pack("<I", 8) + ggufs.text(architecture)
    (tmp_path / "m.gguf").write_bytes(ggufs.gguf(ggufs.WORDS, 1, about=about))
    assert read_header(tmp_path / "m.gguf").architecture == architecture
    assert "llama-cpp-server" not in WITH_TOKENIZER  # it serves the file as it is
    blocks = {"runtime": {"name": engine}, "workload": {"name": "fixed", "input_tokens": 8}}
    if said is None:
        read(tmp_path, {"path": str(tmp_path / "m.gguf")}, **blocks)
        return
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, {"path": str(tmp_path / "m.gguf")}, **blocks)


@pytest.mark.parametrize("kind", [*gguf_architectures.NEEDED, "qwen2", "gpt2", "gemma2", "t5"])
@pytest.mark.parametrize("given", [(), ("bos",), ("eos",), ("bos", "eos"), ("bos", "eos", "padding")])
def test_a_key_without_which_transformers_makes_no_tokenizer(
    tmp_path: Path, kind: str, given: tuple[str, ...]
) -> None:
    """Its converters are asked, with the same keys: they say it in words about their own classes."""
    from transformers.integrations.ggml import GGUF_TO_FAST_CONVERTERS, GGUF_TOKENIZER_MAPPING

    names = {f"tokenizer.{key}": name for key, name in GGUF_TOKENIZER_MAPPING["tokenizer"].items()}
    keys = [f"tokenizer.ggml.{one}_token_id" for one in given]
    held = {"tokens": ["<s>", "</s>", "a", "b", "ab"], "scores": [0.0] * 5, "merges": ["a b"]}
    held |= {names[key]: place for place, key in enumerate(keys)}
    held |= {"tokenizer_type": "gpt2", "unk_token_id": 0}
    try:
        GGUF_TO_FAST_CONVERTERS[kind](held).converted()
        makes_one = True
    except AttributeError:
        makes_one = False
    about = ggufs.text("general.architecture") + struct.pack("<I", 8) + ggufs.text(kind)
    pairs = b"".join(ggufs.text(key) + struct.pack("<II", 4, 0) for key in keys)
    (tmp_path / "m.gguf").write_bytes(ggufs.gguf(pairs + ggufs.WORDS, len(keys) + 1, about=about))
    said = gguf_architectures.why_not_converted(tmp_path / "m.gguf")
    assert (said is None) == makes_one, said
    assert makes_one or "is not in the file, and transformers makes no tokenizer without it" in str(said)


def test_a_gguf_without_words(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(ggufs.gguf())
    with pytest.raises(ConfigError, match=r"tokenizer\.ggml\.tokens is not in the file"):
        read(tmp_path, {"path": str(tmp_path / "m.gguf")})


def test_the_architecture_is_found_wherever_it_stands(tmp_path: Path) -> None:
    """It was looked for as bytes, so a text that quotes a header could stand before it."""
    quoted = ggufs.text("general.architecture") + struct.pack("<I", 8) + ggufs.text("rwkv6")
    note = ggufs.text("general.description") + struct.pack("<IQ", 8, len(quoted)) + quoted
    late = ggufs.text("general.note") + struct.pack("<I", 8) + ggufs.text("x" * 70_000)
    (tmp_path / "m.gguf").write_bytes(ggufs.gguf(late + ggufs.LLAMA, 2, about=note))
    assert read_header(tmp_path / "m.gguf").architecture == "llama"


def test_a_gguf_is_not_judged_without_the_sources_that_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = ggufs.text("general.architecture") + struct.pack("<I", 8) + ggufs.text("rwkv6")
    (tmp_path / "m.gguf").write_bytes(ggufs.gguf(about=about))
    monkeypatch.setattr(gguf_architectures, "_names", frozenset)
    assert gguf_architectures.why_not_converted(tmp_path / "m.gguf") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LlamaForTokenClassification", "neither writes text"),
        ("T5EncoderModel", "the encoder of an encoder-dec"),
    ],
)
def test_a_model_for_something_else(tmp_path: Path, llama: Path, name: str, said: str) -> None:
    config = llama / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "architectures": [name]}))
    with pytest.raises(ConfigError, match=f"{name}.* {said}"):
        read(tmp_path, {"path": str(llama)})


def test_the_context_of_a_directory(tmp_path: Path, llama: Path) -> None:
    config = llama / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 128}))
    with pytest.raises(ConfigError, match="201 tokens in and out do not fit the model's context of 128"):
        read(tmp_path, {"path": str(llama)}, workload={"output_tokens": 200})
    said = "drift.window of 256 does not fit a context of 128"
    assert said in describe(read(tmp_path, {"path": str(llama)}))
    assert said not in describe(read(tmp_path, {"path": str(llama)}, drift={"window": 128}))


def test_the_context_of_a_card(tmp_path: Path) -> None:
    said = "drift.window of 600 does not fit a context of 512"
    assert said in describe(read(tmp_path, "tiny-gemma3", drift={"window": 600}))
    assert said not in describe(read(tmp_path, "tiny-gemma3", drift={"window": 512}))


@pytest.mark.parametrize(
    ("names", "half"),
    [
        (["T5ForConditionalGeneration"], True),
        (["BartForConditionalGeneration"], True),
        (None, True),
        (["BartForCausalLM"], False),  # the half that writes, saved as a model of its own
    ],
)
def test_an_encoder_decoder_is_not_measured_as_half_of_one(
    tmp_path: Path, llama: Path, names: list[str] | None, half: bool
) -> None:
    config = llama / "config.json"
    said = {**json.loads(config.read_text()), "is_encoder_decoder": True}
    del said["architectures"]
    config.write_text(json.dumps({**said, **({"architectures": names} if names else {})}))
    if not half:
        read(tmp_path, {"path": str(llama)})
        return
    with pytest.raises(ConfigError, match="this is an encoder-decoder") as caught:
        read(tmp_path, {"path": str(llama)})
    assert (names or ["an encoder-decoder: "])[0] in str(caught.value)
