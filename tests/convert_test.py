"""`npumoe convert`: what it keeps, what it refuses, what it leaves behind, how much memory it takes."""

import json
import os
import resource
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


@pytest.mark.parametrize("out", ["m.gguf", "folder"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(npumoe, program, tmp_path, number, out):
    npumoe("convert", DEMO, tmp_path / "source.gguf", "--type", "q4_k")
    arguments = ([DEMO, tmp_path / out, "--type", "q4_k"] if out == "m.gguf" else
                 [tmp_path / "source.gguf", tmp_path / out, "--type", "f32"])
    with subprocess.Popen([str(program), "convert", *map(str, arguments)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while len(list(tmp_path.iterdir())) == 1 and process.poll() is None:
            pass
        process.send_signal(number)
        message = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number, message
    assert "interrupted" in message
    assert [p.name for p in tmp_path.iterdir()] == ["source.gguf"]


@pytest.mark.parametrize("out", ["m.gguf", "folder"])
def test_a_limit_on_file_sizes_leaves_nothing_behind(program, tmp_path, out):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run([str(program), "convert", str(DEMO), str(tmp_path / out)],
                          capture_output=True, text=True, timeout=600, check=False,
                          preexec_fn=limit)
    assert done.returncode == 1, done.stderr
    assert f"{tmp_path / out}" in done.stderr and "ulimit -f" in done.stderr
    assert f".{out}." not in done.stderr and ".tmp" not in done.stderr
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


def test_messages_name_the_output_and_no_temporary(program, golden_folder, tmp_path):
    """A number that F16 cannot hold, a parent that is not there, a file for a parent."""
    golden = golden_folder("qwen3-moe")
    message = fails(program, "convert", golden, tmp_path / "a" / "b" / "m.gguf")
    assert f"mkdir -p {tmp_path / 'a' / 'b'}" in message
    assert f"mkdir -p {tmp_path / 'a'}" in fails(program, "convert", golden, tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    assert "is a file" in fails(program, "convert", golden, tmp_path / "file" / "m.gguf")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["m.safetensors", "m.gguv", "m.bin", "m.json", "m.GGML"])
def test_refuses_outputs_that_look_like_other_files(program, golden_folder, tmp_path, name):
    message = fails(program, "convert", golden_folder("qwen3-moe"), tmp_path / name)
    assert "NAME.gguf" in message and f"{name}/" in message
    assert not list(tmp_path.iterdir())


def test_takes_gguf_in_capitals_and_folders_with_any_name(npumoe, golden_folder, tmp_path):
    golden = golden_folder("qwen3-moe")
    npumoe("convert", golden, tmp_path / "M.GGUF")
    assert (tmp_path / "M.GGUF").read_bytes()[:4] == b"GGUF"
    assert json.loads(npumoe("show", tmp_path / "M.GGUF", "--json"))["family"] == "qwen3_moe"
    for name in ("v1.5", "Qwen3-30B-A3B", "m.safetensors/"):
        npumoe("convert", golden, f"{tmp_path}/{name}")
        assert (tmp_path / name / "model.safetensors").is_file()


def test_a_tensor_too_many_is_found_before_anything_is_written(program, golden_folder, tmp_path):
    golden = golden_folder("olmoe")
    tensors = load_file(golden / "model.safetensors")
    tensors["model.layers.0.mlp.experts.99.up_proj.weight"] = np.zeros((40, 64), np.float32)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_bytes((golden / "config.json").read_bytes())
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    for out in ("m.gguf", "folder"):
        done = subprocess.run([str(program), "convert", str(model), str(tmp_path / out)],
                              capture_output=True, text=True, check=False,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1)))
        assert "experts.99.up_proj" in done.stderr, done.stderr


def test_remarks_go_to_stderr_and_the_result_to_stdout(program, golden_folder, tmp_path):
    golden = golden_folder("olmoe")
    done = subprocess.run([str(program), "convert", str(golden), str(tmp_path / "m.gguf"),
                           "--type", "q4_k"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("wrote ") and done.stdout.count("\n") == 1
    assert "fallback: experts down (" in done.stderr
    assert "note: the model has no tokenizer" in done.stderr
    assert "lossy: " in done.stderr


def test_lists_fields_that_the_other_form_cannot_hold(npumoe, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for file in ("model.safetensors", "tokenizer.json"):
        (model / file).symlink_to(DEMO / file)
    config = json.loads((DEMO / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "initializer_range": 0.02}))
    tokenizer = json.loads((DEMO / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(
        json.dumps({**tokenizer, "model_max_length": 1024, "clean_up_tokenization_spaces": False}))
    report = json.loads(npumoe("convert", model, tmp_path / "m.gguf", "--json"))
    assert any("config.json" in n and "initializer_range" in n for n in report["notes"])
    assert any("tokenizer_config.json" in n and "model_max_length" in n for n in report["notes"])
    copy_with_package(tmp_path / "m.gguf", tmp_path / "more.gguf",
                      change=lambda writer, name, tensor: name == "token_embd.weight" and
                      writer.add_string("general.license", "mit"))
    report = json.loads(npumoe("convert", tmp_path / "more.gguf", tmp_path / "back", "--json"))
    assert any("general.license" in note for note in report["notes"])
    assert not any("general.name" in note for note in report["notes"])


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


def test_a_later_part_alone_is_named(npumoe, program, golden_folder, tmp_path):
    npumoe("convert", golden_folder("qwen3-moe"), tmp_path / "whole.gguf")
    copy_with_package(tmp_path / "whole.gguf", tmp_path / "part.gguf", max_tensors=20)
    parts = sorted(tmp_path.glob("part-*.gguf"))
    (tmp_path / "whole.gguf").unlink()
    assert "give the first one, " + parts[0].name in fails(program, "show", parts[1])
    parts[0].unlink()
    assert "is not beside it" in fails(program, "show", parts[1])
    message = fails(program, "show", tmp_path)
    assert f"but not its first part, '{parts[0].name}'" in message


def test_a_folder_with_two_ggufs_names_them(npumoe, program, golden_folder, tmp_path):
    for name in ("a.gguf", "b.gguf"):
        npumoe("convert", golden_folder("qwen3-moe"), tmp_path / name)
    for command in ("show", "convert", "tokenize"):
        out = [tmp_path / "out"] if command == "convert" else ["x"] if command == "tokenize" else []
        message = fails(program, command, tmp_path, *out)
        assert "'a.gguf', 'b.gguf'" in message and "name one file" in message


def test_show_says_what_a_vocabulary_file_is(npumoe, program, shared_data):
    vocabulary = shared_data / "tokenizers" / "ggml-vocab-deepseek-llm.gguf"
    shown = json.loads(npumoe("show", vocabulary, "--json"))
    assert shown["holds"] == "a vocabulary only, no weights"
    assert shown["vocab_size"] == 102400
    assert shown["pre_tokenizer"] == "deepseek-llm"
    assert shown["architecture"] == "llama"
    text = npumoe("show", shared_data / "tokenizers" / "ggml-vocab-gpt-2.gguf")
    assert "gpt-2" in text and "50,257" in text
    assert "a vocabulary only?" in fails(program, "convert", vocabulary, "/nowhere.gguf")


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
