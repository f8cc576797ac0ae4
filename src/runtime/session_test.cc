#include "runtime/session.h"

#include <gtest/gtest.h>

#include "runtime/test_models.h"

namespace npumoe {
namespace {

class SessionTest : public testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadForTest(GoldenFolder("qwen3-moe"));
    ASSERT_NE(model_, nullptr);
    ids_ = Expected("qwen3-moe").Ints("long.ids");
  }
  std::vector<int32_t> First(size_t count) const { return {ids_.begin(), ids_.begin() + count}; }

  std::shared_ptr<const Model> model_;
  std::vector<int32_t> ids_;
  ThreadPool pool_{2};
};

TEST_F(SessionTest, RefusesAPromptLongerThanTheContextWithBothNumbers) {
  const auto session = OpenSession(model_, pool_, {.context_tokens = 100});
  const auto result = session->Prefill(ids_, LogitsWanted::kLastRow);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().message().find("200 tokens"), std::string::npos);
  EXPECT_NE(result.status().message().find("holds 100"), std::string::npos);
  EXPECT_EQ(session->position(), 0);
}

TEST_F(SessionTest, FillsTheContextToItsLastToken) {
  const auto session = OpenSession(model_, pool_, {.context_tokens = 200});
  EXPECT_TRUE(session->Prefill(ids_, LogitsWanted::kLastRow).ok());
  EXPECT_EQ(session->Decode(1).status().code(), StatusCode::kInvalidInput);
}

TEST_F(SessionTest, RefusesAContextBeyondTheModel) {
  const auto session = Session::Create(model_, pool_, {.context_tokens = 4097});
  EXPECT_NE(session.status().message().find("4096"), std::string::npos);
}

TEST_F(SessionTest, RefusesAnEmptyPrompt) {
  const auto session = OpenSession(model_, pool_);
  EXPECT_EQ(session->Prefill({}, LogitsWanted::kLastRow).status().code(),
            StatusCode::kInvalidInput);
}

TEST_F(SessionTest, RefusesAnIdOutsideTheVocabularyByItsIndex) {
  const auto session = OpenSession(model_, pool_);
  const std::vector<int32_t> ids{1, 2, 512};
  const auto result = session->Prefill(ids, LogitsWanted::kLastRow);
  EXPECT_NE(result.status().message().find("token 2 of the prompt has the id 512"),
            std::string::npos);
}

TEST_F(SessionTest, LastRowEqualsTheLastOfAllRows) {
  const auto session = OpenSession(model_, pool_, {.cpu_chunk_tokens = 64});
  const std::vector<float> all = PrefillAll(*session, ids_).logits;
  ASSERT_TRUE(session->Rewind(0).ok());
  const std::vector<float> last = PrefillAll(*session, ids_, LogitsWanted::kLastRow).logits;
  ASSERT_EQ(last.size(), 512u);
  EXPECT_LE(RelativeError(last, std::span(all).last(512)), 1e-6);
}

TEST_F(SessionTest, TwoTurnsEqualOnePrefill) {
  const auto whole = OpenSession(model_, pool_);
  const auto turns = OpenSession(model_, pool_);
  const std::vector<float> wanted = PrefillAll(*whole, ids_, LogitsWanted::kLastRow).logits;
  PrefillAll(*turns, First(71));
  const PrefillResult second = PrefillAll(*turns, std::span(ids_).subspan(71));
  EXPECT_EQ(second.first_position, 71);
  EXPECT_LE(RelativeError(std::span(second.logits).last(512), wanted), 1e-5);
}

TEST_F(SessionTest, DecodingTokenByTokenEqualsAPrefill) {
  const auto whole = OpenSession(model_, pool_);
  const auto stepwise = OpenSession(model_, pool_);
  const std::vector<float> wanted = PrefillAll(*whole, First(40), LogitsWanted::kLastRow).logits;
  std::vector<float> got;
  for (const int32_t id : First(40)) {
    const auto logits = stepwise->Decode(id);
    ASSERT_TRUE(logits.ok());
    got.assign(logits->begin(), logits->end());
  }
  EXPECT_LE(RelativeError(got, wanted), 1e-5);
}

