// For tests only: the golden models and their expected outputs, the demo model, an observer that
// keeps what a run says, plans made by hand.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/model.h"
#include "model/safetensors.h"
#include "npu/profile.h"
#include "plan/layer_score.h"
#include "plan/plan.h"
#include "runtime/observer.h"
#include "runtime/session.h"

namespace npumoe {

// In the repository, or where the larger data lies beside it (then it may be absent).
inline std::filesystem::path GoldenFolder(const std::string& name) {
  const std::filesystem::path own(NPUMOE_SOURCE_DIR "/tests/data/goldens");
  const std::filesystem::path shared(NPUMOE_SOURCE_DIR "/../shared/data/goldens");
  return std::filesystem::exists(own / name) ? own / name : shared / name;
}

// Whether a test must be skipped for want of a golden; an error where CI runs.
inline bool IsMissing(const std::string& golden) {
  if (std::filesystem::exists(GoldenFolder(golden))) return false;
  const char* ci = std::getenv("CI");
  EXPECT_FALSE(ci != nullptr && std::string(ci) == "true") << golden << " is missing";
  return true;
}

inline std::shared_ptr<const Model> LoadForTest(const std::filesystem::path& folder) {
  auto model = LoadModel(folder);
  EXPECT_TRUE(model.ok()) << model.status().message();
  return model.ok() ? *model : nullptr;
}

inline std::filesystem::path DemoFolder() { return NPUMOE_SOURCE_DIR "/models/demo"; }

// Tensors of expected.safetensors.
class Expected {
 public:
  explicit Expected(const std::string& golden) {
    auto file = Safetensors::Open(GoldenFolder(golden) / "expected.safetensors");
    EXPECT_TRUE(file.ok()) << file.status().message();
    if (file.ok()) file_ = std::make_unique<Safetensors>(std::move(*file));
  }
  std::vector<float> Floats(const std::string& name) const {
    const TensorView tensor = Get(name);
    return {tensor.as<float>(), tensor.as<float>() + tensor.shape.elements()};
  }
  // I32 or I64 in the file.
  std::vector<int32_t> Ints(const std::string& name) const {
    const TensorView tensor = Get(name);
    std::vector<int32_t> values(static_cast<size_t>(tensor.shape.elements()));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = tensor.dtype == DType::kI32 ? tensor.as<int32_t>()[i]
                                              : static_cast<int32_t>(tensor.as<int64_t>()[i]);
    }
    return values;
  }

 private:
  TensorView Get(const std::string& name) const {
    auto tensor = file_->Get(name);
    EXPECT_TRUE(tensor.ok()) << tensor.status().message();
    return tensor.ok() ? *tensor : TensorView{DType::kF32, Shape{0}, nullptr};
  }
  std::unique_ptr<Safetensors> file_;
};

// Keeps routing and hidden rows per layer, in the order of their positions.
class Recorder : public Observer {
 public:
  bool WantsHidden() const override { return true; }
  void OnRouting(const RoutingEvent& event) override {
    Put(event.position * event.experts_per_token, event.ids, ids[event.layer]);
    Put(event.position * event.experts_per_token, event.weights, weights[event.layer]);
  }
  void OnHidden(const HiddenEvent& event) override {
    const auto columns = static_cast<int64_t>(event.hidden.size()) / event.tokens;
    std::vector<float>& rows = hidden[event.layer];  // chunks may come out of order
    const auto at = static_cast<size_t>(event.position * columns);
    rows.resize(std::max(rows.size(), at + event.hidden.size()));
    std::copy(event.hidden.begin(), event.hidden.end(),
              rows.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void OnDispatch(const DispatchEvent& event) override { dispatches.push_back(event); }
  void OnDegradation(const DegradationEvent& event) override { degradations.push_back(event); }
  void OnPrefillProgress(int64_t done, int64_t total) override {
    progress.emplace_back(done, total);
  }

  std::map<int, std::vector<int32_t>> ids;
  std::map<int, std::vector<float>> weights;
  std::map<int, std::vector<float>> hidden;
  std::vector<DispatchEvent> dispatches;
  std::vector<DegradationEvent> degradations;
  std::vector<std::pair<int64_t, int64_t>> progress;

 private:
  // What comes again replaces what came before; nothing may be left out.
  template <class T>
  static void Put(int64_t at, std::span<const T> values, std::vector<T>& all) {
    EXPECT_LE(static_cast<size_t>(at), all.size());
    all.resize(static_cast<size_t>(at));
    all.insert(all.end(), values.begin(), values.end());
  }
};

// Largest |a - b| over the largest |b|.
inline double RelativeError(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double error = 0;
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(difference <= error)) error = difference;
    largest = std::max<double>(largest, std::abs(b[i]));
  }
  return largest == 0 ? error : error / largest;
}

