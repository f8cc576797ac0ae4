# Everything comes from the system's package manager; `make setup` installs it.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(nlohmann_json 3.9 REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)

# Homebrew's protobuf links abseil and says so only in its own CMake package; Debian's has none.
set(protobuf_MODULE_COMPATIBLE ON)
find_package(Protobuf QUIET CONFIG)
if(NOT Protobuf_FOUND)
  find_package(Protobuf REQUIRED MODULE)
endif()

pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
if(NPUMOE_TESTS)
  find_package(GTest REQUIRED)
endif()
if(NPUMOE_BENCHMARKS)
  find_package(benchmark REQUIRED)
endif()
