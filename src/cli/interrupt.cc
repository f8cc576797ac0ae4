#include "cli/interrupt.h"

#include <csignal>

namespace npumoe::cli {
namespace {

// The one thing that a signal handler may touch.
volatile std::sig_atomic_t interrupted = 0;

void OnInterrupt(int) { interrupted = 1; }

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupted = 0;
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;  // no SA_RESTART: a read of the prompt returns
  sigaction(SIGINT, &action, nullptr);
}

InterruptGuard::~InterruptGuard() { std::signal(SIGINT, SIG_DFL); }

bool InterruptGuard::Interrupted() { return interrupted != 0; }
void InterruptGuard::Clear() { interrupted = 0; }

}  // namespace npumoe::cli
