// Contexts that pass the border of a LongRoPE model (64 tokens here), up and down.
#include <gtest/gtest.h>

#include "runtime/test_models.h"
#include "runtime/test_npu.h"

namespace npumoe {
namespace {

constexpr int64_t kBorder = 64;

class LongRope : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (IsMissing(GetParam())) GTEST_SKIP() << GetParam() << " is not here";
    model_ = LoadForTest(GoldenFolder(GetParam()));
    ASSERT_NE(model_, nullptr);
    ids_ = Expected(GetParam()).Ints("long.ids");
    vocab_ = static_cast<size_t>(model_->config.vocab_size);
  }
  std::span<const int32_t> First(size_t count) const { return std::span(ids_).first(count); }
  // Logits after the first `count` ids in a context of their own.
  std::vector<float> Fresh(size_t count) {
    const auto session = OpenSession(model_, pool_);
    return PrefillAll(*session, First(count), LogitsWanted::kLastRow).logits;
  }
  void ExpectSame(std::span<const float> got, const std::vector<float>& wanted) const {
    EXPECT_LE(RelativeError(got.last(vocab_), wanted), 1e-5);
  }

  std::shared_ptr<const Model> model_;
  std::vector<int32_t> ids_;
  size_t vocab_ = 0;
  ThreadPool pool_{2};
};

TEST_P(LongRope, ASecondTurnThatPassesTheBorderComputesTheFirstAgain) {
  const auto session = OpenSession(model_, pool_, {.cpu_chunk_tokens = 16});
  PrefillAll(*session, First(50));
  const PrefillResult second = PrefillAll(*session, std::span(ids_).subspan(50, 30));
  EXPECT_EQ(second.computed_again, 50);
  EXPECT_EQ(second.tokens, 30);
  EXPECT_EQ(second.first_position, 50);
  EXPECT_EQ(second.logits.size(), 30 * vocab_);
  ExpectSame(second.logits, Fresh(80));
  EXPECT_EQ(session->computed_again().tokens, 50);
  EXPECT_EQ(session->computed_again().times, 1);
}

TEST_P(LongRope, AllRowsOfASecondTurnAreThoseOfTheWholeContext) {
  const auto whole = OpenSession(model_, pool_);
  const std::vector<float> wanted = PrefillAll(*whole, First(80)).logits;
  const auto session = OpenSession(model_, pool_, {.cpu_chunk_tokens = 7});
  PrefillAll(*session, First(50));
  const PrefillResult second = PrefillAll(*session, std::span(ids_).subspan(50, 30));
  EXPECT_LE(RelativeError(second.logits, std::span(wanted).last(30 * vocab_)), 1e-5);
}

TEST_P(LongRope, ATurnUpToTheBorderComputesNothingAgain) {
  const auto session = OpenSession(model_, pool_);
  PrefillAll(*session, First(50));
  const PrefillResult second = PrefillAll(*session, std::span(ids_).subspan(50, kBorder - 50));
  EXPECT_EQ(second.computed_again, 0);
  ExpectSame(second.logits, Fresh(kBorder));
}

TEST_P(LongRope, DecodingPassesTheBorderOnce) {
  const auto session = OpenSession(model_, pool_);
  PrefillAll(*session, First(kBorder - 2));
  std::span<const float> logits;
  for (size_t i = kBorder - 2; i < kBorder + 3; ++i) {
    const auto next = session->Decode(ids_[i]);
    ASSERT_TRUE(next.ok()) << next.status().message();
    logits = *next;
    EXPECT_EQ(session->computed_again().tokens, i < kBorder ? 0 : kBorder) << i;
    ExpectSame(logits, Fresh(i + 1));
  }
  EXPECT_EQ(session->computed_again().times, 1);
  EXPECT_GT(session->computed_again().time_ms, 0);
}

TEST_P(LongRope, ARewindBelowTheBorderComputesTheRestAgain) {
  const auto session = OpenSession(model_, pool_);
  PrefillAll(*session, First(100));
  ASSERT_TRUE(session->Rewind(30).ok());
  const PrefillResult next = PrefillAll(*session, std::span(ids_).subspan(30, 10));
  EXPECT_EQ(next.computed_again, 30);
  ExpectSame(next.logits, Fresh(40));
}

