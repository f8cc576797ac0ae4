#include "graph/weights/matrix_encoder.h"

#include <cmath>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "base/packed_integers.h"
#include "graph/weights/declare_matrix.h"
#include "graph/weights/integer_blocks.h"
#include "graph/weights/palette.h"

namespace npumoe {
namespace {

void StoreHalf(uint16_t bits, int64_t index, std::span<std::byte> bytes) {
  std::memcpy(bytes.data() + 2 * index, &bits, sizeof bits);
}

// Sums for the relative error.
struct ErrorSums {
  double squares = 0;
  double differences = 0;

  void Add(float source, float materialised) {
    const double difference = double{materialised} - double{source};
    squares += double{source} * double{source};
    differences += difference * difference;
  }
  double Relative() const { return squares == 0 ? 0 : std::sqrt(differences / squares); }
};

}  // namespace

class MatrixEncoder::State {
 public:
  State(WeightFormat format, MatrixSource source) : format_(format), source_(std::move(source)) {}

  WeightFormat format() const { return format_; }

  Status Values(std::span<std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    return Encode(bytes);
  }

  Status Scales(std::span<std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    if (scales_.empty()) {
      std::vector<std::byte> values(BytesOf(ValuesType(format_), source_.out * source_.in));
      NPUMOE_RETURN_IF_ERROR(Encode(values));
    }
    std::memcpy(bytes.data(), scales_.data(), bytes.size());
    return OkStatus();
  }

  std::optional<double> RelativeError() const {
    const std::lock_guard lock(mutex_);
    return relative_error_;
  }

 private:
  Status Encode(std::span<std::byte> bytes) {
    scales_.clear();
    ErrorSums sums;
    if (TableEntries(format_) > 0) {
      NPUMOE_RETURN_IF_ERROR(EncodeIndices(bytes, sums));
    } else if (format_ == WeightFormat::kF16) {
      NPUMOE_RETURN_IF_ERROR(EncodeHalves(bytes, sums));
    } else {
      NPUMOE_RETURN_IF_ERROR(EncodeIntegers(bytes, sums));
    }
    relative_error_ = sums.Relative();
    return OkStatus();
  }

  // Rows whose values are numbers that fp16 holds.
  Status ForEachSoundRows(
      const std::function<void(int64_t first, std::span<const float> rows)>& visit) const {
    return ForEachRows(source_, [&](int64_t first, std::span<const float> rows) {
      for (size_t i = 0; i < rows.size(); ++i) {
        if (std::abs(rows[i]) < kF16FirstInfinite) continue;
        return Status(StatusCode::kNumeric,
                      source_.what + ": element " +
                          std::to_string(first * source_.in + static_cast<int64_t>(i)) + " is " +
                          std::to_string(rows[i]) + "; programs hold numbers up to 65504");
      }
      visit(first, rows);
      return OkStatus();
    });
  }

  Status EncodeHalves(std::span<std::byte> bytes, ErrorSums& sums) {
    return ForEachSoundRows([&](int64_t first, std::span<const float> rows) {
      int64_t at = first * source_.in;
      for (const float value : rows) {
        const uint16_t bits = F16FromF32(value);
        StoreHalf(bits, at++, bytes);
        sums.Add(value, F32FromF16(bits));
      }
    });
  }

  Status EncodeIntegers(std::span<std::byte> bytes, ErrorSums& sums) {
    const int64_t block = ScaleBlock(format_) == 0 ? source_.in : ScaleBlock(format_);
    const bool nibbles = ValuesType(format_) == DType::kI4;
    std::vector<int8_t> integers(static_cast<size_t>(block));
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    return ForEachSoundRows([&](int64_t first, std::span<const float> rows) {
      int64_t at = first * source_.in;
      for (; !rows.empty(); rows = rows.subspan(integers.size())) {
        const std::span<const float> values = rows.first(integers.size());
        const uint16_t scale =
            nibbles ? EncodeInt4(values, integers.data()) : EncodeInt8(values, integers.data());
        scales_.push_back(scale);
        StoreIntegers(integers, at, nibbles, bytes);
        AddErrors(values, integers, F32FromF16(scale), sums);
        at += block;
      }
    });
  }

  static void StoreIntegers(std::span<const int8_t> integers, int64_t at, bool nibbles,
                            std::span<std::byte> bytes) {
    if (!nibbles) {
      std::memcpy(bytes.data() + at, integers.data(), integers.size());
      return;
    }
    for (size_t i = 0; i < integers.size(); ++i) {
      WritePacked(static_cast<uint32_t>(integers[i]), at + static_cast<int64_t>(i), 4,
                  bytes.data());
    }
  }

  static void AddErrors(std::span<const float> values, std::span<const int8_t> integers,
                        float scale, ErrorSums& sums) {
    for (size_t i = 0; i < values.size(); ++i) {
      sums.Add(values[i], F32FromF16(F16FromF32(scale * static_cast<float>(integers[i]))));
    }
  }

  Status EncodeIndices(std::span<std::byte> bytes, ErrorSums& sums) {
    Fp16Histogram histogram;
    NPUMOE_RETURN_IF_ERROR(ForEachSoundRows([&](int64_t, std::span<const float> rows) {
      for (const float value : rows) histogram.Add(F16FromF32(value));
    }));
    const Palette palette = FindPalette(histogram, static_cast<int>(TableEntries(format_)));
    const int width = static_cast<int>(MeanBitsPerElement(ValuesType(format_)));
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    NPUMOE_RETURN_IF_ERROR(ForEachSoundRows([&](int64_t first, std::span<const float> rows) {
      int64_t at = first * source_.in;
      for (const float value : rows) {
        const uint8_t index = palette.index_of_bits[F16FromF32(value)];
        WritePacked(index, at++, width, bytes.data());
        sums.Add(value, F32FromF16(palette.table[index]));
      }
    }));
    scales_ = palette.table;
    return OkStatus();
  }

  const WeightFormat format_;
  const MatrixSource source_;
  mutable std::mutex mutex_;
  std::vector<uint16_t> scales_;  // fp16: scales or table
  std::optional<double> relative_error_;
};

Result<MatrixEncoder> MatrixEncoder::Create(WeightFormat format, MatrixSource source) {
  if (source.out < 1 || source.in < 1 || !source.read) {
    return InvalidInput(source.what + ": an empty matrix");
  }
  const MatrixShape shape{source.out, source.in};
  const std::string what = source.what;
  MatrixEncoder encoder(std::make_shared<State>(format, std::move(source)));
  NPUMOE_RETURN_IF_ERROR(CheckMatrix(encoder.Matrix(), shape, what));
  return encoder;
}

WeightMatrix MatrixEncoder::Matrix() const {
  // The address is nobody else's as long as a producer lives.
  const std::string identity = std::to_string(reinterpret_cast<uintptr_t>(state_.get()));
  WeightMatrix matrix;
  matrix.format = state_->format();
  matrix.values = {
      {}, [state = state_](auto bytes) { return state->Values(bytes); }, "values " + identity};
  if (matrix.format != WeightFormat::kF16) {
    matrix.scales = {
        {}, [state = state_](auto bytes) { return state->Scales(bytes); }, "scales " + identity};
  }
  return matrix;
}

std::optional<double> MatrixEncoder::RelativeError() const { return state_->RelativeError(); }

}  // namespace npumoe
