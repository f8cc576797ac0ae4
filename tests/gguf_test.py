"""GGUF in and out: round trips keep every bit, the `gguf` package reads what we write, we read what
it writes, and quantised files stay close to their originals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conftest import DEMO, GOLDEN_NAMES, ROOT

Q = gguf.GGMLQuantizationType


def write_ids(path, ids):
    path.write_text(" ".join(map(str, ids)))
    return path


def dump(npumoe, model, ids, folder):
    out = folder / "dump.safetensors"
    npumoe("dump", model, "--ids-file", ids, "--out", out, "-t", 2)
    return load_file(out)


def assert_same_bits(got, want):
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        assert got[name].tobytes() == tensor.tobytes(), name


@pytest.fixture(scope="module", params=GOLDEN_NAMES)
def golden(request, golden_folder):
    return golden_folder(request.param)


@pytest.fixture(scope="module")
def ids(golden, tmp_path_factory):
    """200 tokens: across the border of LongRoPE."""
    expected = load_file(golden / "expected.safetensors")
    return write_ids(tmp_path_factory.mktemp("ids") / "long.ids", expected["long.ids"])


@pytest.fixture(scope="module")
def original(npumoe, golden, ids, tmp_path_factory):
    return dump(npumoe, golden, ids, tmp_path_factory.mktemp("original"))


@pytest.fixture(scope="module")
def converted(npumoe, golden, tmp_path_factory):
    path = tmp_path_factory.mktemp("converted") / "model.gguf"
    npumoe("convert", golden, path)
    return path


def test_a_golden_as_gguf_gives_the_same_bits(npumoe, converted, ids, original, tmp_path):
    assert_same_bits(dump(npumoe, converted, ids, tmp_path), original)


def test_a_golden_kept_in_every_type_gives_the_same_bits(npumoe, golden, ids, original, tmp_path):
    kept = tmp_path / "kept.gguf"
    npumoe("convert", golden, kept, "--type", "keep")
    assert_same_bits(dump(npumoe, kept, ids, tmp_path), original)


def test_a_golden_and_back_gives_the_same_bits(npumoe, converted, ids, original, tmp_path):
    npumoe("convert", converted, tmp_path / "back")
    assert_same_bits(dump(npumoe, tmp_path / "back", ids, tmp_path), original)


def test_a_gguf_written_again_is_the_same_file(npumoe, converted, tmp_path):
    npumoe("convert", converted, tmp_path / "again.gguf")
    first, second = read(converted), read(tmp_path / "again.gguf")
    assert first.tensors.keys() == second.tensors.keys()
    for name, tensor in first.tensors.items():
        assert tensor.data.tobytes() == second.tensors[name].data.tobytes(), name
    assert first.fields == second.fields


class Read:
    """What the `gguf` package finds in a file."""

    def __init__(self, path):
        self.reader = gguf.GGUFReader(path)
        self.tensors = {t.name: t for t in self.reader.tensors}
        self.fields = {name: field.contents() for name, field in self.reader.fields.items()
                       if not name.startswith("GGUF.")}

    def values(self, name):
        tensor = self.tensors[name]
        return gguf.quants.dequantize(tensor.data, tensor.tensor_type)


def read(path):
    return Read(path)


@pytest.mark.parametrize("type_name", ["f16", "bf16", "f32", "q8_0", "q4_0", "q4_k"])
def test_the_gguf_package_agrees_on_every_value(npumoe, golden, tmp_path, type_name):
    """Blocks decoded by us (into F32) and by the package are equal bit for bit."""
    npumoe("convert", golden, tmp_path / "typed.gguf", "--type", type_name)
    npumoe("convert", tmp_path / "typed.gguf", tmp_path / "plain.gguf", "--type", "f32")
    typed, plain = read(tmp_path / "typed.gguf"), read(tmp_path / "plain.gguf")
    assert typed.tensors.keys() == plain.tensors.keys()
    for name in typed.tensors:
        assert plain.tensors[name].tensor_type == Q.F32
        np.testing.assert_array_equal(typed.values(name), plain.values(name), err_msg=name)


def copy_with_package(path, out, *, keep_key=lambda name: True, change=None, max_tensors=0):
    """Writes a GGUF again with gguf.GGUFWriter. `change(writer, name, tensor)`: True when it wrote
    the tensor itself."""
    source = read(path)
    writer = gguf.GGUFWriter(str(out), source.fields["general.architecture"],
                             split_max_tensors=max_tensors)
    for name, field in source.reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture" or not keep_key(name):
            continue
        sub_type = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type)
    for name, tensor in source.tensors.items():
        if change and change(writer, name, tensor):
            continue
        writer.add_tensor(name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_file_of_the_gguf_package_gives_the_same_bits(npumoe, converted, ids, original, tmp_path):
    copy_with_package(converted, tmp_path / "copy.gguf")
    assert_same_bits(dump(npumoe, tmp_path / "copy.gguf", ids, tmp_path), original)


# Without our own keys a file means what other engines make of it. Dense layers between others can
# stand in no other key.
@pytest.mark.parametrize("name", [n for n in GOLDEN_NAMES if n != "qwen3-moe-mixed"])
def test_reads_files_without_keys_of_our_own(npumoe, golden_folder, name, tmp_path):
    golden = golden_folder(name)
    expected = load_file(golden / "expected.safetensors")
    ids = write_ids(tmp_path / "ids", expected["long.ids"])
    npumoe("convert", golden, tmp_path / "ours.gguf")
    copy_with_package(tmp_path / "ours.gguf", tmp_path / "foreign.gguf",
                      keep_key=lambda key: not key.startswith("npumoe."))
    want = dump(npumoe, golden, ids, tmp_path)["logits"]
    got = dump(npumoe, tmp_path / "foreign.gguf", ids, tmp_path)["logits"]
    # Numbers of 32 bits in place of longer ones move angles by their rounding only.
    np.testing.assert_allclose(got, want, atol=2e-4 * np.abs(want).max())


def test_reads_latent_attention_in_its_split_form(npumoe, golden_folder, tmp_path):
    """attn_k_b (transposed) and attn_v_b in place of attn_kv_b, sizes in the _mla keys."""
    golden = golden_folder("deepseek-v2-yarn")
    config = json.loads((golden / "config.json").read_text())
    heads, rank = config["num_attention_heads"], config["kv_lora_rank"]
    nope, value = config["qk_nope_head_dim"], config["v_head_dim"]
    rope = config["qk_rope_head_dim"]
    expected = load_file(golden / "expected.safetensors")
    ids = write_ids(tmp_path / "ids", expected["long.ids"])
    npumoe("convert", golden, tmp_path / "whole.gguf")
    mla = {"head_count_kv": 1, "key_length": rank + rope, "value_length": rank,
           "key_length_mla": nope + rope, "value_length_mla": value}

    def change(writer, name, tensor):
        if name == "token_embd.weight":
            for key, number in mla.items():
                writer.add_uint32(f"deepseek2.attention.{key}", number)
        if "attn_kv_b" not in name:
            return False
        rows = np.array(tensor.data).view(np.uint16).reshape(heads, nope + value, rank)
        keys = np.ascontiguousarray(rows[:, :nope].transpose(0, 2, 1))
        values = np.ascontiguousarray(rows[:, nope:])
        for part, data in (("attn_k_b", keys), ("attn_v_b", values)):
            writer.add_tensor(name.replace("attn_kv_b", part), data.view(np.uint8),
                              raw_dtype=Q.BF16)
        return True

    copy_with_package(
        tmp_path / "whole.gguf", tmp_path / "split.gguf", change=change,
        keep_key=lambda key: key.removeprefix("deepseek2.attention.") not in mla)
    assert_same_bits(dump(npumoe, tmp_path / "split.gguf", ids, tmp_path),
                     dump(npumoe, golden, ids, tmp_path))


def test_reads_old_files_with_a_tensor_for_each_expert(npumoe, golden_folder, tmp_path):
    golden = golden_folder("mixtral")
    ids = write_ids(tmp_path / "ids", range(3, 43))
    npumoe("convert", golden, tmp_path / "stacked.gguf")

    def change(writer, name, tensor):
        if "_exps" not in name:
            return False
        for expert, data in enumerate(np.array(tensor.data)):
            writer.add_tensor(name.replace("_exps", f".{expert}"), data,
                              raw_dtype=tensor.tensor_type)
        return True

    copy_with_package(tmp_path / "stacked.gguf", tmp_path / "single.gguf", change=change)
    assert_same_bits(dump(npumoe, tmp_path / "single.gguf", ids, tmp_path),
                     dump(npumoe, golden, ids, tmp_path))


def test_reads_gate_and_up_in_one_tensor(npumoe, golden_folder, tmp_path):
    golden = golden_folder("qwen3-moe")
    ids = write_ids(tmp_path / "ids", range(3, 43))
    npumoe("convert", golden, tmp_path / "two.gguf")
    tensors = read(tmp_path / "two.gguf").tensors

    def change(writer, name, tensor):
        if "ffn_gate_exps" in name:
            up = tensors[name.replace("gate", "up")]
            both = np.concatenate([np.array(tensor.data), np.array(up.data)], axis=1)
            writer.add_tensor(name.replace("gate_exps", "gate_up_exps"), both,
                              raw_dtype=tensor.tensor_type)
        return "ffn_gate_exps" in name or "ffn_up_exps" in name

    copy_with_package(tmp_path / "two.gguf", tmp_path / "one.gguf", change=change)
    assert_same_bits(dump(npumoe, tmp_path / "one.gguf", ids, tmp_path),
                     dump(npumoe, golden, ids, tmp_path))


def test_reads_split_files_of_the_gguf_package(npumoe, golden_folder, tmp_path):
    golden = golden_folder("qwen3-moe")
    ids = write_ids(tmp_path / "ids", range(3, 43))
    npumoe("convert", golden, tmp_path / "whole.gguf")
    copy_with_package(tmp_path / "whole.gguf", tmp_path / "part.gguf", max_tensors=10)
    parts = sorted(tmp_path.glob("part-*.gguf"))
    assert len(parts) > 2
    assert_same_bits(dump(npumoe, parts[0], ids, tmp_path), dump(npumoe, golden, ids, tmp_path))


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
    assert report["fallbacks"] == []
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
    used = {f["tensor"]: f["used"] for f in report["fallbacks"]}
    assert used["blk.0.attn_q.weight"] == "Q4_0"
    assert used["blk.0.ffn_down_exps.weight"] == "F16"
    types = {name: t.tensor_type for name, t in read(tmp_path / "q4.gguf").tensors.items()}
    assert types["blk.0.attn_q.weight"] == Q.Q4_0
    assert types["blk.0.ffn_down_exps.weight"] == Q.F16
    shown = json.loads(npumoe("show", tmp_path / "q4.gguf", "--json"))["fallback_types"]
    assert "experts down (F16, rows of 40)" in shown
    assert "attention q (Q4_0, rows of 64)" in shown


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


def load_file_raw(path):
    """The U8 tensors of a safetensors file (numpy knows no BF16)."""
    raw = Path(path).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + length])
    data = np.frombuffer(raw, np.uint8, offset=8 + length)
    return {name: data[slice(*entry["data_offsets"])].reshape(entry["shape"])
            for name, entry in header.items()
            if name != "__metadata__" and entry["dtype"] == "U8"}


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
                          capture_output=True, text=True, timeout=600, check=True, env=libraries)
    line = next(l for l in (done.stdout + done.stderr).splitlines() if "Final estimate" in l)
    theirs = float(line.split("=")[-1].split("+/-")[0])
    assert abs(theirs / ours["perplexity"] - 1) < 0.005
