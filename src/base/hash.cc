#include "base/hash.h"

#include <xxhash.h>

#include <array>

#include "base/check.h"

namespace npumoe {

struct Hasher::State {
  State() : xxh3(XXH3_createState()) {
    NPUMOE_CHECK(xxh3 != nullptr);
    XXH3_128bits_reset(xxh3);
  }
  ~State() { XXH3_freeState(xxh3); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  XXH3_state_t* xxh3;
};

Hasher::Hasher() : state_(std::make_unique<State>()) {}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

Hasher& Hasher::Add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->xxh3, bytes.data(), bytes.size());
  return *this;
}

Hasher& Hasher::Add(std::string_view text) {
  Add(static_cast<int64_t>(text.size()));
  return Add(std::as_bytes(std::span(text)));
}

Hasher& Hasher::Add(int64_t value) {
  std::array<std::byte, 8> little_endian;
  const auto bits = static_cast<uint64_t>(value);
  for (size_t i = 0; i < little_endian.size(); ++i) {
    little_endian[i] = static_cast<std::byte>(bits >> (8 * i));
  }
  return Add(std::span<const std::byte>(little_endian));
}

std::string Hasher::Hex() const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_->xxh3));
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : canonical.digest) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

}  // namespace npumoe
