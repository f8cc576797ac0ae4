"""What bad input gets: a message that names the culprit, exit code 1 (2 for wrong usage), no crash.

Runs the release build; NPUMOE=build/asan/npumoe repeats everything under the sanitizers.
"""

import json
import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conftest import DEMO, GOLDENS, ROOT

PROGRAM = Path(os.environ.get("NPUMOE", ROOT / "build" / "release" / "npumoe"))
GOLDEN = GOLDENS / "qwen3-moe"
SHARDED = GOLDENS / "qwen3-moe-mixed"


def run(*arguments, stdin=None, env=None):
    return subprocess.run([str(PROGRAM), *map(str, arguments)], input=stdin, timeout=300,
                          capture_output=True, check=False, env={**os.environ, **(env or {})})


def refused(*arguments, names, code=1, stdin=None):
    """The command fails in the ordinary way and its message has every word of `names`."""
    done = run(*arguments, stdin=stdin)
    message = done.stderr.decode(errors="replace")
    assert done.returncode == code, f"exit {done.returncode}: {message}"
    assert "Sanitizer" not in message and "runtime error" not in message, message
    for name in names:
        assert str(name) in message, f"'{name}' is not in: {message}"
    return message


@pytest.fixture
def model(tmp_path):
    """A copy of the golden that a test may damage."""
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN, folder)
    return folder


@pytest.fixture
def ids(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("1 2 3 4 5 6 7 8 9 10")
    return path


def edit_config(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        if value is ...:
            config.pop(key, None)
        else:
            config[key] = value
    path.write_text(json.dumps(config))


def dump(folder, ids, tmp_path):
    return ("dump", folder, "--ids-file", ids, "--out", tmp_path / "out.safetensors")


# ---- config.json ---------------------------------------------------------------------------------

BAD_CONFIGS = [
    (dict(model_type="llama4"), ["model_type", "llama4", "qwen3_moe"]),
    (dict(model_type=...), ["model_type"]),
    (dict(num_experts_per_tok=17), ["num_experts_per_tok", "17", "16"]),
    (dict(num_attention_heads=0), ["num_attention_heads", "0"]),
    (dict(num_key_value_heads=3), ["num_key_value_heads", "3"]),
    (dict(hidden_size=-64), ["hidden_size", "-64"]),
    (dict(hidden_size="64"), ["hidden_size"]),
    (dict(hidden_size=2**62), ["hidden_size"]),
    (dict(vocab_size=..., ), ["vocab_size"]),
    (dict(hidden_act="gelu"), ["hidden_act", "gelu", "silu"]),
    (dict(rope_scaling={"rope_type": "dynamic", "factor": 4.0}), ["rope_scaling", "dynamic"]),
    (dict(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6}),
     ["rope_parameters", "linear"]),
    (dict(use_sliding_window=True, sliding_window=128), ["sliding_window"]),
    (dict(quantization_config={"quant_method": "awq"}), ["quantization_config", "awq"]),
    (dict(rms_norm_eps=-1.0), ["rms_norm_eps"]),
    (dict(num_hidden_layers=4), ["layers.3"]),
    (dict(moe_intermediate_size=40), ["48", "40"]),
]


@pytest.mark.parametrize("changes,names", BAD_CONFIGS, ids=lambda v: str(v)[:40])
def test_a_config_that_is_not_supported_is_refused_by_name(model, ids, tmp_path, changes, names):
    edit_config(model, **changes)
    refused(*dump(model, ids, tmp_path), names=names)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"model_type": "qwen3_moe"',
                                  "[" * 100000, '{"a":1,"a":2}', "\xff\xfe"])
def test_a_config_that_is_not_json_is_refused(model, ids, tmp_path, text):
    (model / "config.json").write_text(text, encoding="latin-1")
    refused(*dump(model, ids, tmp_path), names=["config.json"])


# ---- files ---------------------------------------------------------------------------------------

def test_a_missing_folder_is_named(ids, tmp_path):
    refused(*dump(tmp_path / "nowhere", ids, tmp_path), names=["nowhere"])


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(model, ids, tmp_path, file):
    (model / file).unlink()
    refused(*dump(model, ids, tmp_path), names=[file])


@pytest.mark.parametrize("size", [0, 4, 8, 100, 5000, 600000])
def test_truncated_weights_are_refused(model, ids, tmp_path, size):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    refused(*dump(model, ids, tmp_path), names=["model.safetensors"])


def rewrite_header(path, change):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length:])


TENSOR = "model.layers.1.mlp.experts.3.up_proj.weight"


def set_field(name, field, value):
    def change(header):
        header[name][field] = value
    return change


