// What `npumoe version` and `doctor` say about this build.
#pragma once

namespace npumoe::cli {

inline constexpr const char* kVersion = NPUMOE_VERSION;
#ifdef NDEBUG
inline constexpr const char* kBuildType = "release";
#else
inline constexpr const char* kBuildType = "debug";
#endif
#ifdef __clang__
inline constexpr const char* kCompiler = "clang " __clang_version__;
#else
inline constexpr const char* kCompiler = "g++ " __VERSION__;
#endif

}  // namespace npumoe::cli
