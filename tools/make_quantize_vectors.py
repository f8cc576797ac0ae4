#!/usr/bin/env python3
"""Writes tests/data/quantize: blocks of every quantised type with the values that the `gguf`
Python package gives, and values with the blocks that it makes of them.

    pip install gguf==0.18.0 && tools/make_quantize_vectors.py

Lines are "TYPE BLOCKS VALUES", bytes in hexadecimal, values as little-endian fp32.
"""

from pathlib import Path

import gguf
import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "data" / "quantize"
SEED = 20260117

# Where fp16 scales lie in a block; MXFP4 has an exponent byte at 0 instead.
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "MXFP4": []}
# Ordinary, negative, zero of both signs, smallest, largest subnormal, largest, infinite, no number.
SPECIAL_HALVES = [0x2E66, 0xA400, 0x0000, 0x8000, 0x0001, 0x03FF, 0x7BFF, 0xFC00, 0x7E00]
SPECIAL_EXPONENTS = [0, 1, 2, 3, 120, 127, 252, 253, 254, 255]


def random_blocks(name, count, rng):
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for offset in HALVES[name]:
        scales = (rng.normal(size=count) * 0.02).astype(np.float16)
        blocks[:, offset:offset + 2] = scales.view(np.uint8).reshape(count, 2)
    if name == "MXFP4":
        blocks[:, 0] = rng.integers(110, 130, count)
    return blocks


def special_blocks(name, rng):
    if name == "MXFP4":
        blocks = random_blocks(name, len(SPECIAL_EXPONENTS), rng)
        blocks[:, 0] = SPECIAL_EXPONENTS
        return blocks
    rows = []
    for bits in SPECIAL_HALVES:
        for offset in HALVES[name]:
            block = random_blocks(name, 1, rng)
            block[0, offset:offset + 2] = np.frombuffer(np.uint16(bits).tobytes(), np.uint8)
            rows.append(block)
    return np.concatenate(rows)


def decoded_lines(rng):
    for name in HALVES:
        elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
        blocks = np.concatenate([random_blocks(name, 1024 // elements, rng),
                                 special_blocks(name, rng)])
        with np.errstate(all="ignore"):
            values = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name])
        for block, row in zip(blocks, values):
            yield f"{name} {block.tobytes().hex()} {row.astype('<f4').tobytes().hex()}"


def inputs_to_encode(rng):
    """Rows of 32 values as weights have them, and rows that are hard to round."""
    yield from (rng.normal(size=(48, 32)) * 0.02).astype(np.float32)
    yield from (rng.standard_t(2, size=(16, 32)) * 10).astype(np.float32)
    yield from (rng.normal(size=(8, 32)) * 1e-5).astype(np.float32)
    # Ties: multiples of half a step, when the largest is a whole number of steps.
    yield (np.arange(32, dtype=np.float32) - 16) / 2 * np.float32(0.25)
    yield np.concatenate([[127], np.arange(31) - 15.5]).astype(np.float32)
    yield np.concatenate([[-8], (np.arange(31) - 15) / 2]).astype(np.float32)
    yield np.concatenate([[8], (np.arange(31) - 15) / 2]).astype(np.float32)
    yield np.zeros(32, np.float32)
    yield -np.zeros(32, np.float32)
    yield np.concatenate([[3, -3], np.zeros(30)]).astype(np.float32)
    yield np.concatenate([[-3, 3], np.zeros(30)]).astype(np.float32)


def encoded_lines(rng):
    rows = np.stack(list(inputs_to_encode(rng)))
    for name in ("Q8_0", "Q4_0"):
        blocks = gguf.quants.quantize(rows, gguf.GGMLQuantizationType[name])
        for block, row in zip(blocks, rows):
            yield f"{name} {block.tobytes().hex()} {row.astype('<f4').tobytes().hex()}"


def main():
    rng = np.random.default_rng(SEED)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "decoded.txt").write_text("\n".join(decoded_lines(rng)) + "\n")
    (FOLDER / "encoded.txt").write_text("\n".join(encoded_lines(rng)) + "\n")


if __name__ == "__main__":
    main()
