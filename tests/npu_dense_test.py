"""Attention and the vocabulary head beside the experts on the emulated NPU: long prompts, the CPU's
text, small KL, nothing lost."""

import json
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conftest import DEMO

DENSE = ("--npu-attention", "on", "--npu-head", "on")


def prepare(npumoe, model, folder, chunk, tokens, calibrate):
    """Options of a plan with attention and head in programs, and the plan itself."""
    calibration, plan = folder / "calib.json", folder / "plan.json"
    npumoe("calibrate", model, *calibrate, "-o", calibration)
    npumoe("plan", model, "--calibration", calibration, "--min-npu-share", 0.9, "--chunk", chunk,
           "--prompt-tokens", tokens, *DENSE, "-o", plan)
    npumoe("compile", model, "--plan", plan, "--cache", folder / "cache")
    return ("--plan", plan, "--cache", folder / "cache"), json.loads(plan.read_text())


def launches(report, kind):
    return sum(p["launches"] for p in report["placement"]["programs"] if p["kind"] == kind)


TOKENS = 3500


@pytest.fixture(scope="module")
def demo(npumoe, tmp_path_factory):
    return prepare(npumoe, DEMO, tmp_path_factory.mktemp("demo"), 512, TOKENS,
                   ("--data", DEMO / "calibration_sample.txt", "--max-tokens", 16384))


@pytest.fixture(scope="module")
def prompt(npumoe, tmp_path_factory):
    """3,500 tokens of held-out text."""
    text = json.dumps({"text": (DEMO / "held_out_text.txt").read_text()})
    ids = json.loads(npumoe("tokenize", DEMO, "--jsonl", stdin=text))["ids"][:TOKENS]
    assert len(ids) == TOKENS
    path = tmp_path_factory.mktemp("prompt") / "prompt.ids"
    path.write_text(" ".join(map(str, ids)))
    return path


def test_a_long_prompt_gets_the_text_of_the_cpu(npumoe, demo, prompt):
    options, plan = demo
    assert plan["attention"]["layers"] == [0, 1, 2, 3]
    assert plan["attention"]["history_tokens"] == [0, 512, 1024, 2048, 3072]
    question = ("run", DEMO, "--ids-file", prompt, "-n", 24, "--temp", 0, "--json")
    cpu = json.loads(npumoe(*question))
    npu = json.loads(npumoe(*question, *options, "--require-npu"))
    assert npu["ids"] == cpu["ids"]
    assert npu["text"] == cpu["text"]
    assert npu["dispatch"]["dropped_rows"] == 0
    assert launches(npu, "attention") == 4 * 7  # layers, chunks
    assert launches(npu, "head") == 1


def test_its_logits_are_close_to_those_of_the_cpu(npumoe, demo, prompt):
    options, _ = demo
    report = json.loads(npumoe(
        "perplexity", DEMO, "--ids-file", prompt, "-c", TOKENS, "--chunks", 1, *options,
        "--kl-against", "cpu", "--require-npu", "--json"))
    assert report["rows"] == TOKENS
    assert report["mean_kl"] < 1e-3
    assert report["executed"] == report["recounted"]
    assert report["executed"]["dropped_rows"] == 0


def test_verify_lists_attention_and_head_with_their_errors(npumoe, demo):
    options, _ = demo
    report = json.loads(npumoe("verify", DEMO, *options, "--data", DEMO / "held_out_text.txt",
                               "--tokens", 1024, "--json"))
    numeric = {(v["kind"], v["layer"]): v for v in report["numeric"]}
    for layer in range(4):
        assert numeric["attention", layer]["passed"] and numeric["attention", layer]["rows"] > 0
        assert 0 < numeric["attention", layer]["error"] < 4e-2
    assert numeric["head", 0]["passed"] and numeric["head", 0]["rows"] > 0
    table = npumoe("verify", DEMO, *options, "--data", DEMO / "held_out_text.txt", "--tokens", 1024)
    assert "attention" in table and "head" in table


# Every fault in launches of attention (functions history_N and main) and of the head.
FAULTS = {"nan": "numeric", "overflow": "numeric", "hang": "deadline", "lost": "launch",
          "refuse-unsupported": "launch", "wrong": "check"}


@pytest.fixture(scope="module")
def short(npumoe, tmp_path_factory):
    """A prefill of the needle question in chunks of 256 and its undisturbed ids."""
    folder = tmp_path_factory.mktemp("short")
    options, _ = prepare(npumoe, DEMO, folder, 256, 1024,
                         ("--data", DEMO / "calibration_sample.txt", "--max-tokens", 8192))
    question = ("run", DEMO, "-f", DEMO / "needle_question.txt", "-n", 8, "--temp", 0, "--json",
                "--launch-timeout-ms", 500, *options)
    undisturbed = json.loads(npumoe(*question, "--require-npu"))
    launched = sum(p["launches"] for p in undisturbed["placement"]["programs"])
    return question, undisturbed["ids"], launched


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("when", ["first", "middle", "last"])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_changes_the_answer(npumoe, short, fault, when, workers):
    """With experts, attention and head in programs; launches of all kinds are hit."""
    question, ids, launched = short
    at = "launch=first" if when == "first" else f"launch={when}/{launched}"
    report = json.loads(npumoe(*question, "--npu-workers", workers, "--npu-faults",
                               f"{fault} @ {at}"))
    assert report["ids"] == ids
    events = [d for p in report["placement"]["programs"] for d in p["degradations"]]
    health = report["placement"]["health"]
    assert any(d["what"].endswith(FAULTS[fault]) for d in events) or health["restarts"] > 0
    if any(d["what"] != "placement" for d in events):
        assert report["placement"]["degraded_rows"] > 0


