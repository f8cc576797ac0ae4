"""The house rules that a compiler does not enforce: which room may include which, sizes, comments.

The table is the one of docs/design/architecture.md, section 3; src/*/CMakeLists.txt mirrors it.
Every check is a function over a folder that returns its offenders, so that the checks themselves
are tested on small broken trees.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Room: what its files may include besides their own room. "room" or "room/file.h".
MAY_INCLUDE = {
    "base": set(),
    "model": {"base"},
    "kernels": {"base", "hwy"},
    "graph": {"base"},
    "npu": {"base", "kernels", "graph"},
    "calibrate": {"base", "model"},
    "plan": {"base", "model/config.h", "model/weights.h", "graph", "calibrate", "npu/profile.h"},
    "runtime": {"base", "model", "kernels", "graph", "npu", "plan"},
    "eval": {"base", "model", "runtime"},
    "convert": {"base", "model", "kernels"},
    "cli": {
        "base", "model", "kernels", "graph", "npu", "calibrate", "plan", "runtime", "eval", "convert"
    },
}
GENERATED = {"coreml_min.pb.h": "graph"}  # header: the one room that includes it

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 80
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")


def cpp_files(root, pattern="*"):
    files = [p for p in (root / "src").rglob(pattern) if p.suffix in (".cc", ".h")]
    for folder in ("tests", "fuzz"):
        files += [p for p in (root / folder).glob(pattern) if p.suffix in (".cc", ".h")]
    return sorted(files)


def room_of(root, path):
    return path.relative_to(root / "src").parts[0]


def include_allowed(room, included):
    if included in GENERATED:
        return room == GENERATED[included]
    first = included.split("/")[0]
    return first == room or first in MAY_INCLUDE[room] or included in MAY_INCLUDE[room]


def forbidden_includes(root):
    offenders = []
    for path in sorted((root / "src").rglob("*")):
        if path.suffix not in (".cc", ".h"):
            continue
        room = room_of(root, path)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*(?:include|define\s+HWY_TARGET_INCLUDE)\s+"([^"]+)"', line)
            if match and not include_allowed(room, match[1]):
                offenders.append(f"{path.relative_to(root)}:{number}: {room} includes {match[1]}")
    return offenders


def forbidden_links(root):
    offenders = []
    for path in sorted((root / "src").glob("*/CMakeLists.txt")):
        room = room_of(root, path)
        rooms = {entry.split("/")[0] for entry in MAY_INCLUDE[room]}
        if "npu/profile.h" in MAY_INCLUDE[room] or "npu" in rooms:
            rooms.add("npu_profile")
        if "npu" not in MAY_INCLUDE[room]:
            rooms.discard("npu")
        if room == "npu":
            rooms.add("npu_profile")
        match = re.search(r"npumoe_room\(\w+\s+DEPENDS((?:\s+[a-z_]+)+)", path.read_text())
        for linked in match[1].split() if match else []:
            if linked not in rooms:
                offenders.append(f"{path.relative_to(root)}: {room} links {linked}")
    return offenders


def headers_with_full_json(root):
    return [
        str(path.relative_to(root))
        for path in cpp_files(root, "*.h")
        if re.search(r"#\s*include\s+<nlohmann/json\.hpp>", path.read_text())
    ]


def headers_without_first_comment(root):
    return [
        str(path.relative_to(root))
        for path in cpp_files(root, "*.h")
        if not path.read_text().lstrip().startswith("//")
    ]


def long_files(root):
    files = cpp_files(root) + sorted((root / "tests").rglob("*.py")) + sorted(
        (root / "tools").glob("*"))
    lines = {p: len(p.read_text().splitlines()) for p in files if p.is_file()}
    return [f"{p.relative_to(root)}: {n} lines" for p, n in lines.items() if n > MAX_FILE_LINES]


def unfinished_work(root):
    offenders = []
    for path in cpp_files(root) + sorted((root / "tools").glob("*.sh")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if UNFINISHED.search(line):
                offenders.append(f"{path.relative_to(root)}:{number}: {line.strip()}")
    return offenders


def blank_out(text):
    """Comments, literals and preprocessor lines become blanks; line numbers stay."""
    token = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"'
        r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*",
        re.DOTALL | re.MULTILINE)
    return token.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


# What may stand before a brace that opens a function's body, after its parameter list.
BODY_FOLLOWS = re.compile(r"(\)|\b(const|noexcept|override|final|mutable|try)|->\s*[\w:<>,&*\s]+)\s*$")
NOT_A_FUNCTION = re.compile(r"^\s*(namespace|enum|extern|class|struct|union)\b|\boperator\s*$")


def functions(text):
    """(first line, lines, heading) of every outermost function body of C++ `text`."""
    text = blank_out(text)
    found = []
    stack = []  # True for a brace that opened an outermost function
    statement = 0  # where the current declaration began
    start = 0
    for match in re.finditer(r"[{};]", text):
        at = match.start()
        if match[0] == "{":
            heading = text[statement:at]
            initialiser = re.search(r"\)\s*:.*[\w>]\s*$", heading, re.DOTALL) and not (
                BODY_FOLLOWS.search(heading))
            opens = (not any(stack) and not initialiser and "(" in heading
                     and not NOT_A_FUNCTION.search(heading) and "=" not in heading.split("(")[0])
            if opens:
                start = statement + len(heading) - len(heading.lstrip())
            stack.append(opens)
            if not initialiser:
                statement = at + 1
        elif match[0] == "}" and stack:
            if stack.pop():
                first = text.count("\n", 0, start) + 1
                last = text.count("\n", 0, at) + 1
                found.append((first, last - first + 1, " ".join(text[start:start + 60].split())))
                statement = at + 1
            elif not re.match(r"\s*[,{]", text[at + 1:]) or any(stack):
                statement = at + 1
        elif match[0] == ";":
            statement = at + 1
    return found


def long_functions(root):
    offenders = []
    for path in cpp_files(root):
        for line, count, heading in functions(path.read_text()):
            if count > MAX_FUNCTION_LINES:
                offenders.append(f"{path.relative_to(root)}:{line}: {count} lines: {heading}")
    return offenders


# What only the folder of a vendor's device may speak: its headers, types and platform macros. Names
# of devices in messages, comments and the registry are not code of theirs.
VENDORS = {
    "npu/coreml": re.compile(r"<(CoreML|CoreVideo|Foundation|Accelerate|IOSurface)/|\bML[A-Z]\w+"
                             r"|\bNS[A-Z]\w+|\bIOSurface\w*|@autoreleasepool|\b__APPLE__\b"),
    "npu/openvino": re.compile(r"<openvino/|\bov::|\bopenvino::runtime"),
}
VENDOR_ALLOWED = {  # platform macros without a device behind them
    "src/model/safetensors_test.cc",  # the unit of getrusage
}


def vendors_outside_their_folder(root):
    offenders = []
    for path in sorted((root / "src").rglob("*")):
        name = str(path.relative_to(root))
        if path.suffix not in (".cc", ".h", ".mm") or name in VENDOR_ALLOWED:
            continue
        text = re.sub(r"//[^\n]*", "", path.read_text())
        for folder, words in VENDORS.items():
            if name.startswith(f"src/{folder}/"):
                continue
            offenders += [f"{name}: {match[0]}" for match in words.finditer(text)]
    return offenders


CHECKS = [
    forbidden_includes, forbidden_links, headers_with_full_json, headers_without_first_comment,
    long_files, unfinished_work, long_functions, vendors_outside_their_folder
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_source_tree_has_no(check):
    offenders = check(ROOT)
    assert not offenders, "\n" + "\n".join(offenders)


def test_every_room_is_in_the_table():
    rooms = {p.name for p in (ROOT / "src").iterdir() if p.is_dir()}
    assert rooms == set(MAY_INCLUDE)


# The checks, checked: each finds what it is for in a small tree and accepts its neighbour.


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tools").mkdir()

    def write(name, text):
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize("name, line, refused", [
    ("base/x.cc", '#include "model/config.h"', True),
    ("model/x.cc", '#include "base/json.h"', False),
    ("plan/x.cc", '#include "npu/profile.h"', False),
    ("plan/x.cc", '#include "npu/device.h"', True),
    ("plan/x.cc", '#include "model/tokenizer.h"', True),
    ("runtime/x.h", '#  include "calibrate/trace.h"', True),
    ("npu/emulator/x_test.cc", '#include "plan/plan.h"', True),
    ("graph/x.cc", '#include "hwy/highway.h"', True),
    ("graph/x.cc", '#include "coreml_min.pb.h"', False),
    ("model/x.cc", '#include "coreml_min.pb.h"', True),
    ("kernels/gemm/x.cc", '#include <vector>', False),
    ("kernels/gemm/x.cc", '#include "gemm.h"', True),
])
def test_an_include_outside_the_table_is_found(tree, name, line, refused):
    assert bool(forbidden_includes(tree(name, line))) == refused


@pytest.mark.parametrize("text, refused", [
    ("npumoe_room(plan DEPENDS base model graph calibrate npu_profile)", False),
    ("npumoe_room(plan DEPENDS base npu)", True),
    ("npumoe_room(plan DEPENDS base runtime LIBRARIES x)", True),
])
def test_a_link_outside_the_table_is_found(tree, text, refused):
    assert bool(forbidden_links(tree("plan/CMakeLists.txt", text))) == refused


def test_a_header_without_comment_or_with_full_json_is_found(tree):
    root = tree("base/bad.h", "#pragma once\n#include <nlohmann/json.hpp>\n")
    tree("base/good.h", "// What it owns.\n#pragma once\n#include <nlohmann/json_fwd.hpp>\n")
    assert headers_without_first_comment(root) == ["src/base/bad.h"]
    assert headers_with_full_json(root) == ["src/base/bad.h"]


def test_a_long_file_and_unfinished_work_are_found(tree):
    root = tree("base/long.cc", "\n" * 501)
    tree("base/open.cc", "// TO" + "DO: later\n")
    tree("base/fine.cc", 'const char* kPattern = "file-XX' + 'XXXX";\n' * 500)
    assert long_files(root) == ["src/base/long.cc: 501 lines"]
    assert unfinished_work(root) == ["src/base/open.cc:1: // TO" + "DO: later"]


def body(lines):
    return "{\n" + "  x = {1, 2};\n" * (lines - 2) + "}\n"


@pytest.mark.parametrize("heading", [
    "int F() ",
    "auto F(int a) -> std::vector<int> ",
    "Foo::Foo(int a) : a_(a), b_{a} ",
    "bool Foo::f(int a) const noexcept ",
    "namespace n {\nclass C {\n int x_ = 0;\n void F() ",
    "const std::map<int, int> kMap = {{1, 2}, {3, 4}};\nvoid F() ",
    "TEST(Suite, Name) ",
    "template <class T>\nvoid F(T x) ",
])
def test_a_long_function_is_found(tree, heading):
    function = heading.count("\n") + 1
    closing = "}};" if heading.startswith("namespace") else ""
    root = tree("base/f.cc", heading + body(81) + closing)
    found = long_functions(root)
    assert len(found) == 1 and "81 lines" in found[0] or "82 lines" in found[0], (found, function)


@pytest.mark.parametrize("text", [
    "int F() " + body(80),
    "namespace n {\n" + ("int F() " + body(40)) * 5 + "}\n",
    "class C {\n" + "  void F() { x(); }\n" * 100 + "};\n",
    "const int kTable[] = {\n" + "  1,\n" * 100 + "};\n",
    "Foo::Foo() : a_{1} {}\n" + "int x = 0;\n" * 100,
])
def test_short_functions_and_long_tables_are_accepted(tree, text):
    assert long_functions(tree("base/f.cc", text)) == []


@pytest.mark.parametrize("name, line, refused", [
    ("runtime/x.cc", "ov::Model model;", True),
    ("cli/x.cc", "#include <CoreML/CoreML.h>", True),
    ("base/x.h", "#ifdef __APPLE__", True),
    ("npu/openvino/module/x.cc", "ov::Model model;", False),
    ("npu/coreml/x.mm", "MLModel* model;", False),
    ("cli/x.cc", 'fmt::print("openvino:CPU");  // ov::Core', False),
])
def test_vendors_speak_in_their_folder_only(tree, name, line, refused):
    assert bool(vendors_outside_their_folder(tree(name, line + "\n"))) == refused
