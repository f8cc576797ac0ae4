# Compiler settings that hold for every room.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_OBJCXX_STANDARD 20)
set(CMAKE_OBJCXX_STANDARD_REQUIRED ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  add_compile_options(-Wno-restrict)  # false alarms about "text" + std::string (GCC bug 105651)
  # False alarms about variants of strings, and in instrumented code. Clang's -Wuninitialized and
  # the sanitized tests watch in its place.
  add_compile_options(-Wno-maybe-uninitialized)
endif()

# One of: "" | "address,undefined" | "thread"
set(NPUMOE_SANITIZE "" CACHE STRING "Sanitizers to build with")
if(NPUMOE_SANITIZE)
  add_compile_options(-fsanitize=${NPUMOE_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${NPUMOE_SANITIZE})
endif()

# Fuzzing (fuzz/CMakeLists.txt): libFuzzer steers by what the rooms' code does.
option(NPUMOE_FUZZ "Build the fuzz targets with libFuzzer; needs clang" OFF)
if(NPUMOE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_program(NPUMOE_CCACHE ccache)
if(NPUMOE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${NPUMOE_CCACHE}")
endif()
