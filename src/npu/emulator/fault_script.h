// Fault scripts: how the emulated NPU fails, on command, in the ways that users of real ones
// report. A script is a list of faults, separated by ';' or line ends; '#' begins a comment:
//
//   fault     := what [ '(' setting '=' value { ',' ... } ')' ] '@' condition { ',' condition }
//   condition := load=WHICH | launch=WHICH | program=GLOB | every=K | probability=P | seed=N
//              | times=N
//   WHICH     := any | N | first | middle/TOTAL | last/TOTAL         (counted from 1)
//
//   crash @ launch=3                       the third launch of all kills the process
//   nan(rows=0.1) @ program=*key*, launch=last/40   a tenth of the rows of that program's 40th
//   refuse-too-many @ load=2; hang @ every=100; wrong(seed=7) @ probability=0.01, seed=3
//
// What happens:
//   refuse-too-large, refuse-too-many, refuse-unsupported
//                   the load (or launch) fails with the status of a real limit
//   slow-compile    (modelled-s=120, sleep-ms=0) the compiler works for minutes. A load that is
//                   hit sleeps `sleep-ms`, and Program::load_report() says `modelled-s`; a launch
//                   does so when it runs, and reports `modelled-s` on top
//   cpu-placement   (factor=30) runs on the CPU without a word: right, its reported time
//                   multiplied; a load that is hit shows it in Program::compute_plan()
//   wrong           (rows=1, seed=1) so large a share of the rows are other numbers, of the
//                   magnitude of the right ones
//   nan             (rows=1, seed=1) the same, NaN
//   overflow        (gain=65504) a value whose `gain`-fold exceeds 65504 is infinity; the largest
//                   one always is
//   hang            (scope=request) never ends until its program is unloaded; scope=device: nor
//                   does anything behind it. A load that hangs ends at the load's time limit
//   crash           the process aborts
//   lost            this and every later call fails with kDeviceLost until the device is reopened
//
// When: `load=` and `launch=` say which event is hit; without either, refusals, slow-compile and
// cpu-placement hit loads and the others launches. wrong, nan, overflow and cpu-placement that hit
// a load hold for every launch of that program. `program=` matches the package's name without
// ".mlpackage", or NAME:FUNCTION, with * and ?; with it a number counts the events of each program
// that matches, without it those of the whole session. Restarts of a worker process do not reset
// the count, and what is done again after one counts again. `every=K` hits each K-th, `probability`
// a share of them that `seed` decides. `times=N`: N hits at most.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace npumoe::emulator {

enum class FaultKind : uint8_t {
  kRefuseTooLarge,
  kRefuseTooMany,
  kRefuseUnsupported,
  kSlowCompile,
  kCpuPlacement,
  kWrong,
  kNan,
  kOverflow,
  kHang,
  kCrash,
  kLost,
};
inline constexpr int kFaultKinds = 11;
const char* Name(FaultKind kind);  // as scripts spell it

// What one event suffers.
struct FaultEffect {
  FaultKind kind = FaultKind::kCrash;
  double modelled_ms = 120e3;  // slow-compile; chosen: what users report for a first compile
  double sleep_ms = 0;         // slow-compile
  double factor = 30;          // cpu-placement; chosen: one core against an NPU
  double rows = 1;             // wrong, nan: share
  double gain = 65504;         // overflow
  uint64_t seed = 1;           // wrong, nan
  bool holds_device = false;   // hang: nothing behind it runs either
};

enum class FaultSite { kLoad, kLaunch };

struct Fault {
  FaultEffect effect;
  FaultSite site = FaultSite::kLaunch;
  std::string program;     // glob; empty: any
  int64_t ordinal = 0;     // 0: any
  int64_t every = 0;       // 0: any
  double probability = 1;  // of an event that all else allows
  uint64_t seed = 1;
  int64_t times = 0;  // 0: no limit
};

// Errors name the fault by its number and say what is allowed.
Result<std::vector<Fault>> ParseFaultScript(std::string_view script);

}  // namespace npumoe::emulator