def overlap(header):
    other = header["model.norm.weight"]["data_offsets"]
    header["model.layers.0.input_layernorm.weight"]["data_offsets"] = other


BAD_HEADERS = {
    "offsets out of range": (set_field(TENSOR, "data_offsets", [0, 2**40]), [TENSOR]),
    "offsets backwards": (set_field(TENSOR, "data_offsets", [600, 8]), [TENSOR]),
    "negative offset": (set_field(TENSOR, "data_offsets", [-8, 8]), [TENSOR]),
    "shape overflows": (set_field(TENSOR, "shape", [2**33, 2**33]), [TENSOR]),
    "shape contradicts bytes": (set_field(TENSOR, "shape", [47, 64]), [TENSOR]),
    "unknown type": (set_field(TENSOR, "dtype", "Q9"), [TENSOR, "Q9"]),
    "wrong type": (set_field(TENSOR, "dtype", "I16"), [TENSOR, "I16"]),
    "overlap": (overlap, ["overlap"]),
    "missing tensor": (lambda h: h.__setitem__("x", h.pop(TENSOR)), [TENSOR]),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_a_contradicting_safetensors_header_is_refused(model, ids, tmp_path, case):
    change, names = BAD_HEADERS[case]
    rewrite_header(model / "model.safetensors", change)
    refused(*dump(model, ids, tmp_path), names=[model, *names])


def test_a_header_longer_than_the_file_is_refused(model, ids, tmp_path):
    path = model / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])
    refused(*dump(model, ids, tmp_path), names=["model.safetensors", "header"])


def test_an_extra_tensor_is_refused_by_name(model, ids, tmp_path):
    path = model / "model.safetensors"
    tensors = {"model.layers.0.mlp.surprise.weight": np.zeros((2, 2), np.float32)}
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + length])
    end = max(t["data_offsets"][1] for k, t in header.items() if k != "__metadata__")
    header["model.layers.0.mlp.surprise.weight"] = {
        "dtype": "F32", "shape": [2, 2], "data_offsets": [end, end + 16]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length:] +
                     tensors.popitem()[1].tobytes())
    refused(*dump(model, ids, tmp_path), names=["surprise"])


def test_a_missing_shard_is_named(tmp_path, ids):
    folder = tmp_path / "sharded"
    shutil.copytree(SHARDED, folder)
    (folder / "model-00002-of-00004.safetensors").unlink()
    refused(*dump(folder, ids, tmp_path), names=["model-00002-of-00004.safetensors"])


def test_a_shard_outside_the_folder_is_refused(tmp_path, ids):
    folder = tmp_path / "sharded"
    shutil.copytree(SHARDED, folder)
    path = folder / "model.safetensors.index.json"
    path.write_text(path.read_text().replace("model-00002", "../model-00002"))
    refused(*dump(folder, ids, tmp_path), names=["../model-00002"])


def test_a_tokenizer_of_a_larger_vocabulary_is_refused(model, ids, tmp_path):
    shutil.copy(DEMO / "tokenizer.json", model)
    refused(*dump(model, ids, tmp_path), names=["tokenizer", "4096", "512"])


# ---- prompts and ids -----------------------------------------------------------------------------

@pytest.mark.parametrize("text,names", [("", ["no token ids"]), ("1 2 x", ["token 3", "x"]),
                                        ("1 512", ["token 2", "512", "511"]), ("-1", ["-1"]),
                                        ("99999999999999999999", ["token 1"])])
def test_bad_ids_are_named(ids, tmp_path, text, names):
    ids.write_text(text)
    refused(*dump(GOLDEN, ids, tmp_path), names=["ids.txt", *names])


def test_text_for_a_model_without_tokenizer_is_refused_and_names_the_way_out():
    refused("run", GOLDEN, "hello", names=["tokenizer", "--ids-file"])


def test_invalid_utf8_is_refused_with_its_offset(tmp_path):
    prompt = tmp_path / "prompt.txt"
    prompt.write_bytes(b"good \xff bad")
    refused("run", DEMO, "-f", prompt, "-n", 1, names=["UTF-8", "5"])


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(tmp_path):
    prompt = tmp_path / "ids.txt"
    prompt.write_text("5 " * 300)
    refused("run", DEMO, "--ids-file", prompt, "-c", 256, names=["300", "256"])


def test_an_empty_prompt_is_refused():
    refused("run", DEMO, "--no-chat-template", names=["prompt"], stdin=b"")


