// Broken weights: no answer is made of NaN or infinity, and the message says where they are.
#include "runtime/finite_check.h"

#include <gtest/gtest.h>

#include <limits>

#include "kernels/convert/convert.h"
#include "runtime/broken_weight.h"
#include "runtime/test_npu.h"

namespace npumoe {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kElement = 5;  // of the broken tensor's first row; in every tensor below

// What is broken of a model with the layers of the qwen3-moe golden, and the words of its message.
struct Damage {
  const char* name;
  TensorView& (*tensor)(ModelWeights&);
  std::vector<std::string> words;
};

const Damage kDamages[] = {
    {"Embedding",
     [](ModelWeights& w) -> TensorView& { return w.embedding; },
     {"router's logits in layer 0", "embedding: element [0, 5]"}},
    {"AttentionNorm",
     [](ModelWeights& w) -> TensorView& { return w.layers[1].attention_norm; },
     {"router's logits in layer 1", "layer 1, attention norm: element [5]"}},
    {"Keys",
     [](ModelWeights& w) -> TensorView& { return w.layers[1].attention.k; },
     {"router's logits in layer 1", "layer 1, attention, k: element [0, 5]"}},
    {"Router",
     [](ModelWeights& w) -> TensorView& { return w.layers[1].router; },
     {"router's logits in layer 1", "layer 1, router: element [0, 5]"}},
    {"Expert",
     [](ModelWeights& w) -> TensorView& { return w.layers[0].experts[0].up; },
     {"router's logits in layer 1", "layer 0, expert 0, up: element [0, 5]"}},
    {"LastExpert",
     [](ModelWeights& w) -> TensorView& { return w.layers[2].experts[0].down; },
     {"hidden states after layer 2", "layer 2, expert 0, down: element [0, 5]"}},
    {"FinalNorm",
     [](ModelWeights& w) -> TensorView& { return w.final_norm; },
     {"the logits after layer 2", "final norm: element [5]"}},
    {"Head",
     [](ModelWeights& w) -> TensorView& { return w.lm_head; },
     {"the logits after layer 2", "head: element [0, 5]"}},
};

// The qwen3-moe golden with one number of one tensor replaced.
std::shared_ptr<const Model> Broken(const Damage& damage, float value) {
  auto model = std::make_shared<Model>(*LoadForTest(GoldenFolder("qwen3-moe")));
  TensorView& tensor = damage.tensor(model->weights);
  auto floats = std::make_shared<std::vector<float>>(static_cast<size_t>(tensor.shape.elements()));
  ToF32(tensor, 0, *floats);
  (*floats)[kElement] = value;
  tensor = {DType::kF32, tensor.shape, reinterpret_cast<const std::byte*>(floats->data())};
  model->weights.storage.push_back(floats);
  return model;
}

void ExpectNamed(const Status& status, const Damage& damage) {
  EXPECT_EQ(status.code(), StatusCode::kNumeric);
  for (const std::string& word : damage.words) {
    EXPECT_NE(status.message().find(word), std::string::npos) << word << " in " << status.message();
  }
}

class BrokenWeights : public testing::TestWithParam<Damage> {
 protected:
  // The id 0 reads the broken row of the embedding.
  void SetUp() override {
    ids_ = Expected("qwen3-moe").Ints("long.ids");
    ids_[70] = 0;
  }
  std::vector<int32_t> ids_;
  ThreadPool pool_{2};
};

TEST_P(BrokenWeights, NanEndsAPrefillOnTheCpu) {
  const auto session = OpenSession(Broken(GetParam(), kNan), pool_, {.cpu_chunk_tokens = 64});
  ExpectNamed(session->Prefill(ids_, LogitsWanted::kAllRows).status(), GetParam());
  EXPECT_EQ(session->position(), 0);
}

TEST_P(BrokenWeights, InfinityEndsAPrefillOnTheCpu) {
  const auto session = OpenSession(Broken(GetParam(), kInfinity), pool_);
  ExpectNamed(session->Prefill(ids_, LogitsWanted::kLastRow).status(), GetParam());
}

TEST_P(BrokenWeights, NanEndsAPrefillOnTheNpu) {
  HandMade wanted;
  wanted.first_expert = 1;  // fp16 programs refuse weights that are not finite: expert 0 is broken
  NpuBench bench(Broken(GetParam(), kNan), wanted);
  const auto executor = bench.Load();
  ASSERT_NE(executor, nullptr);
  const auto session = OpenSession(bench.model, bench.pool, {.npu = executor.get()});
  ExpectNamed(session->Prefill(ids_, LogitsWanted::kAllRows).status(), GetParam());
  EXPECT_EQ(session->position(), 0);
}

TEST_P(BrokenWeights, NanEndsADecode) {
  const auto session = OpenSession(Broken(GetParam(), kNan), pool_);
  Status status;
  for (size_t i = 60; status.ok() && i < ids_.size(); ++i) {
    status = session->Decode(ids_[i]).status();
  }
  ExpectNamed(status, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Tensors, BrokenWeights, testing::ValuesIn(kDamages),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST(FiniteCheck, SaysSoWhereNoWeightIsBroken) {
  auto model = std::make_shared<Model>(*LoadForTest(GoldenFolder("qwen3-moe")));
  model->config.embedding_multiplier = std::numeric_limits<float>::max();
  ThreadPool pool(1);
  const auto session = OpenSession(model, pool);
  const std::vector<int32_t> ids{1, 2, 3};
  const Status status = session->Prefill(ids, LogitsWanted::kLastRow).status();
  EXPECT_EQ(status.code(), StatusCode::kNumeric);
  EXPECT_NE(status.message().find("no weight up to there"), std::string::npos) << status.message();
}

TEST(FiniteCheck, CountsTokensFromTheStartOfTheContext) {
  ThreadPool pool(1);
  const auto session = OpenSession(Broken(kDamages[0], kNan), pool, {.cpu_chunk_tokens = 1});
  const std::vector<int32_t> healthy{1, 2, 3};
  ASSERT_TRUE(session->Prefill(healthy, LogitsWanted::kLastRow).ok());
  const std::vector<int32_t> broken{1, 2, 3, 4, 5, 6, 0, 7};
  const Status status = session->Prefill(broken, LogitsWanted::kLastRow).status();
  EXPECT_NE(status.message().find("token 9 of the context"), std::string::npos) << status.message();
  EXPECT_EQ(session->position(), 3);
}

TEST(FindBrokenWeight, FindsNothingInAHealthyModel) {
  const auto model = LoadForTest(GoldenFolder("qwen3-moe"));
  ThreadPool pool(2);
  EXPECT_EQ(FindBrokenWeight(model->weights, {model->config.num_layers, true}, pool), std::nullopt);
}

}  // namespace
}  // namespace npumoe
