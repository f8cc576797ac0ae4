#include "cli/interrupt.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
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

bool InterruptGuard::WaitForInput() {
  // A signal may reach another thread, or this one just before it blocks: so look now and then.
  constexpr int kLookAgainMs = 50;
  pollfd input{STDIN_FILENO, POLLIN, 0};
  while (!Interrupted()) {
    const int ready = poll(&input, 1, kLookAgainMs);
    if (ready > 0 || (ready < 0 && errno != EINTR)) return true;
  }
  return false;
}

}  // namespace npumoe::cli
