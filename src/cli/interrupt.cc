#include "cli/interrupt.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace npumoe::cli {
namespace {

// The one thing that a signal handler may touch.
volatile std::sig_atomic_t last_signal = 0;

void OnSignal(int signal) { last_signal = signal; }

}  // namespace

InterruptGuard::InterruptGuard(Signals signals) {
  last_signal = 0;
  struct sigaction action = {};
  action.sa_handler = OnSignal;  // no SA_RESTART: a read of the prompt returns
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (signal != SIGINT && signals == Signals::kInterrupt) continue;
    Previous previous{signal, {}};
    sigaction(signal, nullptr, &previous.action);
    // nohup and shells' background jobs ignore signals on purpose.
    if (signal != SIGINT && previous.action.sa_handler == SIG_IGN) continue;
    sigaction(signal, &action, nullptr);
    previous_.push_back(previous);
  }
}

InterruptGuard::~InterruptGuard() {
  for (const Previous& previous : previous_) sigaction(previous.signal, &previous.action, nullptr);
}

bool InterruptGuard::Interrupted() { return last_signal != 0; }
int InterruptGuard::Signal() { return last_signal; }
void InterruptGuard::Clear() { last_signal = 0; }

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
