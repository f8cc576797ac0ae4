#!/usr/bin/env python3
"""Writes tests/data/tokenizer/demo.reference.jsonl: texts with the ids and the decoded text that
the `tokenizers` package (Hugging Face) gives for models/demo/tokenizer.json.

    pip install tokenizers && tools/make_tokenizer_vectors.py

Special tokens are parsed, none is added, none is skipped in decoding.
"""

import json
import random
import unicodedata
from pathlib import Path

import tokenizers

ROOT = Path(__file__).resolve().parent.parent

WRITTEN = [
    "", " ", "  ", "\n", "\n\n\n", "\r\n", "\t", " \n ", "a", " a", "a ", "Hello, world!",
    "I'm you're he's we'd they'll I've can't 'S 'RE 'twas", "IT'S DON'T", "x='re'", "2026", "3.14159",
    "1234567890", "-42 +7 1e-9 0xFF", "١٢٣ ४५६ ⅷ ²", "snake_case camelCase kebab-case",
    "def f(x):\n    return x ** 2  # comment\n", "if (a && b) { c[0] = 'd'; }", "<|endoftext|>",
    "before<|endoftext|>after", " <|endoftext|> ", "<|endoftext", "<|im_start|>user\n",
    "naïve café", "nai\u0308ve cafe\u0301", "\u00c5 \u212b A\u030a", "ﬁ ligature ½ ™",
    "Привет, мир", "Γειά σου", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "你好,世界。", "こんにちは世界",
    "안녕하세요", "각 \u1100\u1161\u11a8", "สวัสดี", "👍🏽 👩‍👩‍👧 🇩🇪", "\u200b\u200d\ufeff", "\u00a0\u2003\u3000x",
    "a\u2028b\u2029c", "\x00\x01\x7f\x85", "tab\tand  two spaces   and three    four",
    "trailing spaces   ", "   leading", "line one\nline two\r\nline three\n\n  indented",
    "!!!???...", "---===+++", "$100 €50 £20", "https://example.org/a?b=c&d=e#f", "e-mail@example.org",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ABCabcABCabc", "\ud7ff\ue000\ufffd", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🄰",
    "One of the special magic numbers for quiet-river is: 4821907.",
]


def random_text(rng):
    """Code points of every plane and class, runs of space and digits among them."""
    parts = []
    for _ in range(rng.randint(1, 60)):
        kind = rng.random()
        if kind < 0.4:
            parts.append(chr(rng.randint(0x20, 0x7E)))
        elif kind < 0.5:
            parts.append(" " * rng.randint(1, 4))
        elif kind < 0.6:
            parts.append(rng.choice(["\n", "\r\n", "\t", "'s", "'LL", "<|endoftext|>"]))
        else:
            code = rng.choice([rng.randint(0xA0, 0x24FF), rng.randint(0x3000, 0x9FFF),
                               rng.randint(0x1F300, 0x1FAFF), rng.randint(0xAC00, 0xD7A3)])
            parts.append(chr(code) if unicodedata.category(chr(code)) != "Cs" else "?")
    return "".join(parts)


def prose(rng, text):
    start = rng.randrange(len(text) - 400)
    return text[start:start + rng.randint(20, 400)]


def main():
    rng = random.Random(7)
    held_out = (ROOT / "models/demo/held_out_text.txt").read_text(encoding="utf-8")
    texts = WRITTEN + [random_text(rng) for _ in range(60)] + [
        prose(rng, held_out) for _ in range(40)]
    tokenizer = tokenizers.Tokenizer.from_file(str(ROOT / "models/demo/tokenizer.json"))
    out = ROOT / "tests/data/tokenizer/demo.reference.jsonl"
    with out.open("w", encoding="utf-8") as file:
        for text in texts:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            decoded = tokenizer.decode(ids, skip_special_tokens=False)
            file.write(json.dumps({"text": text, "ids": ids, "decoded": decoded}) + "\n")
    print(f"{out}: {len(texts)} texts with tokenizers {tokenizers.__version__}")


if __name__ == "__main__":
    main()
