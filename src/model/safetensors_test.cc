#include "model/safetensors.h"

#include <sys/resource.h>

#include <cstdint>
#include <cstring>
#include <limits>

#include "model/test_folder.h"

namespace npumoe {
namespace {

std::string LengthBytes(uint64_t value) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &value, 8);
  return bytes;
}

std::string File(const std::string& header, size_t data_bytes) {
  return LengthBytes(header.size()) + header + std::string(data_bytes, 'x');
}

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
         offsets + "}";
}

class SafetensorsFile : public ::testing::Test {
 protected:
  // Opens a file with these bytes, expects a refusal that names the file, returns its message.
  std::string Refusal(const std::string& contents) {
    const auto opened = Safetensors::Open(folder_.Write("x.safetensors", contents));
    if (opened.ok()) return "opened";
    EXPECT_NE(opened.status().message().find("x.safetensors"), std::string::npos);
    return opened.status().message();
  }
  std::string RefusalOfHeader(const std::string& header, size_t data_bytes) {
    return Refusal(File(header, data_bytes));
  }

  TestFolder folder_;
};

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(SafetensorsFile, GivesBackWhatWasWritten) {
  const float weights[] = {1.0f, -2.5f, 3.25f, 0.0f, 5.0f, 6.0f};
  const int8_t flags[] = {1, 2, 3};
  const auto view = [](DType dtype, Shape shape, const void* data) {
    return TensorView{dtype, shape, static_cast<const std::byte*>(data)};
  };
  const auto path = folder_.path() / "out.safetensors";
  ASSERT_TRUE(WriteSafetensors(path, {{"b", view(DType::kF32, {2, 3}, weights)},
                                      {"a", view(DType::kI8, {3}, flags)},
                                      {"empty", view(DType::kF32, {0, 4}, weights)}})
                  .ok());
  const auto file = Safetensors::Open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_EQ(file->tensors().size(), 3u);
  const TensorView b = file->Get("b").value();
  EXPECT_EQ(b.shape, Shape({2, 3}));
  EXPECT_EQ(std::memcmp(b.data, weights, sizeof(weights)), 0);
  EXPECT_EQ(std::memcmp(file->Get("a").value().data, flags, sizeof(flags)), 0);
  EXPECT_EQ(file->Get("empty").value().shape, Shape({0, 4}));
}

TEST_F(SafetensorsFile, WithoutTensorsIsValid) {
  const auto file = Safetensors::Open(folder_.Write("x.safetensors", File("{}", 0)));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_TRUE(file->tensors().empty());
}

TEST_F(SafetensorsFile, IsReadAtAnUnalignedAddress) {
  const std::string header = "{" + Entry("w", "F32", "[1]", "[0,4]") + "} ";
  ASSERT_NE((8 + header.size()) % 4, 0u);
  std::string contents = File(header, 0);
  const float value = 1.5f;
  contents.append(reinterpret_cast<const char*>(&value), sizeof(value));
  const auto file = Safetensors::Open(folder_.Write("x.safetensors", contents));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(*file->Get("w").value().as<float>(), 1.5f);
}

TEST_F(SafetensorsFile, NamesTheFileOfATensorThatItLacks) {
  const auto file = Safetensors::Open(folder_.Write("x.safetensors", File("{}", 0)));
  EXPECT_CONTAINS(file->Get("w").status().message(), "x.safetensors: has no tensor 'w'");
}

TEST_F(SafetensorsFile, IsRefusedWhenMissing) {
  EXPECT_EQ(Safetensors::Open(folder_.path() / "none").status().code(), StatusCode::kNotFound);
}

TEST_F(SafetensorsFile, IsRefusedWhenEmptyOrShorterThanItsLengthField) {
  EXPECT_CONTAINS(Refusal(""), "0 bytes");
  EXPECT_CONTAINS(Refusal("1234567"), "7 bytes");
}

TEST_F(SafetensorsFile, IsRefusedWhenTheHeaderIsLongerThanTheFile) {
  EXPECT_CONTAINS(Refusal(LengthBytes(1000) + "{}"), "truncated");
}

TEST_F(SafetensorsFile, IsRefusedWhenTheHeaderIsLongerThanTheLimit) {
  EXPECT_CONTAINS(Refusal(LengthBytes(100'000'001) + "{}"), "allowed are 100000000");
  EXPECT_CONTAINS(Refusal(LengthBytes(std::numeric_limits<uint64_t>::max()) + "{}"), "allowed");
}

