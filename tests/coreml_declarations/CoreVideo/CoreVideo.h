// The little of Core Video that the Core ML bridge uses; see ../README.md.
#pragma once

#import <Foundation/Foundation.h>

#include <cstddef>
#include <cstdint>

typedef struct CVBufferValue* CVPixelBufferRef;
typedef int32_t CVReturn;
typedef uint32_t OSType;
typedef uint64_t CVPixelBufferLockFlags;
enum : CVReturn { kCVReturnSuccess = 0 };
enum : OSType { kCVPixelFormatType_OneComponent16Half = 'L00h' };

extern "C" {
extern const CFStringRef _Nonnull kCVPixelBufferIOSurfacePropertiesKey;
CVReturn CVPixelBufferCreate(CFAllocatorRef _Nullable allocator, size_t width, size_t height,
                             OSType format, CFDictionaryRef _Nullable attributes,
                             CVPixelBufferRef _Nullable* _Nonnull made);
void CVPixelBufferRelease(CVPixelBufferRef _Nullable buffer);
CVReturn CVPixelBufferLockBaseAddress(CVPixelBufferRef _Nonnull buffer,
                                      CVPixelBufferLockFlags flags);
CVReturn CVPixelBufferUnlockBaseAddress(CVPixelBufferRef _Nonnull buffer,
                                        CVPixelBufferLockFlags flags);
void* _Nullable CVPixelBufferGetBaseAddress(CVPixelBufferRef _Nonnull buffer);
size_t CVPixelBufferGetBytesPerRow(CVPixelBufferRef _Nonnull buffer);
size_t CVPixelBufferGetHeight(CVPixelBufferRef _Nonnull buffer);
}
