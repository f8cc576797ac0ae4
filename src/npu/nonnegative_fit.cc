#include "npu/nonnegative_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/check.h"

namespace npumoe {
namespace {

// Of a column's length that must remain after the columns before it are taken out (chosen: times
// are known to a percent, so a share below that is noise).
constexpr double kLeastIndependent = 1e-2;
constexpr int kReweightings = 8;        // chosen: weights settle after three or four
constexpr double kHuber = 2;            // standard deviations within which an error counts fully
constexpr double kExact = 1e-9;         // relative errors below are rounding
constexpr double kMadToSigma = 1.4826;  // of a normal distribution

using Matrix = std::vector<std::vector<double>>;

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Gram-Schmidt over the columns: each must have something that the ones before it have not.
Status CheckIndependent(const Matrix& rows, const std::vector<std::string>& names) {
  Matrix basis;
  for (size_t c = 0; c < names.size(); ++c) {
    std::vector<double> column;
    for (const auto& row : rows) column.push_back(row[c]);
    const double length = std::sqrt(Dot(column, column));
    for (const std::vector<double>& unit : basis) {
      const double along = Dot(column, unit);
      for (size_t i = 0; i < column.size(); ++i) column[i] -= along * unit[i];
    }
    const double rest = std::sqrt(Dot(column, column));
    if (rest <= kLeastIndependent * length) {
      return InvalidInput(fmt::format(
          "the measured shapes do not tell {} from the other figures; measure more shapes that "
          "differ in it alone",
          names[c]));
    }
    for (double& value : column) value /= rest;
    basis.push_back(std::move(column));
  }
  return OkStatus();
}

// The inverse of a symmetric positive matrix, by Gauss-Jordan with the diagonal as pivots.
Matrix Inverse(Matrix a) {
  const size_t n = a.size();
  Matrix inverse(n, std::vector<double>(n));
  for (size_t i = 0; i < n; ++i) inverse[i][i] = 1;
  for (size_t p = 0; p < n; ++p) {
    const double pivot = a[p][p];
    NPUMOE_CHECK(pivot > 0);
    for (size_t j = 0; j < n; ++j) {
      a[p][j] /= pivot;
      inverse[p][j] /= pivot;
    }
    for (size_t i = 0; i < n; ++i) {
      const double factor = a[i][p];
      if (i == p || factor == 0) continue;
      for (size_t j = 0; j < n; ++j) {
        a[i][j] -= factor * a[p][j];
        inverse[i][j] -= factor * inverse[p][j];
      }
    }
  }
  return inverse;
}

double MedianOf(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// One weighted fit; unknowns that come out negative are held at 0, the most negative first.
class WeightedFit {
 public:
  WeightedFit(const Matrix& rows, const std::vector<double>& weights)
      : rows_(rows), weights_(weights), unknowns_(rows.front().size()), free_(unknowns_, true) {
    for (size_t c = 0; c < unknowns_; ++c) {
      double sum = 0;
      for (const auto& row : rows) sum += row[c] * row[c];
      scale_.push_back(1 / std::sqrt(sum));
    }
  }

  NonnegativeFit Run() {
    while (true) {
      NonnegativeFit fit = Solve();
      const auto lowest = std::ranges::min_element(fit.values);
      if (*lowest >= 0) return fit;
      free_[static_cast<size_t>(lowest - fit.values.begin())] = false;
    }
  }

 private:
  NonnegativeFit Solve() const {
    std::vector<size_t> columns;
    for (size_t c = 0; c < unknowns_; ++c) {
      if (free_[c]) columns.push_back(c);
    }
    Matrix gram(columns.size(), std::vector<double>(columns.size()));
    std::vector<double> right(columns.size());
    for (size_t r = 0; r < rows_.size(); ++r) {
      for (size_t i = 0; i < columns.size(); ++i) {
        const double left = weights_[r] * rows_[r][columns[i]] * scale_[columns[i]];
        right[i] += left;
        for (size_t j = 0; j < columns.size(); ++j) {
          gram[i][j] += left * rows_[r][columns[j]] * scale_[columns[j]];
        }
      }
    }
    const Matrix inverse = Inverse(std::move(gram));
    NonnegativeFit fit{std::vector<double>(unknowns_), std::vector<double>(unknowns_)};
    for (size_t i = 0; i < columns.size(); ++i) {
      fit.values[columns[i]] = Dot(inverse[i], right) * scale_[columns[i]];
    }
    const double variance = ResidualVariance(fit.values, columns.size());
    for (size_t i = 0; i < columns.size(); ++i) {
      fit.errors[columns[i]] = std::sqrt(variance * inverse[i][i]) * scale_[columns[i]];
    }
    return fit;
  }

  double ResidualVariance(const std::vector<double>& values, size_t unknowns) const {
    if (rows_.size() <= unknowns) return 0;
    double sum = 0;
    for (size_t r = 0; r < rows_.size(); ++r) {
      const double error = Dot(rows_[r], values) - 1;
      sum += weights_[r] * error * error;
    }
    return sum / static_cast<double>(rows_.size() - unknowns);
  }

  const Matrix& rows_;
  const std::vector<double>& weights_;
  size_t unknowns_;
  std::vector<bool> free_;
  std::vector<double> scale_;  // of the columns, so that they have length 1
};

}  // namespace

Result<NonnegativeFit> FitNonnegative(const Matrix& rows, const std::vector<std::string>& names) {
  NPUMOE_CHECK(!names.empty());
  if (rows.size() < names.size()) {
    return InvalidInput(fmt::format("{} measured shapes for {} figures ({}); measure more shapes",
                                    rows.size(), names.size(), fmt::join(names, ", ")));
  }
  NPUMOE_RETURN_IF_ERROR(CheckIndependent(rows, names));
  std::vector<double> weights(rows.size(), 1);
  NonnegativeFit fit;
  for (int i = 0; i < kReweightings; ++i) {
    fit = WeightedFit(rows, weights).Run();
    std::vector<double> errors;
    for (const auto& row : rows) errors.push_back(std::abs(Dot(row, fit.values) - 1));
    const double limit = kHuber * kMadToSigma * MedianOf(errors);
    if (limit < kExact) break;
    for (size_t r = 0; r < rows.size(); ++r) weights[r] = std::min(1.0, limit / errors[r]);
  }
  return fit;
}

}  // namespace npumoe
