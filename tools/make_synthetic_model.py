"""Writes a model folder with the layer shape of Qwen3-30B-A3B, few layers and random BF16 weights,
for measurements where no checkpoint is at hand. It has no tokenizer: prompts are token ids, of which
some random ones are written beside it.

    .venv/bin/python tools/make_synthetic_model.py /tmp/synthetic --layers 2
"""

import argparse
import json
from pathlib import Path

import numpy as np

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, EXPERTS, TOP_K, INNER = 2048, 32, 4, 128, 128, 8, 768


def config(layers, vocab):
    return {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": HIDDEN,
        "num_hidden_layers": layers, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM, "num_experts": EXPERTS, "num_experts_per_tok": TOP_K,
        "moe_intermediate_size": INNER, "intermediate_size": 6144, "norm_topk_prob": True,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "hidden_act": "silu",
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
        "rope_scaling": None, "tie_word_embeddings": True, "attention_bias": False,
        "use_sliding_window": False, "sliding_window": None, "vocab_size": vocab,
        "torch_dtype": "bfloat16",
    }


def tensors(layers, vocab):
    """(name, shape, standard deviation; none: all ones)."""
    yield "model.embed_tokens.weight", (vocab, HIDDEN), 1.0
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name, out, of in (("q_proj", HEADS * HEAD_DIM, HIDDEN), ("k_proj", KV_HEADS * HEAD_DIM, HIDDEN),
                              ("v_proj", KV_HEADS * HEAD_DIM, HIDDEN), ("o_proj", HIDDEN, HEADS * HEAD_DIM)):
            yield f"{at}self_attn.{name}.weight", (out, of), of**-0.5
        for name in ("self_attn.q_norm", "self_attn.k_norm"):
            yield f"{at}{name}.weight", (HEAD_DIM,), None
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{at}{name}.weight", (HIDDEN,), None
        yield f"{at}mlp.gate.weight", (EXPERTS, HIDDEN), HIDDEN**-0.5
        for expert in range(EXPERTS):
            for name, shape in (("gate_proj", (INNER, HIDDEN)), ("up_proj", (INNER, HIDDEN)),
                                ("down_proj", (HIDDEN, INNER))):
                yield f"{at}mlp.experts.{expert}.{name}.weight", shape, shape[1]**-0.5
    yield "model.norm.weight", (HIDDEN,), None


def bf16(random, shape, deviation):
    if deviation is None:
        values = np.ones(shape, np.float32)
    else:
        values = random.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def write_weights(path, layers, vocab, seed):
    """One safetensors file, tensor by tensor: an 8-byte length, a JSON header, the bytes."""
    header, end = {}, 0
    for name, shape, _ in tensors(layers, vocab):
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    random = np.random.default_rng(seed)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, shape, deviation in tensors(layers, vocab):
            file.write(bf16(random, shape, deviation).tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--vocab", type=int, default=32000)
    parser.add_argument("--ids", type=int, default=16384, help="random token ids in FOLDER/random.ids")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "config.json").write_text(json.dumps(config(options.layers, options.vocab), indent=1))
    write_weights(options.folder / "model.safetensors", options.layers, options.vocab, options.seed)
    ids = np.random.default_rng(options.seed + 1).integers(0, options.vocab, options.ids)
    (options.folder / "random.ids").write_text(" ".join(map(str, ids)))


if __name__ == "__main__":
    main()
