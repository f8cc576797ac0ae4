"""Quantised GGUFs: close to their originals, listed where types fall back, MXFP4 in and out; the peer
engine finds the same perplexity."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from conftest import DEMO, ROOT
from gguf_files import Q, assert_same_bits, dump, read, write_ids


def log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def mean_kl(npumoe, reference, candidate, windows, folder):
    """Mean over all positions of KL(reference || candidate)."""
    total, rows = 0.0, 0
    for window in windows:
        ids = write_ids(folder / "window.ids", window)
        p = log_softmax(dump(npumoe, reference, ids, folder)["logits"])
        q = log_softmax(dump(npumoe, candidate, ids, folder)["logits"])
        total += (np.exp(p) * (p - q)).sum()
        rows += len(p)
    return total / rows


def test_the_demo_model_in_q8_0_stays_close(npumoe, tmp_path):
    text = (DEMO / "held_out_text.txt").read_text(encoding="utf-8")[:8000]
    line = npumoe("tokenize", DEMO, "--jsonl", stdin=json.dumps({"text": text}) + "\n")
    tokens = json.loads(line)["ids"]
    windows = [tokens[i:i + 512] for i in range(0, len(tokens) - 511, 512)]
    assert len(windows) >= 3
    npumoe("convert", DEMO, tmp_path / "q8.gguf", "--type", "q8_0")
    assert mean_kl(npumoe, DEMO, tmp_path / "q8.gguf", windows, tmp_path) < 1e-3


SYNTHETIC = {"model_type": "qwen3_moe", "hidden_size": 256, "num_hidden_layers": 4,
             "vocab_size": 512, "max_position_embeddings": 2048, "num_attention_heads": 4,
             "num_key_value_heads": 4, "head_dim": 64, "num_experts": 8, "num_experts_per_tok": 2,
             "moe_intermediate_size": 256, "intermediate_size": 256, "norm_topk_prob": True,
             "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False,
             "torch_dtype": "float32"}


def write_synthetic(folder):
    """Random weights; every row is a multiple of 256."""
    rng = np.random.default_rng(7)
    h, layers = SYNTHETIC["hidden_size"], SYNTHETIC["num_hidden_layers"]

    def matrix(rows, columns):
        return (rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    t = {"model.embed_tokens.weight": matrix(512, h) * 16, "lm_head.weight": matrix(512, h),
         "model.norm.weight": np.ones(h, np.float32)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            t[f"{prefix}{norm}.weight"] = np.ones(h, np.float32)
        for name in ("q", "k", "v", "o"):
            t[f"{prefix}self_attn.{name}_proj.weight"] = matrix(256, 256)
        for name in ("q", "k"):
            t[f"{prefix}self_attn.{name}_norm.weight"] = np.ones(64, np.float32)
        t[f"{prefix}mlp.gate.weight"] = matrix(8, h)
        for expert in range(8):
            for name in ("gate", "up", "down"):
                t[f"{prefix}mlp.experts.{expert}.{name}_proj.weight"] = matrix(256, 256)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SYNTHETIC))
    save_file(t, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_synthetic_model_in_q4_k_stays_close(npumoe, tmp_path):
    model = write_synthetic(tmp_path / "synthetic")
    report = json.loads(npumoe("convert", model, tmp_path / "q4.gguf", "--type", "q4_k", "--json"))
    assert {(f["weights"], f["used"], f["reason"]) for f in report["fallbacks"]} == {
        (kind, "Q8_0", "embedding and head are kept at 8 bits") for kind in ("embedding", "head")}
    types = {name: t.tensor_type for name, t in read(tmp_path / "q4.gguf").tensors.items()}
    assert types["blk.0.ffn_down_exps.weight"] == Q.Q4_K
    assert types["blk.0.ffn_gate_inp.weight"] == Q.F32
    rng = np.random.default_rng(8)
    windows = [rng.integers(0, 512, 256) for _ in range(2)]
    assert mean_kl(npumoe, model, tmp_path / "q4.gguf", windows, tmp_path) < 5e-2


def test_rows_that_blocks_do_not_divide_fall_back_and_are_listed(npumoe, golden_folder, tmp_path):
    """olmoe: hidden 64 (Q4_0), experts of 40 (F16)."""
    golden = golden_folder("olmoe")
    report = json.loads(npumoe("convert", golden, tmp_path / "q4.gguf", "--type", "q4_k", "--json"))
    used = {f["weights"]: (f["used"], f["tensors"]) for f in report["fallbacks"]}
    layers = json.loads((golden / "config.json").read_text())["num_hidden_layers"]
    assert used["attention q"] == ("Q4_0", layers)
    assert used["experts down"] == ("F16", layers)
    types = {name: t.tensor_type for name, t in read(tmp_path / "q4.gguf").tensors.items()}
    assert types["blk.0.attn_q.weight"] == Q.Q4_0
    assert types["blk.0.ffn_down_exps.weight"] == Q.F16
    shown = json.loads(npumoe("show", tmp_path / "q4.gguf", "--json"))["fallback_types"]
    assert ("experts down: F16 instead of Q4_K: its rows of 40 are no whole number of Q4_K blocks"
            in shown)
    assert "embedding: Q8_0 instead of Q4_K: embedding and head are kept at 8 bits" in shown
    # Both say the same of every kind.
    assert sorted(shown) == sorted(f"{f['weights']}: {f['used']} instead of {f['wanted']}: "
                                   f"{f['reason']}" for f in report["fallbacks"])


def test_blocks_are_made_of_blocks_only_on_request(npumoe, golden_folder, tmp_path):
    golden = golden_folder("qwen3-moe")
    npumoe("convert", golden, tmp_path / "q8.gguf", "--type", "q8_0")
    done = subprocess.run([*program_of(), "convert", tmp_path / "q8.gguf", tmp_path / "q4.gguf",
                           "--type", "q4_0"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "quantised already (Q8_0)" in done.stderr and "--requantize" in done.stderr
    assert not (tmp_path / "q4.gguf").exists()
    npumoe("convert", tmp_path / "q8.gguf", tmp_path / "q4.gguf", "--type", "q4_0", "--requantize")
    twice, q8 = read(tmp_path / "q4.gguf"), read(tmp_path / "q8.gguf")
    assert twice.fields["general.file_type"] == 2
    name = "blk.0.ffn_up_exps.weight"
    assert twice.tensors[name].tensor_type == Q.Q4_0
    # The blocks that a model in F32 with the numbers of the blocks gets.
    npumoe("convert", tmp_path / "q8.gguf", tmp_path / "f32.gguf", "--type", "f32")
    npumoe("convert", tmp_path / "f32.gguf", tmp_path / "once.gguf", "--type", "q4_0")
    once = read(tmp_path / "once.gguf")
    for name, tensor in once.tensors.items():
        assert tensor.data.tobytes() == twice.tensors[name].data.tobytes(), name
    npumoe("convert", tmp_path / "q8.gguf", tmp_path / "kept.gguf", "--type", "keep")
    kept = read(tmp_path / "kept.gguf")
    assert kept.fields["general.file_type"] == q8.fields["general.file_type"] == 7


def program_of():
    return [os.environ.get("NPUMOE", str(ROOT / "build" / "release" / "npumoe"))]


def test_keep_never_widens_blocks(npumoe, golden_folder, tmp_path):
    npumoe("convert", golden_folder("qwen3-moe"), tmp_path / "q8.gguf", "--type", "q8_0")
    done = subprocess.run([*program_of(), "convert", tmp_path / "q8.gguf", tmp_path / "folder",
                           "--type", "keep"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "safetensors cannot hold" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["q8.gguf"]
    report = json.loads(npumoe("convert", tmp_path / "q8.gguf", tmp_path / "folder", "--json"))
    assert {"from": "Q8_0", "to": "BF16"}.items() <= report["lossy"][0].items()


def test_rounding_is_called_lossy(npumoe, golden_folder, tmp_path):
    golden = golden_folder("olmoe")  # F32
    report = json.loads(npumoe("convert", golden, tmp_path / "m.gguf", "--json"))
    assert report["lossy"] == []
    for type_name in ("f16", "bf16"):
        out = tmp_path / f"{type_name}.gguf"
        report = json.loads(npumoe("convert", golden, out, "--type", type_name, "--json"))
        assert [(c["from"], c["to"]) for c in report["lossy"]] == [("F32", type_name.upper())]
    report = json.loads(npumoe("convert", tmp_path / "bf16.gguf", tmp_path / "f32.gguf",
                               "--type", "f32", "--json"))
    assert report["lossy"] == []


def write_mxfp4(golden, folder):
    """The gpt-oss golden with its experts as published files have them: MXFP4 blocks and scales."""
    rng = np.random.default_rng(9)
    config = json.loads((golden / "config.json").read_text())
    tensors = {}
    with open(golden / "model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        if name.endswith(("gate_up_proj", "down_proj")):
            experts, columns, rows = entry["shape"]
            blocks = rng.integers(0, 256, (experts, rows, columns // 32, 16), np.uint8)
            scales = rng.integers(118, 124, (experts, rows, columns // 32), np.uint8)
            tensors[f"{name}_blocks"], tensors[f"{name}_scales"] = ("U8", blocks), ("U8", scales)
        else:
            raw = np.frombuffer(data[begin:end], np.uint8)
            tensors[name] = (entry["dtype"], raw.reshape(*entry["shape"], -1))
    config["quantization_config"] = {"quant_method": "mxfp4"}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    out, blob = {}, b""
    for name, (dtype, array) in sorted(tensors.items(), key=lambda item: item[1][0]):
        shape = list(array.shape) if dtype == "U8" else list(array.shape[:-1])
        out[name] = {"dtype": dtype, "shape": shape,
                     "data_offsets": [len(blob), len(blob) + array.nbytes]}
        blob += array.tobytes()
    text = json.dumps(out).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + blob)
    return folder


# The values of E2M1, in the order of their codes.
E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def test_mxfp4_of_gpt_oss_becomes_mxfp4_and_comes_back(npumoe, golden_folder, tmp_path):
    folder = write_mxfp4(golden_folder("gpt-oss"), tmp_path / "mxfp4")
    ids = write_ids(tmp_path / "ids", range(3, 43))
    npumoe("convert", folder, tmp_path / "m.gguf")
    tensors = load_file_raw(folder / "model.safetensors")
    blocks = tensors["model.layers.0.mlp.experts.gate_up_proj_blocks"]
    scales = tensors["model.layers.0.mlp.experts.gate_up_proj_scales"]
    nibbles = np.stack([blocks & 15, blocks >> 4], axis=-1).reshape(*blocks.shape[:3], 32)
    values = E2M1[nibbles] * np.exp2(scales.astype(np.float32) - 127)[..., None]
    values = values.reshape(*values.shape[:2], -1)
    written = read(tmp_path / "m.gguf")
    for name, rows in (("gate", values[:, ::2]), ("up", values[:, 1::2])):
        assert written.tensors[f"blk.0.ffn_{name}_exps.weight"].tensor_type == Q.MXFP4
        np.testing.assert_array_equal(written.values(f"blk.0.ffn_{name}_exps.weight"), rows)
    want = dump(npumoe, folder, ids, tmp_path)
    assert_same_bits(dump(npumoe, tmp_path / "m.gguf", ids, tmp_path), want)
    npumoe("convert", tmp_path / "m.gguf", tmp_path / "back")
    back = load_file_raw(tmp_path / "back" / "model.safetensors")
    for name in tensors:
        if name.endswith(("_blocks", "_scales")):
            np.testing.assert_array_equal(back[name], tensors[name], err_msg=name)
    assert_same_bits(dump(npumoe, tmp_path / "back", ids, tmp_path), want)
    # As published: MXFP4 stays where other matrices get blocks, and alone it is no conversion.
    report = json.loads(npumoe("convert", folder, tmp_path / "q8.gguf", "--type", "q8_0", "--json"))
    assert {f["weights"]: f["used"] for f in report["fallbacks"]}["experts gate"] == "MXFP4"
    assert {"from": "MXFP4", "to": "Q8_0"} not in [
        {"from": c["from"], "to": c["to"]} for c in report["lossy"]]


def load_file_raw(path):
    """The U8 tensors of a safetensors file (numpy knows no BF16)."""
    raw = Path(path).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + length])
    data = np.frombuffer(raw, np.uint8, offset=8 + length)
    return {name: data[slice(*entry["data_offsets"])].reshape(entry["shape"])
            for name, entry in header.items()
            if name != "__metadata__" and entry["dtype"] == "U8"}


def test_the_peer_engine_finds_the_same_perplexity(npumoe, shared_data, tmp_path):
    """NPUMOE_PEER: llama-perplexity of a llama.cpp or ik_llama.cpp."""
    peer = os.environ.get("NPUMOE_PEER")
    if not peer:
        pytest.skip("NPUMOE_PEER names no llama-perplexity")
    text = shared_data / "haystack" / "frankenstein.txt"
    npumoe("convert", DEMO, tmp_path / "q8.gguf", "--type", "q8_0")
    ours = json.loads(npumoe("perplexity", tmp_path / "q8.gguf", "-f", text, "-c", 512, "--json"))
    libraries = {**os.environ, "LD_LIBRARY_PATH": str(Path(peer).parent)}
    done = subprocess.run([peer, "-m", tmp_path / "q8.gguf", "-f", text, "-c", "512"],
                          capture_output=True, text=True, timeout=600, check=True, env=libraries,
                          stdin=subprocess.DEVNULL, cwd=tmp_path)  # it leaves a log where it runs
    line = next(l for l in (done.stdout + done.stderr).splitlines() if "Final estimate" in l)
    theirs = float(line.split("=")[-1].split("+/-")[0])
    assert abs(theirs / ours["perplexity"] - 1) < 0.005