TEST_F(SafetensorsFile, IsRefusedWhenTheHeaderIsNoJsonObject) {
  EXPECT_CONTAINS(RefusalOfHeader("{broken", 0), "JSON");
  EXPECT_CONTAINS(RefusalOfHeader("[1,2]", 0), "object");
  EXPECT_CONTAINS(RefusalOfHeader("", 0), "JSON");
}

TEST_F(SafetensorsFile, IsRefusedWhenATensorIsNoObject) {
  EXPECT_CONTAINS(RefusalOfHeader(R"({"w":7})", 0), "tensor 'w'");
}

TEST_F(SafetensorsFile, IsRefusedWhenANameStandsTwice) {
  const std::string entry = Entry("w", "F32", "[1]", "[0,4]");
  EXPECT_CONTAINS(RefusalOfHeader("{" + entry + "," + entry + "}", 4), "'w' twice");
}

TEST_F(SafetensorsFile, IsRefusedWhenTensorsOverlap) {
  const std::string header =
      "{" + Entry("a", "F32", "[2]", "[0,8]") + "," + Entry("b", "F32", "[2]", "[4,12]") + "}";
  EXPECT_CONTAINS(RefusalOfHeader(header, 12), "overlap");
}

int64_t PeakMemoryKiB() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return usage.ru_maxrss / 1024;
#else
  return usage.ru_maxrss;
#endif
}

