"""GGUF files as the `gguf` package sees and writes them, and what two models compute."""

import gguf
import numpy as np
from safetensors.numpy import load_file

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
