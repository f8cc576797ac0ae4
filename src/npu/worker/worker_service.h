// WorkerService: what a worker process does. It opens the device that it is told to, holds
// programs, and answers one message after the other. It ends with the engine: when the connection
// closes, and on Linux when the engine's thread that started it ends in whatever way.
//
// What arrives is checked as if an enemy had sent it: on a contradiction the process ends with
// kExitProtocol and a line on stderr; nothing is guessed.
#pragma once

#include "base/status.h"

namespace npumoe::worker {

inline constexpr int kExitProtocol = 3;

// The body of `npumoe npu-worker`. kUsage when nothing started this process as a worker;
// otherwise it does not return before the end of the connection.
Status RunWorkerProcess();

}  // namespace npumoe::worker
