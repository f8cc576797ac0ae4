// Base64 (RFC 4648, with padding, no line breaks): counts and traces inside text files.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace npumoe {

std::string EncodeBase64(std::span<const uint8_t> bytes);
// Nothing when the text is not exactly what EncodeBase64 would write for some bytes.
std::optional<std::vector<uint8_t>> DecodeBase64(std::string_view text);

}  // namespace npumoe