inline int32_t LargestOf(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

inline std::unique_ptr<Session> OpenSession(std::shared_ptr<const Model> model, ThreadPool& pool,
                                            const SessionOptions& options = {}) {
  auto session = Session::Create(std::move(model), pool, options);
  EXPECT_TRUE(session.ok()) << session.status().message();
  return session.ok() ? std::move(*session) : nullptr;
}

inline PrefillResult PrefillAll(Session& session, std::span<const int32_t> ids,
                                LogitsWanted wanted = LogitsWanted::kAllRows) {
  auto result = session.Prefill(ids, wanted);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? std::move(*result) : PrefillResult{};
}

inline std::vector<int32_t> Greedy(Session& session, std::span<const int32_t> prompt, int count) {
  const PrefillResult prefill = PrefillAll(session, prompt, LogitsWanted::kLastRow);
  std::vector<int32_t> tokens{LargestOf(prefill.logits)};
  while (static_cast<int>(tokens.size()) < count) {
    const auto logits = session.Decode(tokens.back());
    EXPECT_TRUE(logits.ok()) << logits.status().message();
    if (!logits.ok()) break;
    tokens.push_back(LargestOf(*logits));
  }
  return tokens;
}

inline ChipProfile ProfileForTest(const std::string& name = "m2-max") {
  auto profile = LoadChipProfile(name, {NPUMOE_SOURCE_DIR "/chips"});
  EXPECT_TRUE(profile.ok()) << profile.status().message();
  return profile.ok() ? *profile : ChipProfile{};
}

// Experts [first_expert, experts) of every MoE layer on the NPU, each with `capacity` rows,
// `per_program` of them in a program of `form`.
struct HandMade {
  GraphForm form = GraphForm::kDenseChains;
  int64_t capacity = 16;
  int per_program = 4;
  int chunk_tokens = 64;
  int first_expert = 0;
  // Form C: every second expert of a program gets one quantum more.
  bool uneven = false;
  // The shared expert, where there is one, in a program of its own.
  SharedPlace shared = SharedPlace::kNpu;
  // Of attention programs in all layers, and of the head's; empty: CPU work.
  std::vector<int64_t> history_tokens = {};
  std::vector<int64_t> head_rows = {};
};

inline LayerPlan HandMadeLayer(const HandMade& wanted, int layer, const MoeConfig& moe) {
  LayerPlan plan{layer, {}};
  for (int expert = wanted.first_expert; expert < moe.num_experts; ++expert) {
    const int place = expert - wanted.first_expert;
    if (place % wanted.per_program == 0) plan.programs.push_back({wanted.form, {}});
    const int64_t more = wanted.uneven && place % 2 == 1 ? 16 : 0;
    plan.programs.back().experts.push_back({expert, wanted.capacity + more});
  }
  if (moe.has_shared_expert() && wanted.shared == SharedPlace::kNpu) {
    plan.programs.push_back({wanted.form, {{moe.num_experts, wanted.chunk_tokens}}});
  }
  return plan;
}

inline Plan HandMadePlan(const Model& model, const ChipProfile& profile, const HandMade& wanted) {
  Plan plan;
  plan.chunk_tokens = wanted.chunk_tokens;
  plan.min_npu_share = 0.5;  // keeps a partial last chunk on the NPU
  plan.predicted.npu_share = 0.5;
  plan.hidden_size = model.config.hidden_size;
  plan.expert_intermediate_size = model.config.moe.expert_intermediate_size;
  plan.num_experts = model.config.moe.num_experts;
  plan.experts_per_token = model.config.moe.experts_per_token;
  plan.shared_intermediate_size = model.config.moe.shared_intermediate_size;
  plan.activation_limit = double{model.config.moe.activation_limit};
  plan.model_hash = model.hash;
  plan.profile_name = profile.name;
  plan.profile_hash = profile.hash;
  for (const int layer : model.config.MoeLayers()) {
    plan.layers.push_back(HandMadeLayer(wanted, layer, model.config.moe));
  }
  for (int layer = 0; !wanted.history_tokens.empty() && layer < model.config.num_layers; ++layer) {
    plan.attention.layers.push_back(layer);
  }
  plan.attention.history_tokens = wanted.history_tokens;
  if (!wanted.head_rows.empty()) {
    plan.head = {wanted.head_rows, model.config.vocab_size / 3};
  }
  return plan;
}

}  // namespace npumoe