# ---- usage ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments,names", [
    (["nonsense"], ["nonsense", "perplexity"]),
    (["run"], ["model"]),
    ([], ["subcommand"]),
    (["run", DEMO, "x", "--temp", "-1"], ["--temp", "-1", "100"]),
    (["run", DEMO, "x", "--temp", "nan"], ["--temp", "nan"]),
    (["run", DEMO, "x", "--what"], ["--what"]),
    (["run", DEMO, "x", "-f", "y"], ["--file", "--prompt"]),
    (["run", DEMO, "x", "-n", "-5"], ["--predict", "-5"]),
    (["dump", DEMO], ["--ids-file"]),
    (["run", DEMO, "x", "--device", "emulator"], ["--plan"]),
    (["run", DEMO, "x", "--require-npu"], ["--require-npu", "--plan"]),
    (["plan", DEMO], ["--calibration"]),
    (["plan", DEMO, "--calibration", "c", "--chunk", "33"], ["--chunk", "33", "32"]),
    (["calibrate", DEMO, "-o", "x"], ["--data", "--merge"]),
    (["perplexity", DEMO, "-f", "x", "--ids-file", "y"], ["--file", "--ids-file"]),
    (["run", DEMO, "x", "--overflow", "drop", "--plan", "p.json"], ["--allow-lossy"])], ids=str)
def test_wrong_usage_exits_with_two(arguments, names):
    refused(*arguments, names=names, code=2)


def test_an_unknown_chip_lists_the_known_ones(demo_files):
    refused("plan", DEMO, "--calibration", demo_files["calibration"], "--chip", "m99",
            names=["m99", "m2-max"])


def test_an_unknown_strategy_lists_the_known_ones(demo_files):
    refused("plan", DEMO, "--calibration", demo_files["calibration"], "--strategy", "magic",
            names=["magic", "optimal"], code=2)


def test_an_unknown_device_lists_the_known_ones(demo_files):
    refused("run", DEMO, "x", "--plan", demo_files["plan"], "--device", "tpu",
            names=["tpu", "emulator"], code=2)


# ---- calibrations, plans, packages ---------------------------------------------------------------

@pytest.fixture(scope="module")
def demo_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    calibration, plan, cache = folder / "d.calib.json", folder / "d.plan.json", folder / "cache"
    for arguments in (
            ("calibrate", DEMO, "--data", DEMO / "calibration_sample.txt", "--max-tokens", 4096,
             "-o", calibration),
            ("plan", DEMO, "--calibration", calibration, "--min-npu-share", 0.9, "--chunk", 128,
             "-o", plan),
            ("compile", DEMO, "--plan", plan, "--cache", cache)):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr.decode()
    return dict(folder=folder, calibration=calibration, plan=plan, cache=cache)