// A small file whose tensors all lie on the same bytes, at an address that they
// do not allow, was copied once for each of them before it was refused.
TEST_F(SafetensorsFile, IsRefusedBeforeOverlappingTensorsAreCopied) {
  constexpr size_t kBytes = 1'000'000;
  std::string header = "{";
  for (int i = 0; i < 1000; ++i) {
    if (i > 0) header += ",";
    header += Entry("t" + std::to_string(i), "F32", "[249999]", "[1,999997]");
  }
  header += "}";
  header += std::string(8 - header.size() % 8, ' ');
  const int64_t before = PeakMemoryKiB();
  EXPECT_CONTAINS(RefusalOfHeader(header, kBytes), "overlap");
  EXPECT_LT(PeakMemoryKiB() - before, 200'000);  // all copies have 1,000,000
}

TEST_F(SafetensorsFile, IsRefusedWhenTensorsLeaveAGap) {
  const std::string header =
      "{" + Entry("a", "F32", "[1]", "[0,4]") + "," + Entry("b", "F32", "[1]", "[8,12]") + "}";
  EXPECT_CONTAINS(RefusalOfHeader(header, 12), "gap");
}

TEST_F(SafetensorsFile, IsRefusedWhenBytesFollowTheLastTensor) {
  EXPECT_CONTAINS(RefusalOfHeader("{" + Entry("a", "F32", "[1]", "[0,4]") + "}", 7),
                  "3 bytes behind the last tensor");
}

TEST_F(SafetensorsFile, IsRefusedWhenItsDataAreTruncated) {
  const std::string text = RefusalOfHeader("{" + Entry("a", "F32", "[4]", "[0,16]") + "}", 9);
  EXPECT_CONTAINS(text, "tensor 'a'");
  EXPECT_CONTAINS(text, "9 bytes of data");
}

TEST_F(SafetensorsFile, IsRefusedWhenOffsetsAreNoRange) {
  EXPECT_CONTAINS(RefusalOfHeader("{" + Entry("a", "F32", "[1]", "[4,0]") + "}", 4),
                  "data_offsets");
  EXPECT_CONTAINS(RefusalOfHeader("{" + Entry("a", "F32", "[1]", "[0]") + "}", 4), "data_offsets");
  EXPECT_CONTAINS(RefusalOfHeader("{" + Entry("a", "F32", "[1]", "[-4,0]") + "}", 4),
                  "data_offsets");
}

TEST_F(SafetensorsFile, IsRefusedWhenAShapesProductOverflows) {
  const std::string axes = "[4294967296,4294967296,16]";
  EXPECT_CONTAINS(RefusalOfHeader("{" + Entry("a", "F32", axes, "[0,4]") + "}", 4),
                  "larger than any memory");
  EXPECT_CONTAINS(
      RefusalOfHeader("{" + Entry("a", "F32", "[9223372036854775807]", "[0,4]") + "}", 4),
      "larger than any memory");
}

TEST_F(SafetensorsFile, IsRefusedWhenAnAxisIsNegative) {
  EXPECT_CONTAINS(RefusalOfHeader("{" + Entry("a", "F32", "[-1,-1]", "[0,4]") + "}", 4), "shape");
}

TEST_F(SafetensorsFile, IsRefusedWhenAShapeHasTooManyAxes) {
  EXPECT_CONTAINS(RefusalOfHeader("{" + Entry("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") + "}", 4),
                  "8 axes");
}

TEST_F(SafetensorsFile, IsRefusedWhenATypeIsUnknown) {
  const std::string text = RefusalOfHeader("{" + Entry("a", "F8_E4M3", "[4]", "[0,4]") + "}", 4);
  EXPECT_CONTAINS(text, "tensor 'a'");
  EXPECT_CONTAINS(text, "'F8_E4M3'");
}

TEST_F(SafetensorsFile, IsRefusedWhenShapeAndOffsetsDisagree) {
  EXPECT_CONTAINS(RefusalOfHeader("{" + Entry("a", "F32", "[2]", "[0,4]") + "}", 4),
                  "F32 [2] takes 8 bytes");
}

class ShardedFolder : public ::testing::Test {
 protected:
  void Shard(const std::string& file, const std::string& tensor) {
    folder_.Write(file, File("{" + Entry(tensor, "F32", "[1]", "[0,4]") + "}", 4));
  }
  void Index(const std::string& weight_map) {
    folder_.Write("model.safetensors.index.json", R"({"weight_map":)" + weight_map + "}");
  }
  std::string Refusal() {
    const auto opened = SafetensorsFolder::Open(folder_.path());
    return opened.ok() ? "opened" : opened.status().message();
  }

  TestFolder folder_;
};

TEST_F(ShardedFolder, HoldsTheTensorsOfAllShards) {
  Shard("1.safetensors", "a");
  Shard("2.safetensors", "b");
  Index(R"({"a":"1.safetensors","b":"2.safetensors"})");
  const auto opened = SafetensorsFolder::Open(folder_.path());
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_EQ(opened->tensors().size(), 2u);
  EXPECT_EQ(opened->FileOf("b"), folder_.path() / "2.safetensors");
}

TEST_F(ShardedFolder, IsRefusedWithoutWeights) { EXPECT_CONTAINS(Refusal(), "neither"); }

TEST_F(ShardedFolder, IsRefusedWhenAShardIsMissing) {
  Shard("1.safetensors", "a");
  Index(R"({"a":"1.safetensors","b":"2.safetensors"})");
  EXPECT_CONTAINS(Refusal(), "2.safetensors");
}

TEST_F(ShardedFolder, IsRefusedWhenAShardLiesOutsideOfIt) {
  for (const char* name : {"../x.safetensors", "/etc/x.safetensors", "sub/x.safetensors", "..",
                           "a\\\\x.safetensors", "x.bin"}) {
    Index(std::string(R"({"a":")") + name + "\"}");
    EXPECT_CONTAINS(Refusal(), "in the same folder");
  }
}

TEST_F(ShardedFolder, IsRefusedWhenATensorStandsInAnotherShard) {
  Shard("1.safetensors", "b");
  Shard("2.safetensors", "a");
  Index(R"({"a":"1.safetensors","b":"2.safetensors"})");
  EXPECT_CONTAINS(Refusal(), "it stands in");
}

TEST_F(ShardedFolder, IsRefusedWhenAShardLacksATensor) {
  Shard("1.safetensors", "a");
  Index(R"({"a":"1.safetensors","b":"1.safetensors"})");
  EXPECT_CONTAINS(Refusal(), "tensor 'b'");
}

TEST_F(ShardedFolder, IsRefusedWhenATensorStandsTwice) {
  const std::string both =
      "{" + Entry("b", "F32", "[1]", "[0,4]") + "," + Entry("extra", "F32", "[1]", "[4,8]") + "}";
  folder_.Write("2.safetensors", File(both, 8));
  const std::string first =
      "{" + Entry("a", "F32", "[1]", "[0,4]") + "," + Entry("extra", "F32", "[1]", "[4,8]") + "}";
  folder_.Write("1.safetensors", File(first, 8));
  Index(R"({"a":"1.safetensors","b":"2.safetensors"})");
  EXPECT_CONTAINS(Refusal(), "'extra' stands in an earlier shard");
}

TEST_F(ShardedFolder, IsRefusedWhenTheIndexIsBroken) {
  folder_.Write("model.safetensors.index.json", "{\"weight_map\":");
  EXPECT_CONTAINS(Refusal(), "index.json");
  Index("[]");
  EXPECT_CONTAINS(Refusal(), "weight_map");
  Index("{}");
  EXPECT_CONTAINS(Refusal(), "names no tensor");
  Index(R"({"a":7})");
  EXPECT_CONTAINS(Refusal(), "string");
}

}  // namespace
}  // namespace npumoe
