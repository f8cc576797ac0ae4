#include "npu/emulator/fault_effects.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/dtype.h"

namespace npumoe::emulator {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A tensor of floating point as rows of values.
class Rows {
 public:
  Rows(const TensorSpec& spec, std::span<std::byte> bytes)
      : half_(spec.dtype == DType::kF16), bytes_(bytes) {
    const Shape& shape = spec.shape;
    const int64_t last = shape.rank() == 0 ? 1 : shape[shape.rank() - 1];
    const int64_t others = last == 0 ? 0 : shape.elements() / last;
    transposed_ = shape.rank() == 4;
    rows_ = transposed_ ? last : others;
    width_ = transposed_ ? others : last;
  }

  int64_t rows() const { return rows_; }
  int64_t width() const { return width_; }

  float Get(int64_t row, int64_t i) const {
    if (half_) return F32FromF16(Load<uint16_t>(row, i));
    return Load<float>(row, i);
  }
  void Set(int64_t row, int64_t i, float value) {
    if (half_) {
      Store(row, i, F16FromF32(value));
    } else {
      Store(row, i, value);
    }
  }
  float Largest() const {  // magnitude
    float largest = 0;
    for (int64_t row = 0; row < rows_; ++row) {
      for (int64_t i = 0; i < width_; ++i) largest = std::max(largest, std::abs(Get(row, i)));
    }
    return largest;
  }

 private:
  template <class T>
  std::byte* At(int64_t row, int64_t i) const {
    const int64_t index = transposed_ ? i * rows_ + row : row * width_ + i;
    return bytes_.data() + static_cast<size_t>(index) * sizeof(T);
  }
  template <class T>
  T Load(int64_t row, int64_t i) const {
    T value;
    std::memcpy(&value, At<T>(row, i), sizeof(T));
    return value;
  }
  template <class T>
  void Store(int64_t row, int64_t i, T value) {
    std::memcpy(At<T>(row, i), &value, sizeof(T));
  }

  bool half_;
  bool transposed_ = false;
  std::span<std::byte> bytes_;
  int64_t rows_ = 0;
  int64_t width_ = 0;
};

void CorruptRow(const FaultEffect& effect, int64_t row, float scale, Rows& rows) {
  for (int64_t i = 0; i < rows.width(); ++i) {
    const uint64_t hash = MixedHash(effect.seed + 1, static_cast<uint64_t>(row * rows.width() + i));
    const auto noise = static_cast<float>(2 * UnitFromHash(hash) - 1);
    rows.Set(row, i, effect.kind == FaultKind::kNan ? kNan : noise * scale);
  }
}

// A share of the rows, one at least.
void CorruptRows(const FaultEffect& effect, Rows& rows) {
  constexpr float kLeastScale = 1;  // where everything is zero
  const float largest = rows.Largest();
  const float scale = largest > 0 && std::isfinite(largest) ? largest : kLeastScale;
  bool any = false;
  for (int64_t row = 0; row < rows.rows(); ++row) {
    if (UnitFromHash(MixedHash(effect.seed, static_cast<uint64_t>(row))) >= effect.rows) continue;
    CorruptRow(effect, row, scale, rows);
    any = true;
  }
  if (!any && rows.rows() > 0) {
    const auto row = static_cast<int64_t>(effect.seed % static_cast<uint64_t>(rows.rows()));
    CorruptRow(effect, row, scale, rows);
  }
}

void Overflow(const FaultEffect& effect, Rows& rows) {
  const float largest = rows.Largest();
  const auto limit = std::min(largest, static_cast<float>(kF16Max / effect.gain));
  for (int64_t row = 0; row < rows.rows(); ++row) {
    for (int64_t i = 0; i < rows.width(); ++i) {
      const float value = rows.Get(row, i);
      const bool beyond = std::abs(value) > limit || std::abs(value) == largest;
      if (beyond) rows.Set(row, i, std::copysign(kInfinity, value));
    }
  }
}

}  // namespace

uint64_t MixedHash(uint64_t seed, uint64_t value) {
  // The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom generators).
  uint64_t z = seed * 0x9e3779b97f4a7c15ull + value + 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

double UnitFromHash(uint64_t hash) { return static_cast<double>(hash >> 11) * 0x1p-53; }

const FaultEffect* FindEffect(std::span<const FaultEffect> effects, FaultKind kind) {
  for (const FaultEffect& effect : effects) {
    if (effect.kind == kind) return &effect;
  }
  return nullptr;
}

Status RefusalAmong(std::span<const FaultEffect> effects) {
  for (const FaultEffect& effect : effects) {
    switch (effect.kind) {
      case FaultKind::kRefuseTooLarge:
        return ResourceExhausted("program-too-large: by the fault script; plan smaller groups");
      case FaultKind::kRefuseTooMany:
        return ResourceExhausted(
            "too-many-programs: by the fault script; unload one, or plan with larger groups");
      case FaultKind::kRefuseUnsupported:
        return Unsupported("unsupported-operation: by the fault script");
      default:
        break;
    }
  }
  return OkStatus();
}

Status DeviceIsLost() {
  return {StatusCode::kDeviceLost, "the device has disappeared, by the fault script"};
}

void CrashNow() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  std::abort();
}

void CorruptOutputs(std::span<const FaultEffect> effects, std::span<const TensorSpec> specs,
                    std::span<const std::span<std::byte>> outputs) {
  for (const FaultEffect& effect : effects) {
    for (size_t i = 0; i < specs.size(); ++i) {
      if (specs[i].dtype != DType::kF16 && specs[i].dtype != DType::kF32) continue;
      Rows rows(specs[i], outputs[i]);
      if (effect.kind == FaultKind::kWrong || effect.kind == FaultKind::kNan) {
        CorruptRows(effect, rows);
      } else if (effect.kind == FaultKind::kOverflow) {
        Overflow(effect, rows);
      }
    }
  }
}

}  // namespace npumoe::emulator
