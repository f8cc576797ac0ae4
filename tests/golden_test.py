"""The CPU path against Hugging Face transformers: fourteen tiny models of eight families."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from conftest import GOLDEN_NAMES

GREEDY = 30
RUNS = [(chunk, threads) for chunk in (1, 7, 64, 512) for threads in (1, 2)]


@pytest.fixture(scope="module", params=GOLDEN_NAMES)
def golden(request, golden_folder):
    return golden_folder(request.param)


@pytest.fixture(scope="module")
def expected(golden):
    return load_file(golden / "expected.safetensors")


@pytest.fixture(scope="module", params=RUNS, ids=lambda r: f"chunk{r[0]}-threads{r[1]}")
def dumps(request, npumoe, golden, expected, tmp_path_factory):
    """prompt -> tensors of `npumoe dump` with one chunk length and thread count."""
    chunk, threads = request.param
    folder = tmp_path_factory.mktemp("dump")
    result = {}
    for prompt in ("short", "long"):
        ids = folder / f"{prompt}.ids"
        ids.write_text(" ".join(map(str, expected[f"{prompt}.ids"])))
        out = folder / f"{prompt}.safetensors"
        greedy = ["--greedy", GREEDY] if prompt == "short" else []
        npumoe("dump", golden, "--ids-file", ids, "--out", out, "--chunk", chunk, "-t", threads,
               *greedy)
        result[prompt] = load_file(out)
    return result


def expected_of(expected, prompt, kind):
    """name in the dump -> expected tensor, for names that start with `kind`."""
    prefix = f"{prompt}."
    found = {name[len(prefix):]: tensor for name, tensor in expected.items()
             if name.startswith(prefix + kind)}
    assert found, f"no {prefix}{kind} in expected.safetensors"
    return found


def log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def routing_of(golden, expected, prompt):
    """layer name -> (ids, weights) of the reference, the larger weight first.

    DeepSeek's reference leaves the choices of a token in no order.
    """
    unordered = golden.name.startswith("deepseek")
    routing = {}
    for name, ids in expected_of(expected, prompt, "router.").items():
        if not name.endswith(".ids"):
            continue
        layer = name[:-len(".ids")]
        weights = expected[f"{prompt}.{layer}.weights"]
        if unordered:
            order = np.argsort(-weights, axis=-1, kind="stable")
            ids = np.take_along_axis(ids, order, axis=-1)
            weights = np.take_along_axis(weights, order, axis=-1)
        routing[layer] = (ids, weights)
    return routing


@pytest.mark.parametrize("prompt", ["short", "long"])
def test_chooses_the_same_experts(dumps, golden, expected, prompt):
    for layer, (want, _) in routing_of(golden, expected, prompt).items():
        np.testing.assert_array_equal(dumps[prompt][f"{layer}.ids"], want, err_msg=layer)


@pytest.mark.parametrize("prompt", ["short", "long"])
def test_weighs_the_experts_alike(dumps, golden, expected, prompt):
    for layer, (_, want) in routing_of(golden, expected, prompt).items():
        np.testing.assert_allclose(dumps[prompt][f"{layer}.weights"], want, rtol=0, atol=1e-5,
                                   err_msg=layer)


@pytest.mark.parametrize("prompt", ["short", "long"])
def test_gives_the_same_logits(dumps, expected, prompt):
    want = expected[f"{prompt}.logits"]
    got = dumps[prompt]["logits"]
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


@pytest.mark.parametrize("prompt", ["short", "long"])
def test_gives_the_same_distribution(dumps, expected, prompt):
    want = log_softmax(expected[f"{prompt}.logits"])
    got = log_softmax(dumps[prompt]["logits"])
    assert (np.exp(want) * (want - got)).sum(axis=-1).mean() < 1e-8


def test_has_the_same_hidden_state_after_every_layer(dumps, expected):
    for name, want in expected_of(expected, "short", "hidden.").items():
        got = dumps["short"][name]
        assert got.shape == want.shape, name
        assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max(), name


def test_continues_greedily_with_the_same_tokens(dumps, expected):
    np.testing.assert_array_equal(dumps["short"]["greedy"], expected["short.greedy"])


def test_dumps_a_router_for_moe_layers_only(dumps, expected):
    want = {name for name in expected_of(expected, "long", "router.")}
    assert {name for name in dumps["long"] if name.startswith("router.")} == want