def test_a_device_that_hangs_is_given_up_soon(npumoe, short):
    question, ids, _ = short
    begin = time.monotonic()
    report = json.loads(npumoe(*question, "--npu-workers", 0, "--npu-faults", "hang @ launch=any"))
    assert report["ids"] == ids
    assert time.monotonic() - begin < 8 * 0.5 + 5  # deadlines of half a second, and the CPU's work
    assert all(not p["in_service"] for p in report["placement"]["programs"])


@pytest.mark.parametrize("name", ["deepseek-v2", "deepseek-v2-yarn", "mixtral", "granite-moe"])
def test_latents_and_pairs_side_by_side_stay_close(npumoe, golden_folder, name, tmp_path):
    """DeepSeek's cache holds latents; in a GGUF of Llama's kind the pairs that turn are neighbours.
    A token whose routing fp16 tips is another computation."""
    model = golden_folder(name)
    tokens = load_file(model / "expected.safetensors")["long.ids"]
    ids = tmp_path / "long.ids"
    ids.write_text(" ".join(map(str, tokens)))
    if not name.startswith("deepseek"):
        npumoe("convert", model, tmp_path / "model.gguf")
        model = tmp_path / "model.gguf"
    options, plan = prepare(npumoe, model, tmp_path, 64, len(tokens), ("--ids-file", ids))
    assert plan["attention"]["history_tokens"] == [0, 64, 128, 192]
    report = json.loads(npumoe("perplexity", model, "--ids-file", ids, "-c", len(tokens), *options,
                               "--kl-against", "cpu", "--require-npu", "--json"))
    assert report["executed"] == report["recounted"]
    assert report["executed"]["dropped_rows"] == 0
    assert report["mean_kl_same_routing"] < 1e-3


LONG = {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 128,
        "num_hidden_layers": 2, "vocab_size": 512, "max_position_embeddings": 16384,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "num_experts": 8,
        "num_experts_per_tok": 2, "moe_intermediate_size": 64, "intermediate_size": 64,
        "norm_topk_prob": True, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
        "tie_word_embeddings": False, "torch_dtype": "float32"}
LONG_TOKENS = 8192


def write_long_model(folder):
    """Random weights. Values and outputs are scaled so that the residual keeps its size."""
    rng = np.random.default_rng(11)
    hidden, heads, kv, dim = 128, 4, 2, 32

    def matrix(rows, columns):
        return (rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    def ones(size):
        return np.ones(size, np.float32)

    t = {"model.embed_tokens.weight": matrix(512, hidden) * 8, "lm_head.weight": matrix(512, hidden),
         "model.norm.weight": ones(hidden)}
    for layer in range(LONG["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            t[f"{prefix}{norm}.weight"] = ones(hidden)
        for name, rows in (("q", heads * dim), ("k", kv * dim), ("v", kv * dim)):
            t[f"{prefix}self_attn.{name}_proj.weight"] = matrix(rows, hidden)
        t[f"{prefix}self_attn.o_proj.weight"] = matrix(hidden, heads * dim)
        for name in ("q", "k"):
            t[f"{prefix}self_attn.{name}_norm.weight"] = ones(dim)
        t[f"{prefix}mlp.gate.weight"] = matrix(8, hidden)
        for expert in range(8):
            for name, shape in (("gate", (64, hidden)), ("up", (64, hidden)), ("down", (hidden, 64))):
                t[f"{prefix}mlp.experts.{expert}.{name}_proj.weight"] = matrix(*shape)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LONG))
    save_file(t, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_eight_thousand_tokens_of_a_synthetic_model_stay_close(npumoe, tmp_path):
    model = write_long_model(tmp_path / "model")
    ids = tmp_path / "prompt.ids"
    ids.write_text(" ".join(map(str, np.random.default_rng(12).integers(0, 512, LONG_TOKENS))))
    options, plan = prepare(npumoe, model, tmp_path, 1024, LONG_TOKENS, ("--ids-file", ids))
    assert plan["attention"]["history_tokens"] == [0, 1024, 2048, 4096, 7168]
    report = json.loads(npumoe(
        "perplexity", model, "--ids-file", ids, "-c", LONG_TOKENS, "--chunks", 1, *options,
        "--kl-against", "cpu", "--require-npu", "--json"))
    assert report["rows"] == LONG_TOKENS
    assert report["mean_kl"] < 1e-3
    assert report["executed"] == report["recounted"]
    assert report["executed"]["dropped_rows"] == 0