@pytest.mark.parametrize("what", ["calibration", "plan"])
@pytest.mark.parametrize("damage", ["empty", "half", "array", "version", "unknown hash"])
def test_a_damaged_derived_file_is_refused_by_name(demo_files, tmp_path, what, damage):
    text = demo_files[what].read_text()
    path = tmp_path / demo_files[what].name
    json_text = json.loads(text)
    if damage == "version":
        json_text["version"] = 999
    if damage == "unknown hash":
        json_text["model_hash" if "model_hash" in json_text else "model"] = "0" * 32
    path.write_text({"empty": "", "half": text[:len(text) // 2], "array": "[]"}.get(
        damage, json.dumps(json_text)))
    command = (("plan", DEMO, "--calibration", path, "-o", tmp_path / "o.json")
               if what == "calibration" else ("run", DEMO, "x", "-n", 1, "--plan", path))
    refused(*command, names=[path.name])


def test_a_plan_for_another_model_says_so(demo_files, ids):
    refused("run", GOLDEN, "--ids-file", ids, "--plan", demo_files["plan"], "-n", 1,
            names=[demo_files["plan"].name, "model"])


def test_a_plan_for_a_changed_profile_says_so(demo_files, tmp_path):
    chips = tmp_path / "chips"
    shutil.copytree(ROOT / "chips", chips)
    profile = chips / "m2-max.toml"
    profile.write_text(profile.read_text() + "\n# edited\n")
    done = run("run", DEMO, "x", "-n", 1, "--plan", demo_files["plan"],
               env={"NPUMOE_CHIPS": str(chips)})
    assert done.returncode == 1 and b"changed" in done.stderr, done.stderr


def test_a_plan_from_another_calibration_is_not_judged_by_this_one(demo_files, tmp_path):
    other = tmp_path / "other.calib.json"
    done = run("calibrate", DEMO, "--data", DEMO / "held_out_text.txt", "--max-tokens", 2048, "-o",
               other)
    assert done.returncode == 0, done.stderr.decode()
    refused("perplexity", DEMO, "-f", DEMO / "held_out_text.txt", "-c", 256, "--chunks", 2, "--plan",
            demo_files["plan"], "--cache", demo_files["cache"], "--kl-against", "cpu",
            "--calibration", other, names=["other.calib.json", "calibration"])


def test_a_frontier_of_another_models_calibration_is_refused(demo_files):
    refused("plan", GOLDEN, "--calibration", demo_files["calibration"], "--frontier", "--chunk", 128,
            names=[demo_files["calibration"].name])


def test_a_pipe_as_a_model_file_is_refused_at_once(model, ids, tmp_path):
    (model / "config.json").unlink()
    os.mkfifo(model / "config.json")
    refused(*dump(model, ids, tmp_path), names=["config.json"])


def run_planned(demo_files, cache):
    return run("run", DEMO, "-f", DEMO / "needle_question.txt", "-n", 8, "--temp", 0, "--json",
               "--plan", demo_files["plan"], "--cache", cache)


DAMAGES = {
    "truncated weights": ("Data/com.apple.CoreML/weights/weight.bin", lambda b: b[:len(b) // 2]),
    "flipped weights": ("Data/com.apple.CoreML/weights/weight.bin",
                        lambda b: b[:1024] + b"\x00\x3c" * 4096 + b[1024 + 8192:]),
    "garbage program": ("Data/com.apple.CoreML/model.mlmodel", lambda b: b"\x07" * len(b)),
    "empty manifest": ("Manifest.json", lambda b: b""),
    "foreign manifest": ("Manifest.json", lambda b: b'{"fileFormatVersion": "2.0.0"}'),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_package_is_never_executed(demo_files, tmp_path, case):
    cache = tmp_path / "cache"
    shutil.copytree(demo_files["cache"], cache)
    package = sorted(cache.glob("*.mlpackage"))[0]
    file, damage = DAMAGES[case]
    (package / file).write_bytes(damage((package / file).read_bytes()))
    inputs = tmp_path / "in.safetensors"
    save_file({"x": np.zeros((1, 1), np.float32)}, inputs)
    refused("verify", "--package", package, "--inputs", inputs, "--out", tmp_path / "o",
            names=[package.name])
    done = run_planned(demo_files, cache)  # the cache mends itself
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["text"].strip().startswith("4821907")


def test_a_foreign_folder_as_package_is_refused(tmp_path):
    inputs = tmp_path / "in.safetensors"
    save_file({"x": np.zeros((1, 1), np.float32)}, inputs)
    refused("verify", "--package", tmp_path, "--inputs", inputs, "--out", tmp_path / "o",
            names=["Manifest.json"])


def test_an_interrupted_compile_leaves_nothing_that_is_used(demo_files, tmp_path):
    cache = tmp_path / "cache"
    for delay in (0.0, 0.01, 0.03, 0.06):
        process = subprocess.Popen([str(PROGRAM), "compile", str(DEMO), "--plan",
                                    str(demo_files["plan"]), "--cache", str(cache)],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)  # the moment of the kill varies; any of them must be harmless
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = run_planned(demo_files, cache)
        assert done.returncode == 0, done.stderr.decode()
        assert json.loads(done.stdout)["text"].strip().startswith("4821907")
        left = [p.name for p in cache.iterdir() if p.suffix != ".mlpackage"]
        assert not left, left
        shutil.rmtree(cache)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_while_compiling_is_an_error_and_leaves_no_package(demo_files, tmp_path):
    cache = tmp_path / "small"
    cache.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(cache)],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("tmpfs cannot be mounted here: " + mounted.stderr.decode())
    try:
        refused("compile", DEMO, "--plan", demo_files["plan"], "--cache", cache,
                names=["space"])
        for package in cache.glob("*.mlpackage"):  # those that did fit are whole
            whole = demo_files["cache"] / package.name
            for path in whole.rglob("*"):
                if path.is_file():
                    assert (package / path.relative_to(whole)).read_bytes() == path.read_bytes()
    finally:
        subprocess.run(["umount", str(cache)], check=True)


def test_dropping_tokens_needs_leave(demo_files):
    message = refused("run", DEMO, "x", "-n", 1, "--plan", demo_files["plan"], "--overflow", "drop",
                      names=["--allow-lossy"], code=2)
    assert "spill" in message


def test_the_goldens_of_this_test_are_what_the_program_reads(ids, tmp_path):
    """The undamaged model is accepted: otherwise every refusal above would prove nothing."""
    done = run(*dump(GOLDEN, ids, tmp_path))
    assert done.returncode == 0, done.stderr.decode()
    assert load_file(tmp_path / "out.safetensors")["logits"].shape == (10, 512)