TEST_P(LongRope, ARewindAndADecodeBelowTheBorderComputeTheRestAgain) {
  const auto session = OpenSession(model_, pool_);
  PrefillAll(*session, First(100));
  ASSERT_TRUE(session->Rewind(30).ok());
  const auto logits = session->Decode(ids_[30]);
  ASSERT_TRUE(logits.ok()) << logits.status().message();
  ExpectSame(*logits, Fresh(31));
  EXPECT_EQ(session->computed_again().tokens, 30);
}

TEST_P(LongRope, ARewindAboveTheBorderKeepsTheCache) {
  const auto session = OpenSession(model_, pool_);
  PrefillAll(*session, First(100));
  ASSERT_TRUE(session->Rewind(80).ok());
  const PrefillResult next = PrefillAll(*session, std::span(ids_).subspan(80, 10));
  EXPECT_EQ(next.computed_again, 0);
  ExpectSame(next.logits, Fresh(90));
}

TEST_P(LongRope, AnEmptyContextHasNothingToComputeAgain) {
  const auto session = OpenSession(model_, pool_);
  PrefillAll(*session, First(100));
  ASSERT_TRUE(session->Rewind(0).ok());
  const auto logits = session->Decode(ids_[0]);
  ASSERT_TRUE(logits.ok()) << logits.status().message();
  ExpectSame(*logits, Fresh(1));
  EXPECT_EQ(session->computed_again().times, 0);
}

TEST_P(LongRope, ACancelledPassageLeavesTheContextAsItWas) {
  const auto session = OpenSession(model_, pool_, {.cpu_chunk_tokens = 16});
  PrefillAll(*session, First(50));
  int asked = 0;
  const auto cancelled = session->Prefill(std::span(ids_).subspan(50, 30), LogitsWanted::kLastRow,
                                          [&] { return ++asked > 4; });
  EXPECT_EQ(cancelled.status().code(), StatusCode::kCancelled);
  EXPECT_EQ(session->position(), 50);
  const PrefillResult next = PrefillAll(*session, std::span(ids_).subspan(50, 10));
  ExpectSame(next.logits, Fresh(60));
}

TEST_P(LongRope, ACancelledDecodeLeavesTheContextAsItWas) {
  const auto session = OpenSession(model_, pool_);
  PrefillAll(*session, First(kBorder));
  EXPECT_EQ(session->Decode(ids_[kBorder], [] { return true; }).status().code(),
            StatusCode::kCancelled);
  EXPECT_EQ(session->position(), kBorder);
  const auto logits = session->Decode(ids_[kBorder]);
  ASSERT_TRUE(logits.ok()) << logits.status().message();
  ExpectSame(*logits, Fresh(kBorder + 1));
}

TEST_P(LongRope, TellsTheObserverTheWholeContextAgain) {
  Recorder recorder;
  const auto session = OpenSession(model_, pool_, {.observer = &recorder});
  PrefillAll(*session, First(50));
  PrefillAll(*session, std::span(ids_).subspan(50, 30));
  Recorder whole;
  const auto fresh = OpenSession(model_, pool_, {.observer = &whole});
  PrefillAll(*fresh, First(80));
  EXPECT_EQ(recorder.ids, whole.ids);
}

TEST_P(LongRope, ThePlannedNpuComputesAgainToo) {
  NpuBench bench(model_, {});
  const auto executor = bench.Load();
  const auto session = OpenSession(model_, bench.pool, {.npu = executor.get()});
  PrefillAll(*session, First(50));
  const PrefillResult second = PrefillAll(*session, std::span(ids_).subspan(50, 70));
  EXPECT_EQ(second.chunks.front().begin, 0);
  EXPECT_GT(second.counts.filled_rows, 0);
  EXPECT_LE(RelativeError(std::span(second.logits).last(vocab_), Fresh(120)), kFp16LogitError);
}

INSTANTIATE_TEST_SUITE_P(Phi, LongRope, testing::Values("phi-tiny-moe", "phi-moe"),
                         [](const testing::TestParamInfo<std::string>& test) {
                           return test.param == "phi-moe" ? "PhiMoe" : "PhiTinyMoe";
                         });

}  // namespace
}  // namespace npumoe
