// Ctrl-C: while a guard lives, SIGINT sets a flag instead of ending the program.
#pragma once

namespace npumoe::cli {

class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool Interrupted();
  static void Clear();
  // Blocks until standard input has something to read; false when SIGINT came first.
  static bool WaitForInput();
};

}  // namespace npumoe::cli
