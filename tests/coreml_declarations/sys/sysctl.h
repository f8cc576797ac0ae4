// The one function that the Core ML bridge uses; see ../README.md.
#pragma once

#include <cstddef>

extern "C" int sysctlbyname(const char* name, void* value, size_t* size, void* set,
                            size_t set_size);
