"""What becomes of the tokenizer and chat template of a GGUF that others wrote."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from conftest import DEMO, ROOT
from gguf_files import copy_with_package

TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
            "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


@pytest.fixture(scope="module")
def foreign_gguf(npumoe, tmp_path_factory):
    """The demo model as other engines' converters write it: without a tokenizer.json inside."""
    folder = tmp_path_factory.mktemp("foreign")
    model = folder / "model"
    model.mkdir()
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        (model / file).symlink_to(DEMO / file)
    config = json.loads((DEMO / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATE}))
    npumoe("convert", model, folder / "ours.gguf", "--type", "q8_0")
    copy_with_package(folder / "ours.gguf", folder / "foreign.gguf",
                      keep_key=lambda key: not key.startswith(("tokenizer.huggingface", "npumoe.")))
    return folder / "foreign.gguf"


def test_a_folder_of_it_has_them(npumoe, foreign_gguf, tmp_path):
    back = tmp_path / "back"
    npumoe("convert", foreign_gguf, back)
    text = (DEMO / "held_out_text.txt").read_text(encoding="utf-8")[:20000] + "\u00fc<|im_end|>\n"
    line = json.dumps({"text": text}) + "\n"
    want = npumoe("tokenize", DEMO, "--jsonl", stdin=line)
    assert npumoe("tokenize", back, "--jsonl", stdin=line) == want
    config = json.loads((back / "tokenizer_config.json").read_text())
    assert config["chat_template"] == TEMPLATE
    assert config["eos_token"] == "<|endoftext|>"
    assert json.loads(npumoe("show", back, "--json"))["chat_template"] == "chatml"


def error_of(*arguments):
    program = Path(os.environ.get("NPUMOE", ROOT / "build" / "release" / "npumoe"))
    done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True,
                          timeout=600, check=False)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    return done.stderr


def test_a_text_for_a_gguf_without_tokenizer_is_refused_without_talk_of_folders(
        npumoe, golden_folder, tmp_path):
    npumoe("convert", golden_folder("qwen3-moe"), tmp_path / "m.gguf")
    message = error_of("run", tmp_path / "m.gguf", "Hello")
    assert "has no tokenizer" in message
    assert "--ids-file" in message
    assert "folder" not in message


def test_a_chat_template_of_other_control_tokens_is_refused_by_their_names():
    message = error_of("run", DEMO, "Hello", "--chat-template", "phi3", "-n", "1")
    assert "'<|user|>', '<|assistant|>', '<|end|>'" in message
    assert "--chat-template" in message
