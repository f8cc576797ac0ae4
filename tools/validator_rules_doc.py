#!/usr/bin/env python3
"""Writes docs/validator-rules.md from what the program says of its rules:

    npumoe verify --graph --rules --json | tools/validator_rules_doc.py > docs/validator-rules.md

tests/validator_rules_test.py fails when the file says something else.
"""

import json
import sys

LONG_KEY = "limits.refused_ops"

HEAD = """# Rules of the graph validator

What a chip's limits say about a static graph, before minutes of compiling. `npumoe compile` asks before it writes a
package, the emulated NPU before it loads one, and `npumoe verify --graph P.mlpackage --chip NAME` shows every rule for
every function of a package: ok, warning or refused, with what was found, why, and what to do. Errors refuse a graph;
a graph with warnings runs, badly. `npumoe verify --graph --rules` lists the rules.

This page is made from the program's own table (`src/graph/validator/rule_table.cc`) by `tools/validator_rules_doc.py`.
Sources are sections of [design/ane-facts.md](design/ane-facts.md) and the short names used there: M measured,
D documented by the maker, R read from a compiler's tables. Each rule has a graph that breaks it and one that just does
not in `src/graph/testing/rule_pairs.h`; the rules that no graph by itself can break in `src/runtime/rule_agreement_test.cc`
(plan, device) and `src/graph/validator_test.cc` (reader).

## Rules

*Checked by*: `graph` looks at the graph; `reader` is whoever reads a package, because graphs here cannot express what
breaks the rule; `plan` and `device` keep limits that concern more than one program. *Holds for*: a rule with keys holds
for the chips whose profile sets them; the values follow below.
"""

VALUES = """
## Values

From `chips/*.toml`, where each has its provenance and source. A profile may leave out the table `limits.graph`: then
no rule with those keys holds for its chip.
"""

TAIL = """
## Facts that are no rules

| fact (ane-facts) | why there is no rule | where it is taken care of |
|---|---|---|
| compute units are a permission; eligible operations may not be placed; placement flips with size (2) | the graph does not say | the device reads the placement back; time and numbers of each program are checked on its first use |
| one linear layer is preferred from k of about 4992, fused attention from 2 million elements (2) | one chip, one system version | `program-small`, `fused-attention`; profiles measured on the device |
| values beyond 65504 become infinite; a cliff was seen near 32759; row sums of integers are exact to 2048 (4) | depends on the data | outputs are scanned for infinity and NaN, rows are recomputed on the CPU |
| masks of -40000, shape (1, key, 1, query); one head at a time (4, 5) | a property of the attention graph | `src/graph/attention_program.h` writes it so; `constant-not-finite` finds masks of infinity |
| cumsum works in limited cases; top-k and gather from M2 in some tables (5) | no reliable bound | `operation-unknown`, `refused-operation`: both stay on the CPU |
| int16 activations run (4) | packages here have no int16 | `activation-type` |
| a depth of 1 in matmul (5) | the source does not say which axis | `product-depth` takes the second of five axes |
| compiles per process on a private path (7) | Core ML compiles elsewhere | - |
| 1 GB a program on phones (7) | no profile of a phone | `limits.max_program_bytes` of a profile |
| first call after idle, wake time, dispatch time (9) | costs, not limits | `npu.*` of the profiles; warm-up before the first prompt |
| a blocked prediction may hang when the engine is contended (8) | happens at run time | launches have a time limit |
| the second engine of an Ultra adds nothing to one program (8) | a cost | `npu.tflops` of m2-ultra |
"""


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def rules_table(rules, chips):
    rows = []
    for rule in rules:
        holds = "all" if rule["chips"] == chips else ", ".join(rule["chips"]) or "none"
        rows.append([
            f"`{rule['rule']}`", rule["severity"], rule["checked_by"], holds, rule["demand"],
            rule["why"], rule["source"], rule["remedy"]
        ])
    return table(
        ["rule", "severity", "checked by", "holds for", "what has to hold", "why", "source", "remedy"],
        rows)


def values_table(limits, chips):
    rows = [[f"`{key}`"] + [values[chip] or "-" for chip in chips]
            for key, values in limits.items() if key != LONG_KEY]
    return table(["key"] + chips, rows)


def refused_operations(limits):
    """What all chips refuse, and what some of them refuse besides."""
    lists = {chip: value.split() for chip, value in limits[LONG_KEY].items()}
    common = [op for op in next(iter(lists.values())) if all(op in own for own in lists.values())]
    lines = [f"\n- `{LONG_KEY}` of all chips: {', '.join(f'`{op}`' for op in common)}."]
    for chip, own in lists.items():
        if more := [op for op in own if op not in common]:
            lines.append(f"- Of {chip} also: {', '.join(f'`{op}`' for op in more)}.")
    return "\n".join(lines) + "\n"


def document(said):
    chips = list(next(iter(said["limits"].values())))
    limits = said["limits"]
    return "\n".join([
        HEAD, rules_table(said["rules"], chips) + VALUES,
        values_table(limits, chips) + refused_operations(limits) + TAIL
    ])


if __name__ == "__main__":
    sys.stdout.write(document(json.load(sys.stdin)))
