"""Ids and decoded texts against the `tokenizers` package and ggml's test pairs."""

import json
import lzma

import pytest

from conftest import DEMO, ROOT

# How ggml separates the cases of its vocabulary tests.
GGML_SEPARATOR = "\n__ggml_vocab_test__\n"


def tokenize(npumoe, tokenizer, texts):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    answers = npumoe("tokenize", tokenizer, "--jsonl", stdin=lines).rstrip("\n").split("\n")
    assert len(answers) == len(texts)
    return [json.loads(answer) for answer in answers]


def read_vectors(path):
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def differences(vectors, answers, key):
    return [(vector["text"][:60], vector[key], answer[key])
            for vector, answer in zip(vectors, answers) if vector[key] != answer[key]]


# Tokenizers in ../shared/data/tokenizers, with the vectors that belong to each.
SHARED = {
    "Qwen3": "Qwen3.tokenizer.json",
    "gpt-oss": "gpt-oss.tokenizer.json.xz",
    "OLMo": "allenai_gpt-neox-olmo-dolma-v1_5.tokenizer.json",
    "Phi-3": "Phi-3.derived.tokenizer.json",
}

# ggml's pairs of texts and ids, with the tokenizer that gives them.
PAIRS = {
    "ggml-vocab-qwen2.gguf": "Qwen3.tokenizer.json",
    "ggml-vocab-phi-3.gguf": "ggml-vocab-phi-3.gguf",
    "ggml-vocab-gpt-2.gguf": "ggml-vocab-gpt-2.gguf",
    "ggml-vocab-deepseek-llm.gguf": "ggml-vocab-deepseek-llm.gguf",
}


def unpacked(path, folder):
    if path.suffix != ".xz":
        return path
    plain = folder / path.stem
    plain.write_bytes(lzma.decompress(path.read_bytes()))
    return plain


@pytest.fixture(scope="module", params=["demo", *SHARED])
def vectors_and_answers(request, npumoe, tmp_path_factory):
    if request.param == "demo":
        vectors = read_vectors(ROOT / "tests/data/tokenizer/demo.reference.jsonl")
        tokenizer = DEMO
    else:
        folder = request.getfixturevalue("shared_data") / "tokenizers"
        vectors = read_vectors(folder / f"{request.param}.vectors.jsonl")
        tokenizer = unpacked(folder / SHARED[request.param], tmp_path_factory.mktemp("tokenizer"))
    assert len(vectors) >= 160
    return vectors, tokenize(npumoe, tokenizer, [vector["text"] for vector in vectors])


def test_ids_equal_those_of_the_reference(vectors_and_answers):
    assert differences(*vectors_and_answers, "ids") == []


def test_decoded_texts_equal_those_of_the_reference(vectors_and_answers):
    assert differences(*vectors_and_answers, "decoded") == []


@pytest.mark.parametrize("pairs", PAIRS)
def test_ids_equal_those_of_ggml(npumoe, shared_data, pairs):
    folder = shared_data / "tokenizers"
    inputs = (folder / f"{pairs}.inp").read_bytes().decode("utf-8")
    texts = inputs.split(GGML_SEPARATOR)[:-1]  # a separator also ends the last case
    expected = (folder / f"{pairs}.out").read_text().split("\n")
    answers = tokenize(npumoe, folder / PAIRS[pairs], texts)
    assert len(texts) == 46
    for text, line, answer in zip(texts, expected, answers):
        assert answer["ids"] == [int(i) for i in line.split()], repr(text)
