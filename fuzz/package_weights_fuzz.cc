// weights/weight.bin of a package ("blob v2"): every blob that the walk of its headers finds is
// inside the file, whatever a program declares it to be.
#include "fuzz/fuzz.h"
#include "fuzz/scratch_files.h"
#include "graph/weight_blob.h"

namespace npumoe {
namespace {

void Read(std::string_view input) {
  static const fuzz::ScratchFolder folder;
  const auto path = folder / "weight.bin";
  fuzz::WriteFile(path, input);
  const Result<WeightBlobFile> file = WeightBlobFile::Open(path);
  if (!file.ok()) {
    fuzz::Require(file.status().message().find(path.string()) == 0, "an error names the file");
    return;
  }
  fuzz::Require(file->Hash().size() == 32, "the file has a hash");
  constexpr uint64_t kBorder = 64;  // headers stand there; one in between must be refused
  for (uint64_t offset = 0; offset <= input.size(); offset += kBorder / 2) {
    for (const DType dtype : {DType::kF16, DType::kF32, DType::kI8, DType::kI32}) {
      for (const int64_t elements : {1, 2, 8, 30, 32, 120}) {
        const Result<TensorView> view = file->View(offset, {"w", dtype, Shape{elements}});
        if (view.ok()) fuzz::Touch({view->data, view->bytes()});
      }
    }
  }
}

}  // namespace
}  // namespace npumoe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  npumoe::Read(npumoe::fuzz::AsText(data, size));
  return 0;
}
