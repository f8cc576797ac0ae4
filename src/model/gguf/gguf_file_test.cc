#include <gtest/gtest.h>

#include "base/clock.h"
#include "model/gguf/gguf_writer.h"
#include "model/gguf/test_gguf.h"
#include "model/test_folder.h"

namespace npumoe {
namespace {

std::string ErrorOf(const TestBytes& bytes) {
  const auto file = bytes.Parse();
  return file.ok() ? "no error" : file.status().message();
}

// A file whose only key has this type and these bytes behind it.
TestBytes FileWithKey(uint32_t type, const TestBytes& value) {
  TestBytes bytes;
  bytes.AddHeader(3, 0, 1).AddString("key").Add(type).AddRaw(value.text());
  return bytes;
}

constexpr uint32_t kString = 8;
constexpr uint32_t kArray = 9;
constexpr uint32_t kU8 = 0;
constexpr uint32_t kF32Type = 0;
constexpr uint32_t kQ8Type = 8;

TEST(GgufFile, ReadsTensorsOfVersions2And3WithTheRowLast) {
  for (const uint32_t version : {2u, 3u}) {
    TestBytes bytes;
    bytes.AddHeader(version, 1, 0).AddTensor({"w", {4, 3}, kF32Type, 0}).AddData(48);
    const auto file = bytes.Parse();
    ASSERT_TRUE(file.ok()) << file.status().message();
    EXPECT_EQ(file->tensors().at("w").shape, Shape({3, 4}));
  }
}

TEST(GgufFile, ReadsWhatItsWriterWrites) {
  const TestFolder folder;
  auto file = AtomicFile::Create(folder.path() / "a.gguf");
  ASSERT_TRUE(file.ok());
  GgufMetadataBuilder metadata;
  metadata.AddU32("n", 7);
  metadata.AddStrings("list", std::vector<std::string>{"a", "", "ccc"});
  metadata.AddBools("flags", {true, false});
  const std::vector<float> values = {1, 2, 3};
  const auto write = [&](const ByteSink& sink) {
    return sink({reinterpret_cast<const char*>(values.data()), 12});
  };
  const std::vector<OutputTensor> tensors = {{"x", DType::kF32, Shape({3}), write},
                                             {"y", DType::kF32, Shape({1, 3}), write}};
  ASSERT_TRUE(WriteGgufTo(*file, metadata, tensors).ok());
  ASSERT_TRUE(file->Commit().ok());
  const auto read = GgufFile::Open(folder.path() / "a.gguf");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(*read->metadata().Strings("list"), (std::vector<std::string_view>{"a", "", "ccc"}));
  EXPECT_EQ(*read->metadata().Bools("flags"), (std::vector<bool>{true, false}));
  EXPECT_EQ(*read->metadata().Int("n", 0, 100), 7);
  EXPECT_EQ(read->tensors().at("y").as<float>()[2], 3.0f);
}

TEST(GgufFile, CopiesEveryKindOfValueBitForBit) {
  GgufMetadataBuilder first;
  first.AddU32("a", 1);
  first.AddF32("b", 0.1f);
  first.AddF64("c", 0.1);
  first.AddBool("d", true);
  first.AddString("e", "text");
  first.AddI32s("f", std::vector<int32_t>{-1, 2});
  first.AddStrings("g", std::vector<std::string>{"x", "y"});
  const auto file = FileWith({}, 0, first).Parse();
  ASSERT_TRUE(file.ok());
  GgufMetadataBuilder second;
  for (const char* key : {"a", "b", "c", "d", "e", "f", "g"}) {
    second.AddCopy(key, *file->metadata().Find(key));
  }
  EXPECT_EQ(first.bytes(), second.bytes());
}

TEST(GgufFile, RefusesAnotherMagic) {
  ExpectSays(ErrorOf(TestBytes().AddRaw("GGML....")), "does not begin with 'GGUF'");
}

TEST(GgufFile, RefusesEveryTruncationOfAFileOfTwoTensors) {
  GgufMetadataBuilder metadata;
  metadata.AddStrings("list", std::vector<std::string>{"abc", "d"});
  metadata.AddU32("n", 7);
  const std::string whole =
      FileWith({{"a", {8}, kF32Type, 0}, {"b", {8}, kF32Type, 32}}, 64, metadata).text();
  ASSERT_TRUE(TestBytes().AddRaw(whole).Parse().ok());
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(TestBytes().AddRaw(whole.substr(0, length)).Parse().ok()) << length;
  }
}

TEST(GgufFile, NamesVersion1) {
  ExpectSays(ErrorOf(TestBytes().AddHeader(1, 0, 0)), "GGUF version 1");
}

TEST(GgufFile, NamesBigEndianFiles) {
  ExpectSays(ErrorOf(TestBytes().AddHeader(0x03000000, 0, 0)), "big-endian");
}

TEST(GgufFile, RefusesANewerVersion) {
  ExpectSays(ErrorOf(TestBytes().AddHeader(4, 0, 0)), "version 4");
}

TEST(GgufFile, RefusesCountsOfKeysBeyondTheFile) {
  for (const uint64_t count : {uint64_t{2}, uint64_t{1} << 40, ~uint64_t{0}}) {
    ExpectSays(ErrorOf(TestBytes().AddHeader(3, 0, count)), "metadata keys");
  }
}

TEST(GgufFile, RefusesCountsOfTensorsBeyondTheFile) {
  for (const uint64_t count : {uint64_t{1}, uint64_t{1} << 40, ~uint64_t{0}}) {
    ExpectSays(ErrorOf(TestBytes().AddHeader(3, count, 0)), "tensors");
  }
}

TEST(GgufFile, RefusesAKeyWhoseLengthLiesBeyondTheFile) {
  TestBytes bytes;
  bytes.AddHeader(3, 0, 1).Add(~uint64_t{0}).AddRaw(std::string(32, 'x'));
  ExpectSays(ErrorOf(bytes), "a length beyond the file");
}

TEST(GgufFile, RefusesAStringWhoseLengthLiesBeyondTheFile) {
  TestBytes value;
  value.Add(uint64_t{100}).AddRaw("short");
  ExpectSays(ErrorOf(FileWithKey(kString, value)), "a length beyond the file");
}

TEST(GgufFile, RefusesNestedArrays) {
  TestBytes value;
  value.Add(kArray).Add(uint64_t{1}).Add(kU8).Add(uint64_t{1}).Add(uint8_t{1});
  ExpectSays(ErrorOf(FileWithKey(kArray, value)), "array of arrays");
}

TEST(GgufFile, RefusesArraysLongerThanTheFile) {
  for (const uint32_t type : {kU8, kString, uint32_t{12}}) {
    for (const uint64_t count : {uint64_t{1} << 30, uint64_t{1} << 61, ~uint64_t{0}}) {
      TestBytes value;
      value.Add(type).Add(count).Add(uint64_t{0});
      ExpectSays(ErrorOf(FileWithKey(kArray, value)), "claims an array");
    }
  }
}

TEST(GgufFile, RefusesUnknownTypesOfValuesAndElements) {
  ExpectSays(ErrorOf(FileWithKey(13, TestBytes().Add(uint64_t{0}))), "type 13");
  TestBytes array;
  array.Add(uint32_t{99}).Add(uint64_t{1}).Add(uint64_t{0});
  ExpectSays(ErrorOf(FileWithKey(kArray, array)), "type 99");
}

TEST(GgufFile, RefusesAKeyThatStandsTwice) {
  TestBytes bytes;
  bytes.AddHeader(3, 0, 2);
  for (int i = 0; i < 2; ++i) bytes.AddString("key").Add(kU8).Add(uint8_t{1});
  ExpectSays(ErrorOf(bytes), "key 'key' stands twice");
}

TEST(GgufFile, RefusesATensorThatStandsTwice) {
  ExpectSays(ErrorOf(FileWith({{"w", {8}, kF32Type, 0}, {"w", {8}, kF32Type, 32}}, 64)),
             "tensor 'w' stands twice");
}

TEST(GgufFile, RefusesTensorsThatOverlap) {
  ExpectSays(ErrorOf(FileWith({{"a", {16}, kF32Type, 0}, {"b", {8}, kF32Type, 32}}, 64)),
             "'a' and 'b' overlap");
}

TEST(GgufFile, RefusesOffsetsThatAreNotAligned) {
  ExpectSays(ErrorOf(FileWith({{"w", {4}, kF32Type, 4}}, 64)), "multiple of 32");
}

TEST(GgufFile, RefusesTensorsBeyondTheFile) {
  const uint64_t far = uint64_t{1} << 63;
  for (const uint64_t offset : {uint64_t{64}, far, ~uint64_t{31}}) {
    ExpectSays(ErrorOf(FileWith({{"w", {16}, kF32Type, offset}}, 64)), "the file has 64");
  }
}

TEST(GgufFile, RefusesShapesWhoseSizeOverflows) {
  const uint64_t big = uint64_t{1} << 62;
  for (const std::vector<uint64_t>& axes :
       {std::vector<uint64_t>{big, 4},
        {big},
        {~uint64_t{0}},
        {uint64_t{1} << 21, uint64_t{1} << 21, uint64_t{1} << 21}}) {
    EXPECT_FALSE(FileWith({{"w", axes, kF32Type, 0}}, 64).Parse().ok());
  }
}

TEST(GgufFile, RefusesAxesOfZeroAndTooManyOfThem) {
  ExpectSays(ErrorOf(FileWith({{"w", {4, 0}, kF32Type, 0}}, 64)), "axis of 0");
  ExpectSays(ErrorOf(FileWith({{"w", {1, 1, 1, 1, 1}, kF32Type, 0}}, 64)), "5 axes");
  ExpectSays(ErrorOf(FileWith({{"w", {}, kF32Type, 0}}, 64)), "0 axes");
}

TEST(GgufFile, RefusesRowsThatBlocksDoNotDivide) {
  ExpectSays(ErrorOf(FileWith({{"w", {48, 2}, kQ8Type, 0}}, 256)),
             "blocks of 32 (Q8_0) do not divide");
}

TEST(GgufFile, NamesTypesThatItDoesNotComputeWith) {
  ExpectSays(ErrorOf(FileWith({{"w", {256}, 10, 0}}, 256)), "type Q2_K");
}

TEST(GgufFile, RefusesUnknownTypeNumbers) {
  ExpectSays(ErrorOf(FileWith({{"w", {256}, 4711, 0}}, 256)), "4711 is not known");
}

TEST(GgufFile, RefusesAbsurdAlignments) {
  for (const uint32_t alignment : {0u, 4u, 48u, 1u << 30}) {
    GgufMetadataBuilder metadata;
    metadata.AddU32("general.alignment", alignment);
    ExpectSays(ErrorOf(FileWith({{"w", {8}, kF32Type, 0}}, 32, metadata)), "general.alignment");
  }
}

TEST(GgufFile, RefusesNamesOfTensorsThatAreEmptyOrVeryLong) {
  EXPECT_FALSE(FileWith({{"", {8}, kF32Type, 0}}, 32).Parse().ok());
  EXPECT_FALSE(FileWith({{std::string(256, 'x'), {8}, kF32Type, 0}}, 32).Parse().ok());
}

// Checks must not make loading slow: the bound is a hundred times what it takes.
TEST(GgufFile, ReadsAMillionStringsAndAHundredThousandTensorsInSeconds) {
  GgufMetadataBuilder metadata;
  metadata.AddStrings("list", std::vector<std::string>(1'000'000, "token"));
  std::vector<TestTensor> tensors;
  for (uint64_t i = 0; i < 100'000; ++i) {
    tensors.push_back({"blk." + std::to_string(i) + ".weight", {8}, kF32Type, 32 * i});
  }
  const TestBytes bytes = FileWith(tensors, 3'200'000, metadata);
  Stopwatch watch;
  EXPECT_TRUE(bytes.Parse().ok());
  EXPECT_LT(watch.ElapsedMs(), 20'000);
}

TEST(GgufMetadata, SaysWhatItFoundAndWhatIsAllowed) {
  GgufMetadataBuilder metadata;
  metadata.AddU32("n", 7);
  const auto file = FileWith({}, 0, metadata).Parse();
  ASSERT_TRUE(file.ok());
  const GgufMetadata& m = file->metadata();
  ExpectSays(m.Int("n", 0, 5).status().message(),
             "key 'n' is u32 7; an integer from 0 to 5 is needed");
  ExpectSays(m.String("n").status().message(), "a string is needed");
  ExpectSays(m.Int("absent", 0, 5).status().message(), "key 'absent' is missing");
  EXPECT_EQ(*m.Number("n", 0, 10), 7.0);
}

TEST(GgufMetadata, RefusesNumbersThatAreNone) {
  GgufMetadataBuilder metadata;
  metadata.AddF32("x", std::numeric_limits<float>::quiet_NaN());
  metadata.AddF32s("list", std::vector<float>{1, std::numeric_limits<float>::infinity()});
  const auto file = FileWith({}, 0, metadata).Parse();
  ASSERT_TRUE(file.ok());
  EXPECT_FALSE(file->metadata().Number("x", -1e300, 1e300).ok());
  EXPECT_FALSE(file->metadata().Numbers("list").ok());
}

}  // namespace
}  // namespace npumoe
