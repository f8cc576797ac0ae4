"""`npumoe convert`: what it keeps, what it refuses, what it leaves behind, how much memory it takes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conftest import DEMO, ROOT
from gguf_files import copy_with_package, read


def test_keeps_tokenizer_template_and_end_tokens(npumoe, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / file).symlink_to(DEMO / file)
    tokenizer_config = json.loads((DEMO / "tokenizer_config.json").read_text())
    template = "{{ messages }}"
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**tokenizer_config, "chat_template": template}))
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 5], "temperature": 0.5}')
    npumoe("convert", folder, tmp_path / "m.gguf", "--type", "q8_0")
    assert read(tmp_path / "m.gguf").fields["tokenizer.chat_template"] == template
    npumoe("convert", tmp_path / "m.gguf", tmp_path / "back")
    back = tmp_path / "back"
    assert (back / "tokenizer.json").read_bytes() == (DEMO / "tokenizer.json").read_bytes()
    assert json.loads((back / "tokenizer_config.json").read_text())["chat_template"] == template
    assert json.loads((back / "generation_config.json").read_text()) == {
        "eos_token_id": [1, 5], "temperature": 0.5}
    text = "The monster spoke: \u00e9\u4e2d\U0001f600 1234"
    want = npumoe("tokenize", DEMO, text, "--json")
    assert npumoe("tokenize", tmp_path / "m.gguf", text, "--json") == want
    assert npumoe("tokenize", back, text, "--json") == want


def test_tokens_are_the_same_without_the_embedded_tokenizer_json(npumoe, tmp_path):
    """From tokenizer.ggml.*, as other engines read them."""
    npumoe("convert", DEMO, tmp_path / "m.gguf")
    copy_with_package(tmp_path / "m.gguf", tmp_path / "ggml.gguf",
                      keep_key=lambda key: key != "tokenizer.huggingface.json")
    text = (DEMO / "held_out_text.txt").read_text(encoding="utf-8")[:20000]
    line = json.dumps({"text": text}) + "\n"
    want = npumoe("tokenize", DEMO, "--jsonl", stdin=line)
    assert npumoe("tokenize", tmp_path / "ggml.gguf", "--jsonl", stdin=line) == want


def test_runs_a_gguf_without_tokenizer(npumoe, golden_folder, tmp_path):
    golden = golden_folder("qwen3-moe")
    npumoe("convert", golden, tmp_path / "m.gguf")
    shown = json.loads(npumoe("show", tmp_path / "m.gguf", "--json"))
    assert shown["tokenizer"] == "none"
    assert shown["family"] == "qwen3_moe"


def test_a_folder_with_one_gguf_is_that_model(npumoe, golden_folder, tmp_path):
    npumoe("convert", golden_folder("qwen3-moe"), tmp_path / "m.gguf")
    assert npumoe("show", tmp_path, "--json") == npumoe("show", tmp_path / "m.gguf", "--json")


@pytest.fixture(scope="session")
def program():
    return Path(os.environ.get("NPUMOE", ROOT / "build" / "release" / "npumoe"))


def fails(program, *arguments):
    done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True,
                          timeout=600, check=False)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    return done.stderr


def test_replaces_nothing_without_force(npumoe, program, golden_folder, tmp_path):
    golden = golden_folder("qwen3-moe")
    out = tmp_path / "m.gguf"
    out.write_text("precious")
    assert "--force" in fails(program, "convert", golden, out)
    assert out.read_text() == "precious"
    npumoe("convert", golden, out, "--force")
    npumoe("convert", out, tmp_path / "folder")
    assert "--force" in fails(program, "convert", out, tmp_path / "folder")
    npumoe("convert", out, tmp_path / "folder", "--force")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "m.gguf"]


def test_never_replaces_what_it_reads(npumoe, program, golden_folder, tmp_path):
    npumoe("convert", golden_folder("qwen3-moe"), tmp_path / "m.gguf")
    before = (tmp_path / "m.gguf").read_bytes()
    fails(program, "convert", tmp_path / "m.gguf", tmp_path, "--force")
    fails(program, "convert", tmp_path / "m.gguf", tmp_path / "m.gguf", "--force")
    assert (tmp_path / "m.gguf").read_bytes() == before


def test_force_never_removes_files_of_others(npumoe, program, golden_folder, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("precious")
    assert "notes.txt" in fails(program, "convert", golden_folder("qwen3-moe"), folder, "--force")
    assert (folder / "notes.txt").read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_replaces_the_folder_that_a_link_names(npumoe, golden_folder, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    npumoe("convert", golden_folder("qwen3-moe"), tmp_path / "link", "--force")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "model.safetensors").is_file()


def test_never_replaces_another_part_of_the_split_that_it_reads(program, golden_folder, tmp_path):
    first = tmp_path / "m-00001-of-00002.gguf"
    second = tmp_path / "m-00002-of-00002.gguf"
    for part in (first, second):
        part.write_text("a part")
    assert "a part of it" in fails(program, "convert", first, second, "--force")
    assert second.read_text() == "a part"


def test_an_interrupt_leaves_nothing_behind(program, tmp_path):
    out = tmp_path / "m.gguf"
    with subprocess.Popen([str(program), "convert", str(DEMO), str(out), "--type", "q4_k"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.iterdir()) and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        message = process.communicate(timeout=60)[1]
    assert process.returncode == 130, message
    assert "interrupted" in message
    assert not list(tmp_path.iterdir())


def test_leaves_nothing_behind_when_it_fails(program, golden_folder, tmp_path):
    """A weight that F16 cannot hold ends the conversion in its middle."""
    golden = golden_folder("olmoe")
    tensors = load_file(golden / "model.safetensors")
    tensors["model.layers.2.mlp.experts.15.down_proj.weight"] = np.full((64, 40), 1e6, np.float32)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_bytes((golden / "config.json").read_bytes())
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    message = fails(program, "convert", model, tmp_path / "m.gguf", "--type", "f16")
    assert "blk.2.ffn_down_exps.weight" in message and "bf16" in message
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_metadata_that_contradicts_the_tensors_is_an_error(npumoe, program, golden_folder, tmp_path):
    npumoe("convert", golden_folder("qwen3-moe"), tmp_path / "m.gguf")
    wrong = {"qwen3moe.expert_count": 15, "qwen3moe.embedding_length": 128,
             "qwen3moe.block_count": 2, "qwen3moe.vocab_size": 100,
             "qwen3moe.attention.head_count": 2, "qwen3moe.expert_used_count": 99}
    for key, value in wrong.items():
        copy_with_package(tmp_path / "m.gguf", tmp_path / "wrong.gguf",
                          keep_key=lambda name, key=key: name != key,
                          change=lambda writer, name, tensor, key=key, value=value:
                          name == "token_embd.weight" and writer.add_uint32(key, value))
        assert "wrong.gguf" in fails(program, "show", tmp_path / "wrong.gguf"), key


def test_a_tensor_that_is_missing_is_named(npumoe, program, golden_folder, tmp_path):
    npumoe("convert", golden_folder("qwen3-moe"), tmp_path / "m.gguf")
    copy_with_package(tmp_path / "m.gguf", tmp_path / "less.gguf",
                      change=lambda writer, name, tensor: name == "blk.1.ffn_up_exps.weight")
    assert "'blk.1.ffn_up_exps.weight'" in fails(program, "show", tmp_path / "less.gguf")


def test_a_missing_part_is_named(npumoe, program, golden_folder, tmp_path):
    npumoe("convert", golden_folder("qwen3-moe"), tmp_path / "whole.gguf")
    copy_with_package(tmp_path / "whole.gguf", tmp_path / "part.gguf", max_tensors=20)
    parts = sorted(tmp_path.glob("part-*.gguf"))
    parts[1].unlink()
    assert parts[1].name in fails(program, "show", parts[0])


LIMITED = """
import resource, subprocess, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
sys.exit(subprocess.run(sys.argv[2:]).returncode)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mapped memory on Linux only")
def test_converts_with_less_memory_than_two_layers(program, golden_folder, tmp_path):
    """A gpt-oss of six layers of 50 MB, whose fused experts cannot be read in place."""
    config = json.loads((golden_folder("gpt-oss") / "config.json").read_text())
    layers, experts, hidden = 6, 16, 704
    config.update(num_hidden_layers=layers, num_local_experts=experts, hidden_size=hidden,
                  intermediate_size=hidden, num_attention_heads=4, num_key_value_heads=2,
                  head_dim=32, layer_types=["sliding_attention", "full_attention"] * 3)
    rng = np.random.default_rng(3)
    t = {"model.embed_tokens.weight": np.zeros((512, hidden), np.float16),
         "lm_head.weight": np.zeros((512, hidden), np.float16),
         "model.norm.weight": np.ones(hidden, np.float16)}
    shapes = {"self_attn.q_proj": 128, "self_attn.k_proj": 64, "self_attn.v_proj": 64}
    for layer in range(layers):
        p = f"model.layers.{layer}."
        for name, rows in shapes.items():
            t[f"{p}{name}.weight"] = np.zeros((rows, hidden), np.float16)
            t[f"{p}{name}.bias"] = np.zeros(rows, np.float16)
        t[f"{p}self_attn.o_proj.weight"] = np.zeros((hidden, 128), np.float16)
        t[f"{p}self_attn.o_proj.bias"] = np.zeros(hidden, np.float16)
        t[f"{p}self_attn.sinks"] = np.zeros(4, np.float16)
        t[f"{p}input_layernorm.weight"] = np.ones(hidden, np.float16)
        t[f"{p}post_attention_layernorm.weight"] = np.ones(hidden, np.float16)
        t[f"{p}mlp.router.weight"] = np.zeros((experts, hidden), np.float16)
        t[f"{p}mlp.router.bias"] = np.zeros(experts, np.float16)
        t[f"{p}mlp.experts.gate_up_proj"] = rng.standard_normal(
            (experts, hidden, 2 * hidden), np.float32).astype(np.float16)
        t[f"{p}mlp.experts.down_proj"] = np.zeros((experts, hidden, hidden), np.float16)
        t[f"{p}mlp.experts.gate_up_proj_bias"] = np.zeros((experts, 2 * hidden), np.float16)
        t[f"{p}mlp.experts.down_proj_bias"] = np.zeros((experts, hidden), np.float16)
    layer_bytes = sum(a.nbytes for name, a in t.items() if ".layers.0." in name)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(config))
    save_file(t, model / "model.safetensors", metadata={"format": "pt"})
    for arguments in ((model, tmp_path / "m.gguf", "--type", "q8_0"),
                      (tmp_path / "m.gguf", tmp_path / "back")):
        done = subprocess.run([sys.executable, "-c", LIMITED, str(2 * layer_bytes), str(program),
                               "convert", *map(str, arguments)], capture_output=True, text=True,
                              timeout=600, check=False)
        assert done.returncode == 0, done.stderr
