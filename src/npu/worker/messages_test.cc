#include "npu/worker/messages.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "npu/worker/channel.h"

namespace npumoe::worker {
namespace {

std::span<const std::byte> PayloadOf(const std::vector<std::byte>& frame) {
  return std::span(frame).subspan(kHeaderBytes);
}

Loaded SampleLoaded() {
  Loaded loaded;
  loaded.program = 7;
  loaded.inputs = {{"x", DType::kF16, {1, 32, 1, 16}}, {"scalar", DType::kF32, Shape{}}};
  loaded.outputs = {{"y", DType::kF16, {1, 32, 1, 16}}};
  loaded.weight_bytes = 12345;
  loaded.load_report = {300e3, 0.5, true};
  loaded.compute_plan = ComputePlan{10, 8, "two on the CPU"};
  return loaded;
}

LaunchCall SampleLaunch() {
  LaunchCall launch;
  launch.request = 9;
  launch.program = 7;
  launch.inputs = {{0, 16384, 1024}};
  launch.outputs = {{1, 0, 1024}, {1, 16384, 8}};
  launch.rows = {5, -1};
  emulator::FaultEffect fault;
  fault.kind = emulator::FaultKind::kNan;
  fault.rows = 0.25;
  fault.seed = 77;
  launch.faults = {fault};
  return launch;
}

TEST(Messages, ComeBackAsTheyWereWritten) {
  const auto loaded = Decode<Loaded>(PayloadOf(Encode(SampleLoaded())));
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded->program, 7);
  EXPECT_TRUE(loaded->status.ok());
  ASSERT_EQ(loaded->inputs.size(), 2u);
  EXPECT_EQ(loaded->inputs[0].name, "x");
  EXPECT_EQ(loaded->inputs[0].shape, (Shape{1, 32, 1, 16}));
  EXPECT_EQ(loaded->inputs[1].shape.rank(), 0);
  EXPECT_EQ(loaded->load_report.time_ms, 300e3);
  EXPECT_EQ(loaded->compute_plan->elsewhere, "two on the CPU");
  const auto launch = Decode<LaunchCall>(PayloadOf(Encode(SampleLaunch())));
  ASSERT_TRUE(launch.ok()) << launch.status().message();
  EXPECT_EQ(launch->outputs[1].offset, 16384);
  EXPECT_EQ(launch->rows, (std::vector<int32_t>{5, -1}));
  EXPECT_EQ(launch->faults.at(0).kind, emulator::FaultKind::kNan);
  EXPECT_EQ(launch->faults.at(0).rows, 0.25);
  EXPECT_EQ(launch->faults.at(0).seed, 77u);
  Done done;
  done.status = Status(StatusCode::kNumeric, "NaN");
  const auto answer = Decode<Done>(PayloadOf(Encode(done)));
  EXPECT_EQ(answer->status.code(), StatusCode::kNumeric);
  EXPECT_EQ(answer->status.message(), "NaN");
}

TEST(Messages, AreRefusedWhenCutShortAnywhereOrTooLong) {
  std::vector<std::byte> payload(Encode(SampleLoaded()));
  payload.erase(payload.begin(), payload.begin() + kHeaderBytes);
  for (size_t size = 0; size < payload.size(); ++size) {
    EXPECT_FALSE(Decode<Loaded>(std::span(payload).first(size)).ok()) << size;
  }
  payload.push_back(std::byte{0});
  EXPECT_NE(Decode<Loaded>(payload).status().message().find("behind its end"), std::string::npos);
}

TEST(Messages, WithAShapeThatNoMemoryHoldsAreRefused) {
  Loaded loaded = SampleLoaded();
  loaded.inputs[0].shape = Shape{int64_t{1} << 30, int64_t{1} << 30};
  EXPECT_FALSE(Decode<Loaded>(PayloadOf(Encode(loaded))).ok());
  loaded.inputs[0].shape = Shape{-1, 4};
  EXPECT_FALSE(Decode<Loaded>(PayloadOf(Encode(loaded))).ok());
}

TEST(Messages, OfRandomBytesAreRefusedOrReadWithoutHarm) {
  std::mt19937 random(11);
  const std::vector<std::byte> valid = Encode(SampleLaunch());
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> bytes(valid.begin() + kHeaderBytes, valid.end());
    const int damages = 1 + static_cast<int>(random() % 4);
    for (int i = 0; i < damages; ++i) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    const auto launch = Decode<LaunchCall>(bytes);
    if (!launch.ok()) continue;
    EXPECT_LE(launch->inputs.size(), bytes.size());
    static_cast<void>(Decode<Loaded>(bytes));
  }
}

TEST(MessageHeader, IsCheckedBeforeAnythingIsAllocated) {
  std::vector<std::byte> frame = Encode(SampleLaunch());
  const auto header = [&] {
    return DecodeHeader(std::span<const std::byte, kHeaderBytes>(frame.data(), kHeaderBytes));
  };
  EXPECT_EQ(header()->type, MessageType::kLaunch);
  EXPECT_EQ(header()->payload_bytes, frame.size() - kHeaderBytes);
  const uint32_t huge = 0xffffffffu;
  std::memcpy(frame.data() + 8, &huge, 4);
  EXPECT_FALSE(header().ok());
  frame = Encode(SampleLaunch());
  std::memcpy(frame.data() + 4, &huge, 4);
  EXPECT_FALSE(header().ok());
  frame = Encode(SampleLaunch());
  frame[0] = std::byte{0};
  EXPECT_FALSE(header().ok());
}

TEST(FrameParser, CutsAStreamThatComesByteByByte) {
  FrameParser parser;
  std::vector<std::byte> stream = Encode(SampleLaunch());
  const std::vector<std::byte> second = Encode(SampleLoaded());
  stream.insert(stream.end(), second.begin(), second.end());
  std::vector<MessageType> types;
  for (const std::byte byte : stream) {
    parser.Add({&byte, 1});
    auto frame = parser.Next();
    ASSERT_TRUE(frame.ok());
    if (frame->has_value()) types.push_back((*frame)->type);
  }
  EXPECT_EQ(types, (std::vector<MessageType>{MessageType::kLaunch, MessageType::kLoaded}));
}

}  // namespace
}  // namespace npumoe::worker
