"""The outputs of two encoders compared: cosines, ranks and labels, and the texts they are compared on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from bench.drift import encoded, retrieval
from bench.drift.retrieval import TextSet
from bench.errors import UsageError, VariantFailed
from bench.measure.replies import check_encodings
from bench.records import Encodings

RNG = np.random.default_rng(4)


def rows(values: np.ndarray) -> Encodings:
    return Encodings(tuple(map(tuple, values.tolist())))


@pytest.mark.parametrize("levels", [1000, 5, 2])
def test_spearman_is_that_of_scipy_with_ties(levels: int) -> None:
    for _ in range(20):
        one, other = (RNG.integers(0, levels, 40).astype(float) for _ in range(2))
        assert encoded.spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)


def test_spearman_of_equals() -> None:
    assert encoded.spearman([1.0, 1.0], [3.0, 3.0]) == 1
    assert encoded.spearman([1.0, 1.0], [3.0, 4.0]) == 0


@pytest.mark.parametrize("similarity", sorted(encoded.SIMILARITIES))
def test_documents_are_ranked_by_the_models_own_similarity(similarity: str) -> None:
    """The lengths of vectors count for a model whose vectors are compared by their dot product."""
    queries, documents = 6, 20
    base = RNG.normal(size=(queries + documents, 8)) * RNG.uniform(0.2, 5, size=(queries + documents, 1))
    variant = base + 0.2 * RNG.normal(size=base.shape)
    texts = TextSet("mine", ("q",) * queries, tuple(map(str, range(documents))), (0,) * queries)
    sides = [replace(rows(side), similarity=similarity) for side in (base, variant)]
    found = encoded.embedded(texts, *sides)

    def alike(vectors: np.ndarray) -> np.ndarray:
        asked, held = vectors[:queries], vectors[queries:]
        if similarity in ("euclidean", "manhattan"):
            metric = "cityblock" if similarity == "manhattan" else similarity
            return np.asarray(-distance.cdist(asked, held, metric))
        lengths = np.linalg.norm(vectors, axis=1) if similarity == "cosine" else np.ones(len(vectors))
        return np.asarray((asked @ held.T) / np.outer(lengths[:queries], lengths[queries:]))

    before, after = alike(base), alike(variant)
    wanted = [stats.spearmanr(*pair).statistic for pair in zip(before, after, strict=True)]
    assert found.rank_correlations == pytest.approx(wanted)
    assert found.found_after == tuple(after.argmax(1) == 0)
    assert found.found_before == tuple(before.argmax(1) == 0)


def test_no_other_similarity_is_taken_from_a_worker() -> None:
    with pytest.raises(VariantFailed, match="no two vectors are compared by 'hers'"):
        check_encodings(Encodings(((1.0,),), similarity="hers"), 1)


@pytest.mark.parametrize("width", [16, 8])
def test_cosines_and_rankings_are_those_of_numpy(width: int) -> None:
    """Vectors of another length have no cosine to the baseline's, and rank documents all the same."""
    queries, documents = 10, 30
    base = RNG.normal(size=(queries + documents, 16))
    variant = (base + 0.3 * RNG.normal(size=base.shape))[:, :width]
    right = tuple(range(5, 15))
    texts = TextSet("mine", ("q",) * queries, tuple(map(str, range(documents))), right)
    found = encoded.embedded(texts, rows(base), rows(variant))

    def ranked(vectors: np.ndarray) -> np.ndarray:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(unit[:queries] @ unit[queries:].T)

    before, after = ranked(base), ranked(variant)
    wanted = [stats.spearmanr(*pair).statistic for pair in zip(before, after, strict=True)]
    assert found.rank_correlations == pytest.approx(wanted)
    assert found.same_first == tuple(before.argmax(1) == after.argmax(1))
    assert found.found_after == tuple(after.argmax(1) == np.array(right))
    assert found.found_before == tuple(before.argmax(1) == np.array(right))
    if width == 16:
        lengths = np.linalg.norm(base, axis=1) * np.linalg.norm(variant, axis=1)
        assert found.cosines == pytest.approx((base * variant).sum(1) / lengths)
    else:
        assert found.cosines == ()


