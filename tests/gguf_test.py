"""GGUF in and out: round trips keep every bit, the `gguf` package reads what we write, and we read
what it writes."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from conftest import GOLDEN_NAMES
from gguf_files import Q, assert_same_bits, copy_with_package, dump, read, write_ids


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
