// A .safetensors file. What opens has readable tensors, and written again holds the same ones.
#include "fuzz/fuzz.h"
#include "fuzz/scratch_files.h"
#include "model/safetensors.h"

namespace npumoe {
namespace {

void RequireEqual(const Safetensors& a, const Safetensors& b) {
  fuzz::Require(a.tensors().size() == b.tensors().size(), "as many tensors when written again");
  for (const auto& [name, view] : a.tensors()) {
    const Result<TensorView> other = b.Get(name);
    fuzz::Require(other.ok(), "tensor '" + name + "' is there when written again");
    const size_t bytes = view.bytes();
    fuzz::Require(other->dtype == view.dtype && other->shape == view.shape,
                  "type and shape of '" + name + "' survive writing");
    fuzz::Require(fuzz::Touch({view.data, bytes}) == fuzz::Touch({other->data, bytes}),
                  "bytes of '" + name + "' survive writing");
  }
}

void Read(std::string_view input) {
  static const fuzz::ScratchFolder folder;
  const auto path = folder / "input.safetensors";
  fuzz::WriteFile(path, input);
  const Result<Safetensors> file = Safetensors::Open(path);
  if (!file.ok()) {
    fuzz::Require(file.status().message().find(path.string()) == 0, "an error names the file");
    return;
  }
  for (const auto& [name, view] : file->tensors()) {
    const auto address = reinterpret_cast<uintptr_t>(view.data);
    fuzz::Require(view.bytes() == 0 || address % BytesPerElement(view.dtype) == 0,
                  "tensors are aligned");
  }
  const auto copy = folder / "copy.safetensors";
  fuzz::Require(WriteSafetensors(copy, file->tensors()).ok(), "what was read can be written");
  const Result<Safetensors> again = Safetensors::Open(copy);
  fuzz::Require(again.ok(), "what was written can be read: " + again.status().message());
  RequireEqual(*file, *again);
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
