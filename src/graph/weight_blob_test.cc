#include "graph/weight_blob.h"

#include <gtest/gtest.h>

#include <cstring>

#include "graph/testing/package_files.h"
#include "graph/testing/sample_graphs.h"

namespace npumoe {
namespace {

using testing::ScratchFolder;

std::vector<std::byte> Bytes(size_t count, int first) {
  std::vector<std::byte> bytes(count);
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(first + static_cast<int>(i));
  return bytes;
}

uint64_t Number(const std::string& file, size_t at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value |= uint64_t{static_cast<uint8_t>(file[at + i])} << (8 * i);
  }
  return value;
}

// A file of 70 bytes fp16, then 8 bytes fp32.
struct TwoBlobs {
  TwoBlobs() {
    Result<WeightBlobWriter> writer = WeightBlobWriter::Create(path);
    NPUMOE_CHECK(writer.ok());
    first = *writer->Add(DType::kF16, Bytes(70, 1));
    second = *writer->Add(DType::kF32, Bytes(8, 9));
    NPUMOE_CHECK(writer->Finish().ok());
  }
  ScratchFolder folder;
  std::filesystem::path path = folder / "weight.bin";
  uint64_t first = 0, second = 0;
};

// Expectations are counted by hand from docs/design/coreml-format.md section 4.
TEST(WeightBlob, HasTheDocumentedBytes) {
  const TwoBlobs blobs;
  const std::string file = testing::ReadBytes(blobs.path);
  EXPECT_EQ(blobs.first, 64u);
  EXPECT_EQ(blobs.second, 256u);            // 64 + 64 + 70 rounded up to 64
  ASSERT_EQ(file.size(), 256u + 64u + 8u);  // ends with the last data byte
  EXPECT_EQ(Number(file, 0, 4), 2u);        // blobs
  EXPECT_EQ(Number(file, 4, 4), 2u);        // version
  EXPECT_EQ(Number(file, 64, 4), 0xDEADBEEFu);
  EXPECT_EQ(Number(file, 68, 4), 1u);  // fp16
  EXPECT_EQ(Number(file, 72, 8), 70u);
  EXPECT_EQ(Number(file, 80, 8), 128u);
  EXPECT_EQ(Number(file, 256 + 4, 4), 2u);  // fp32
  EXPECT_EQ(Number(file, 256 + 16, 8), 320u);
  EXPECT_EQ(std::string(file, 8, 56), std::string(56, '\0'));
  EXPECT_EQ(std::string(file, 64 + 24, 40), std::string(40, '\0'));
  EXPECT_EQ(std::string(file, 198, 58), std::string(58, '\0'));
}

TEST(WeightBlob, ReadsBackWhatWasWritten) {
  const TwoBlobs blobs;
  const Result<WeightBlobFile> file = WeightBlobFile::Open(blobs.path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  const Result<TensorView> view = file->View(blobs.first, {"w", DType::kF16, Shape{5, 7}});
  ASSERT_TRUE(view.ok()) << view.status().message();
  EXPECT_EQ(std::memcmp(view->data, Bytes(70, 1).data(), 70), 0);
}

TEST(WeightBlob, WritesEqualBytesOnce) {
  const ScratchFolder folder;
  Result<WeightBlobWriter> writer = WeightBlobWriter::Create(folder / "weight.bin");
  ASSERT_TRUE(writer.ok());
  const Result<uint64_t> first = writer->Add(DType::kF16, Bytes(1000, 1));
  const Result<uint64_t> other = writer->Add(DType::kF16, Bytes(1000, 2));
  const Result<uint64_t> again = writer->Add(DType::kF16, Bytes(1000, 1));
  EXPECT_EQ(*first, *again);
  EXPECT_NE(*first, *other);
  EXPECT_EQ(writer->blob_count(), 2u);
}

TEST(WeightBlob, KeepsEqualBytesOfDifferentTypesApart) {
  const ScratchFolder folder;
  Result<WeightBlobWriter> writer = WeightBlobWriter::Create(folder / "weight.bin");
  ASSERT_TRUE(writer.ok());
  EXPECT_NE(*writer->Add(DType::kF16, Bytes(8, 1)), *writer->Add(DType::kF32, Bytes(8, 1)));
}

// Five elements of 6 bits fill 30 of 32 bits.
TEST(WeightBlob, SaysHowManyBitsOfTheLastByteAreUnused) {
  const ScratchFolder folder;
  Result<WeightBlobWriter> writer = WeightBlobWriter::Create(folder / "weight.bin");
  ASSERT_TRUE(writer.ok());
  const TensorSpec spec{"indices", DType::kU6, Shape{5}};
  const WeightData data{{}, [](std::span<std::byte> bytes) {
                          std::fill(bytes.begin(), bytes.end(), std::byte{3});
                          return OkStatus();
                        }};
  const Result<uint64_t> offset = writer->Add(spec, data);
  ASSERT_TRUE(offset.ok() && writer->Finish().ok());
  const std::string file = testing::ReadBytes(folder / "weight.bin");
  EXPECT_EQ(file[64 + 4], 13);  // uint6
  EXPECT_EQ(file[64 + 8], 4);   // bytes
  EXPECT_EQ(file[64 + 24], 2);  // unused bits
  const Result<WeightBlobFile> read = WeightBlobFile::Open(folder / "weight.bin");
  ASSERT_TRUE(read.ok());
  EXPECT_TRUE(read->View(*offset, spec).ok());
  EXPECT_FALSE(read->View(*offset, {"indices", DType::kU6, Shape{4}}).ok());
  EXPECT_FALSE(read->View(*offset, {"indices", DType::kU4, Shape{8}}).ok());
}

TEST(WeightBlob, AsksOneOfSeveralWeightsOfOneIdentity) {
  const ScratchFolder folder;
  Result<WeightBlobWriter> writer = WeightBlobWriter::Create(folder / "weight.bin");
  ASSERT_TRUE(writer.ok());
  int calls = 0;
  const WeightData data{{},
                        [&calls](std::span<std::byte>) {
                          ++calls;
                          return OkStatus();
                        },
                        "matrix 1"};
  const TensorSpec spec{"w", DType::kF16, Shape{5}};
  const Result<uint64_t> first = writer->Add(spec, data);
  const Result<uint64_t> again = writer->Add(spec, data);
  EXPECT_EQ(*first, *again);
  EXPECT_EQ(calls, 1);
}

TEST(WeightBlob, RefusesAnotherType) {
  const TwoBlobs blobs;
  const Result<WeightBlobFile> file = WeightBlobFile::Open(blobs.path);
  ASSERT_TRUE(file.ok());
  const Status status = file->View(blobs.second, {"w", DType::kF16, Shape{4}}).status();
  EXPECT_NE(status.message().find("declared F16; the blob has the element type 2"),
            std::string::npos)
      << status.message();
}

TEST(WeightBlob, RefusesBytesAfterTheLastBlob) {
  const TwoBlobs blobs;
  testing::WriteBytes(blobs.path, testing::ReadBytes(blobs.path) + std::string(64, '\0'));
  const Status status = WeightBlobFile::Open(blobs.path).status();
  EXPECT_NE(status.message().find("should end the file"), std::string::npos) << status.message();
}

TEST(WeightBlob, RefusesAnEmptyFile) {
  const ScratchFolder folder;
  testing::WriteBytes(folder / "weight.bin", "");
  const Status status = WeightBlobFile::Open(folder / "weight.bin").status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidInput);
  EXPECT_NE(status.message().find("weight.bin"), std::string::npos);
}

TEST(WeightBlob, RefusesACountAboveTheBlobsThatAreThere) {
  const TwoBlobs blobs;
  std::string file = testing::ReadBytes(blobs.path);
  file.replace(0, 4, "\xff\xff\xff\xff");
  testing::WriteBytes(blobs.path, file);
  EXPECT_EQ(WeightBlobFile::Open(blobs.path).status().code(), StatusCode::kInvalidInput);
}

TEST(WeightBlob, TakesAFileWithoutBlobs) {
  const ScratchFolder folder;
  Result<WeightBlobWriter> writer = WeightBlobWriter::Create(folder / "weight.bin");
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->Finish().ok());
  EXPECT_TRUE(WeightBlobFile::Open(folder / "weight.bin").ok());
}

}  // namespace
}  // namespace npumoe
