"""Ids and decoded texts against the `tokenizers` package and ggml's test pairs."""

import json

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


@pytest.fixture(scope="module", params=["demo", "Qwen3"])
def vectors_and_answers(request, npumoe):
    if request.param == "demo":
        vectors = read_vectors(ROOT / "tests/data/tokenizer/demo.reference.jsonl")
        tokenizer = DEMO
    else:
        folder = request.getfixturevalue("shared_data") / "tokenizers"
        vectors = read_vectors(folder / "Qwen3.vectors.jsonl")
        tokenizer = folder / "Qwen3.tokenizer.json"
    assert len(vectors) >= 100
    return vectors, tokenize(npumoe, tokenizer, [vector["text"] for vector in vectors])


def test_ids_equal_those_of_the_reference(vectors_and_answers):
    assert differences(*vectors_and_answers, "ids") == []


def test_decoded_texts_equal_those_of_the_reference(vectors_and_answers):
    assert differences(*vectors_and_answers, "decoded") == []


def test_ids_equal_those_of_ggml(npumoe, shared_data):
    folder = shared_data / "tokenizers"
    inputs = (folder / "ggml-vocab-qwen2.gguf.inp").read_bytes().decode("utf-8")
    texts = inputs.split(GGML_SEPARATOR)[:-1]  # a separator also ends the last case
    expected = (folder / "ggml-vocab-qwen2.gguf.out").read_text().split("\n")
    answers = tokenize(npumoe, folder / "Qwen3.tokenizer.json", texts)
    assert len(texts) == 46
    for text, line, answer in zip(texts, expected, answers):
        assert answer["ids"] == [int(i) for i in line.split()], repr(text)