TEST_F(SessionTest, ForgetsWhatARewindCutsOff) {
  const auto session = OpenSession(model_, pool_);
  const std::vector<float> wanted = PrefillAll(*session, First(60)).logits;
  PrefillAll(*session, std::span(ids_).subspan(100, 50));
  ASSERT_TRUE(session->Rewind(30).ok());
  const PrefillResult again = PrefillAll(*session, std::span(ids_).subspan(30, 30));
  EXPECT_LE(RelativeError(again.logits, std::span(wanted).last(30 * 512)), 1e-5);
}

TEST_F(SessionTest, RefusesToRewindForward) {
  const auto session = OpenSession(model_, pool_);
  PrefillAll(*session, First(5));
  EXPECT_FALSE(session->Rewind(6).ok());
  EXPECT_FALSE(session->Rewind(-1).ok());
}

TEST_F(SessionTest, ACancelledPrefillLeavesTheContextAsItWas) {
  const auto session = OpenSession(model_, pool_, {.cpu_chunk_tokens = 16});
  PrefillAll(*session, First(50));
  int asked = 0;
  const auto cancelled = session->Prefill(std::span(ids_).subspan(100, 60), LogitsWanted::kLastRow,
                                          [&] { return ++asked > 5; });
  EXPECT_EQ(cancelled.status().code(), StatusCode::kCancelled);
  EXPECT_EQ(asked, 6);
  EXPECT_EQ(session->position(), 50);
  const PrefillResult next = PrefillAll(*session, std::span(ids_).subspan(50, 10));
  const auto fresh = OpenSession(model_, pool_);
  const PrefillResult wanted = PrefillAll(*fresh, First(60));
  EXPECT_LE(RelativeError(next.logits, std::span(wanted.logits).last(10 * 512)), 1e-5);
}

TEST_F(SessionTest, ReportsProgressChunkByChunk) {
  Recorder recorder;
  const auto session = OpenSession(model_, pool_, {.cpu_chunk_tokens = 96, .observer = &recorder});
  PrefillAll(*session, ids_);
  const std::vector<std::pair<int64_t, int64_t>> wanted{{96, 200}, {192, 200}, {200, 200}};
  EXPECT_EQ(recorder.progress, wanted);
}

TEST_F(SessionTest, TimelineOfTheCpuAloneIsMeasuredAndWithoutGaps) {
  const auto session = OpenSession(model_, pool_, {.cpu_chunk_tokens = 64});
  const PrefillResult result = PrefillAll(*session, ids_);
  double end_ms = 0;
  for (const TimelineSpan& span : result.timeline.spans) {
    EXPECT_EQ(span.source, TimeSource::kMeasured);
    EXPECT_DOUBLE_EQ(span.start_ms, end_ms);
    end_ms = span.end_ms;
  }
  EXPECT_DOUBLE_EQ(result.time_ms, end_ms);
  EXPECT_LE(result.time_ms, result.wall_ms);
}

TEST_F(SessionTest, CountsEveryAssignmentAsCpuWorkWithoutAPlan) {
  const auto session = OpenSession(model_, pool_);
  const DispatchCounts counts = PrefillAll(*session, ids_).counts;
  EXPECT_EQ(counts.cpu_rows, 200 * 4 * 3);
  EXPECT_EQ(counts.assignments(), counts.cpu_rows);
}

TEST_F(SessionTest, TellsActivationsOnlyToThoseWhoWantThem) {
  class Activations : public Observer {
   public:
    bool WantsActivations() const override { return true; }
    void OnActivation(const ActivationEvent& event) override {
      EXPECT_GT(event.inner_max, 0);
      EXPECT_GT(event.output_max, 0);
      ++events;
    }
    int events = 0;
  };
  Activations observer;
  const auto session = OpenSession(model_, pool_, {.observer = &observer});
  PrefillAll(*session, ids_);
  EXPECT_EQ(observer.events, 3 * 16);  // every expert of every layer has tokens in this prompt
}

}  // namespace
}  // namespace npumoe
