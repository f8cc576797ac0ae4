#include "model/synthetic.h"

#include <bit>
#include <cmath>
#include <new>
#include <span>

#include "base/aligned_buffer.h"
#include "base/hash.h"
#include "model/families/family.h"
#include "model/model_hash.h"
#include "model/weight_binding.h"

namespace npumoe {
namespace {

// Independent generators side by side, so that the compiler can keep them in vector registers.
constexpr size_t kLanes = 16;

// The finaliser of splitmix64 (Steele, Lea, Flood 2014): turns a counter into unrelated bits.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// xorshift32 (Marsaglia 2003) in every lane.
struct RandomLanes {
  uint32_t state[kLanes];

  explicit RandomLanes(uint64_t seed) {
    for (size_t i = 0; i < kLanes; ++i) {
      state[i] = static_cast<uint32_t>(Mix(seed + i)) | 1u;  // zero would stay zero
    }
  }
  // Uniform in [-scale, scale).
  void Next(float scale, float (&values)[kLanes]) {
    for (size_t i = 0; i < kLanes; ++i) {
      uint32_t x = state[i];
      x ^= x << 13;
      x ^= x >> 17;
      x ^= x << 5;
      state[i] = x;
      values[i] = static_cast<float>(static_cast<int32_t>(x)) * (scale * 0x1p-31f);
    }
  }
};

// Truncating conversions: the values are random anyway, and these vectorise.
uint16_t TruncatedBF16(float value) {
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
}
// Scaling by 2^-112 moves fp16's exponent range to the bottom of fp32's.
uint16_t TruncatedF16(float value) {
  const uint32_t sign = std::bit_cast<uint32_t>(value) >> 16 & 0x8000u;
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(std::fabs(value) * 0x1p-112f) >> 13 | sign);
}

template <class T, class Convert>
void FillUniform(std::span<T> out, float scale, uint64_t seed, Convert convert) {
  RandomLanes random(seed);
  float values[kLanes];
  size_t i = 0;
  for (; i + kLanes <= out.size(); i += kLanes) {
    random.Next(scale, values);
    for (size_t lane = 0; lane < kLanes; ++lane) out[i + lane] = convert(values[lane]);
  }
  random.Next(scale, values);
  for (size_t lane = 0; i < out.size(); ++i, ++lane) out[i] = convert(values[lane]);
}

bool IsNorm(TensorRole role) {
  switch (role) {
    case TensorRole::kFinalNorm:
    case TensorRole::kAttentionNorm:
    case TensorRole::kFfnNorm:
    case TensorRole::kQNorm:
    case TensorRole::kKNorm:
    case TensorRole::kQueryDownNorm:
    case TensorRole::kKeyValueDownNorm:
      return true;
    default:
      return false;
  }
}

// Half-width of the uniform distribution. A matrix row of n weights with variance 1/n keeps the
// size of what it multiplies; the variance of U(-a, a) is a^2 / 3.
float Scale(const ExpectedTensor& tensor) {
  constexpr float kBiasScale = 0.1f;  // chosen: present, but not dominating
  if (tensor.role == TensorRole::kEmbedding) return std::sqrt(3.0f);
  if (tensor.shape.rank() == 1) return kBiasScale;
  return std::sqrt(3.0f / static_cast<float>(tensor.shape[1]));
}

template <class T, class Convert>
void Fill(std::span<std::byte> bytes, const ExpectedTensor& tensor, uint64_t seed,
          Convert convert) {
  const std::span<T> out(reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T));
  if (IsNorm(tensor.role)) {
    for (T& value : out) value = convert(1.0f);
  } else {
    FillUniform(out, Scale(tensor), seed, convert);
  }
}

void FillTensor(std::span<std::byte> bytes, DType dtype, const ExpectedTensor& tensor,
                uint64_t seed) {
  if (dtype == DType::kF32) {
    Fill<float>(bytes, tensor, seed, [](float value) { return value; });
  } else if (dtype == DType::kF16) {
    Fill<uint16_t>(bytes, tensor, seed, TruncatedF16);
  } else {
    Fill<uint16_t>(bytes, tensor, seed, TruncatedBF16);
  }
}

std::string HashOfSynthetic(const SyntheticOptions& options) {
  Hasher hasher;
  hasher.Add(std::string_view("synthetic"));
  AddConfigToHash(options.config, hasher);
  hasher.Add(std::string_view(Name(options.dtype)));
  hasher.Add(static_cast<int64_t>(options.seed));
  return hasher.Hex();
}

}  // namespace

ModelConfig Qwen3_30B_A3B_Config(int num_layers) {
  // config.json of Qwen/Qwen3-30B-A3B, but for the number of layers (48).
  ModelConfig config;
  config.family = "qwen3_moe";
  config.hidden_size = 2048;
  config.num_layers = num_layers;
  config.vocab_size = 151936;
  config.max_position_embeddings = 40960;
  config.norm_eps = 1e-6f;
  config.attention.num_heads = 32;
  config.attention.num_kv_heads = 4;
  config.attention.head_dim = 128;
  config.attention.qk_norm = QkNorm::kPerHead;
  config.rope.theta = 1e6;
  config.moe.num_experts = 128;
  config.moe.experts_per_token = 8;
  config.moe.expert_intermediate_size = 768;
  config.moe.normalize_top_k = true;
  config.is_moe_layer.assign(static_cast<size_t>(num_layers), true);
  return config;
}

Result<std::shared_ptr<const Model>> MakeSyntheticModel(const SyntheticOptions& options) {
  const ModelFamily* family = FindFamily(options.config.family);
  NPUMOE_CHECK(family != nullptr);
  NPUMOE_CHECK(options.dtype == DType::kF32 || options.dtype == DType::kF16 ||
               options.dtype == DType::kBF16);
  auto model = std::make_shared<Model>();
  model->path = "synthetic";
  model->config = options.config;
  ModelWeights& weights = model->weights;
  uint64_t seed = Mix(options.seed);
  const auto make = [&](const ExpectedTensor& tensor) -> Status {
    if (!tensor.required) return OkStatus();
    TensorView view{options.dtype, tensor.shape, nullptr};
    auto buffer = std::make_shared<AlignedBuffer<std::byte>>(view.bytes());
    view.data = buffer->data();
    seed = Mix(seed);
    FillTensor(buffer->span(), options.dtype, tensor, seed);
    PlaceTensor(tensor, view, weights);
    weights.storage.push_back(std::move(buffer));
    return OkStatus();
  };
  try {
    NPUMOE_RETURN_IF_ERROR(ForEachExpectedTensor(*family, options.config, make));
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("synthetic model: no memory for " +
                             std::to_string(options.config.TotalParameters()) +
                             " weights; ask for fewer layers");
  }
  if (weights.lm_head.empty()) weights.lm_head = weights.embedding;
  model->hash = HashOfSynthetic(options);
  return std::shared_ptr<const Model>(std::move(model));
}

}  // namespace npumoe