def test_many_queries_are_thinned_out_evenly() -> None:
    count = 2 * retrieval.MOST_RANKED
    vectors = RNG.normal(size=(count + 3, 4))
    texts = TextSet("mine", ("q",) * count, ("a", "b", "c"), tuple(n % 3 for n in range(count)))
    found = encoded.embedded(texts, rows(vectors), rows(vectors))
    assert len(found.same_first) == retrieval.MOST_RANKED
    assert all(found.same_first)
    assert set(found.rank_correlations) == {1.0}
    assert len(found.cosines) == count + 3


def test_labels_by_name_and_by_number() -> None:
    names = ("bad", "good")
    base, variant = (
        Encodings(values, labels=names) for values in (((2.0, 1.0), (0.0, 3.0)), ((0.0, 1.0), (0.0, 1.0)))
    )
    found = encoded.labelled(TextSet("mine", documents=("a", "b"), labels=("bad", 1)), base, variant)
    assert (found.labels_before, found.labels_after, found.right_labels) == ((0, 1), (1, 1), (0, 1))
    with pytest.raises(ValueError, match="'awful' is none of the model's \\(bad, good\\)"):
        encoded.labelled(TextSet("mine", documents=("a",), labels=("awful",)), base, variant)
    with pytest.raises(ValueError, match="its labels differ from the baseline's"):
        encoded.labelled(TextSet("mine"), base, Encodings(variant.outputs, labels=("x", "y")))
    score = Encodings(((2.0,), (-3.0,)), labels=("LABEL_0",))
    with pytest.raises(ValueError, match=r"its one output is a score, .* single texts, and no pairs"):
        encoded.labelled(TextSet("mine"), score, score)


# ---- texts ---------------------------------------------------------------------------------------


def test_the_docstrings_give_pairs_of_query_and_document() -> None:
    found = retrieval.set_for("embedding", None)
    assert len(found.queries) == len(found.documents) == retrieval.PAIRS
    assert len(set(found.texts)) == 2 * retrieval.PAIRS
    assert found.right == tuple(range(retrieval.PAIRS))
    assert retrieval.set_for("classification", None).documents == found.texts


def write(path: Path, *lines: object) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_queries_of_a_file_may_share_a_document(tmp_path: Path) -> None:
    lines = [{"query": query, "document": text} for query, text in (("a", "x"), ("b", "y"), ("c", "x"))]
    found = retrieval.set_for("embedding", write(tmp_path / "mine.jsonl", *lines))
    assert (found.queries, found.documents, found.right) == (("a", "b", "c"), ("x", "y"), (0, 1, 0))
    assert found.digest != retrieval.set_for("embedding", write(tmp_path / "mine.jsonl", *lines[:2])).digest


@pytest.mark.parametrize(
    ("task", "lines", "words"),
    [
        ("embedding", [{"query": "a"}], ":1: needs document, a text"),
        ("embedding", [["a", "b"]], ":1: needs query, a text"),
        ("embedding", [{"query": "a", "document": "b"}], "has 1 pairs"),
        ("classification", [{"text": " "}], ":1: needs text"),
        ("classification", [{"text": "a", "label": 1}, {"text": "b"}], "1 of 2 texts have a label"),
        ("classification", [{"text": "a", "label": 1.5}], ":1: label must be the name"),
        ("classification", [], "holds no text"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, task: str, lines: list[object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        retrieval.set_for(task, write(tmp_path / "mine.jsonl", *lines))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        retrieval.set_for("embedding", str(tmp_path / "nowhere.jsonl"))


@pytest.mark.parametrize("task", ["embedding", "classification"])
def test_a_file_of_texts_has_a_bound(tmp_path: Path, task: str) -> None:
    """All of it is kept: five gigabytes once."""
    with (tmp_path / "mine.jsonl").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(UsageError, match=r"mine\.jsonl: is larger than 64 MiB"):
        retrieval.set_for(task, str(tmp_path / "mine.jsonl"))
