// Ctrl-C, and being told to end: while a guard lives, its signals set a flag instead of ending the
// program, so that the work stops where nothing unfinished stays behind.
#pragma once

#include <csignal>
#include <vector>

namespace npumoe::cli {

class InterruptGuard {
 public:
  enum class Signals {
    kInterrupt,  // SIGINT: the user stops one answer
    kEnding,     // SIGTERM and SIGHUP (where they are not ignored), too
  };
  explicit InterruptGuard(Signals signals = Signals::kInterrupt);
  ~InterruptGuard();  // puts back what was
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static bool Interrupted();
  // The last signal that came while a guard lived; 0: none.
  static int Signal();
  static void Clear();
  // Blocks until standard input has something to read; false when a signal came first.
  static bool WaitForInput();

 private:
  struct Previous {
    int signal;
    struct sigaction action;
  };
  std::vector<Previous> previous_;
};

}  // namespace npumoe::cli
