#include "npu/emulator/fault_script.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "npu/emulator/fault_injector.h"

namespace npumoe::emulator {
namespace {

std::vector<Fault> Parsed(const std::string& script) {
  auto faults = ParseFaultScript(script);
  EXPECT_TRUE(faults.ok()) << faults.status().message();
  return faults.ok() ? *faults : std::vector<Fault>();
}

TEST(FaultScript, OfNothingHasNoFaults) {
  EXPECT_TRUE(Parsed("").empty());
  EXPECT_TRUE(Parsed(" \n ; # only a comment @ ;\n\r\n").empty());
}

TEST(FaultScript, KnowsEveryFaultByItsName) {
  for (int i = 0; i < kFaultKinds; ++i) {
    const auto kind = static_cast<FaultKind>(i);
    const auto faults = Parsed(std::string(Name(kind)) + "@times=1");
    ASSERT_EQ(faults.size(), 1u) << Name(kind);
    EXPECT_EQ(faults[0].effect.kind, kind);
    const bool of_loads = kind <= FaultKind::kCpuPlacement;
    EXPECT_EQ(faults[0].site, of_loads ? FaultSite::kLoad : FaultSite::kLaunch) << Name(kind);
  }
}

TEST(FaultScript, ReadsSettingsAndConditions) {
  const auto faults = Parsed(
      "nan( rows = 0.1 , seed=9 ) @ program = *key* , launch = last/40 # why\n"
      "slow-compile(modelled-s=60, sleep-ms=5) @ load=2; hang(scope=device) @ every=100\n"
      "wrong @ probability=0.25, seed=3, times=7; cpu-placement(factor=8) @ launch=middle/41;"
      "overflow(gain=1e3) @ launch=first");
  ASSERT_EQ(faults.size(), 6u);
  EXPECT_EQ(faults[0].effect.rows, 0.1);
  EXPECT_EQ(faults[0].effect.seed, 9u);
  EXPECT_EQ(faults[0].program, "*key*");
  EXPECT_EQ(faults[0].ordinal, 40);
  EXPECT_EQ(faults[1].effect.modelled_ms, 60e3);
  EXPECT_EQ(faults[1].effect.sleep_ms, 5);
  EXPECT_EQ(faults[1].site, FaultSite::kLoad);
  EXPECT_EQ(faults[1].ordinal, 2);
  EXPECT_TRUE(faults[2].effect.holds_device);
  EXPECT_EQ(faults[2].every, 100);
  EXPECT_EQ(faults[3].probability, 0.25);
  EXPECT_EQ(faults[3].seed, 3u);
  EXPECT_EQ(faults[3].times, 7);
  EXPECT_EQ(faults[4].effect.factor, 8);
  EXPECT_EQ(faults[4].site, FaultSite::kLaunch);
  EXPECT_EQ(faults[4].ordinal, 21);
  EXPECT_EQ(faults[5].effect.gain, 1e3);
  EXPECT_EQ(faults[5].ordinal, 1);
}

struct Mistake {
  const char* script;
  const char* words;
};

class FaultScriptMistake : public ::testing::TestWithParam<Mistake> {};

TEST_P(FaultScriptMistake, IsRefusedWithTheFaultAndWhatIsAllowed) {
  const auto faults = ParseFaultScript(GetParam().script);
  ASSERT_FALSE(faults.ok()) << GetParam().script;
  EXPECT_EQ(faults.status().code(), StatusCode::kInvalidInput);
  EXPECT_NE(faults.status().message().find("fault script"), std::string::npos);
  EXPECT_NE(faults.status().message().find(GetParam().words), std::string::npos)
      << faults.status().message();
}

INSTANTIATE_TEST_SUITE_P(
    All, FaultScriptMistake,
    ::testing::Values(
        Mistake{"crash", "needs '@'"}, Mistake{"crash@", "is not KEY=VALUE"},
        Mistake{"crash @ launch=1; boom @ launch=2", "fault 2 ('boom @ launch=2'): 'boom' is not"},
        Mistake{"crash(how=abort) @ launch=1", "'crash' has no setting 'how'; it has: none"},
        Mistake{"nan(gain=2) @ launch=1", "it has: rows, seed"},
        Mistake{"nan(rows=1.5) @ launch=1", "allowed are numbers from 0 to 1"},
        Mistake{"nan(rows=nan) @ launch=1", "allowed are numbers"},
        Mistake{"nan(rows=0.1 @ launch=1", "does not end with ')'"},
        Mistake{"nan(rows=0.1,rows=0.2) @ launch=1", "'rows' stands twice"},
        Mistake{"hang(scope=all) @ launch=1", "allowed are request, device"},
        Mistake{"crash @ launch=0", "whole numbers from 1"},
        Mistake{"crash @ launch=-1", "whole numbers from 1"},
        Mistake{"crash @ launch=1.5", "a number from 1, any, first"},
        Mistake{"crash @ launch=99999999999999999999", "a number from 1, any, first"},
        Mistake{"crash @ launch=last", "needs the total, as in last/40"},
        Mistake{"crash @ launch=last/0", "whole numbers from 1"},
        Mistake{"crash @ launch=1, load=1", "exclude each other"},
        Mistake{"crash @ launch=1, every=2", "excludes"},
        Mistake{"crash @ every=2, probability=0.5", "exclude each other"},
        Mistake{"crash @ launch=any, seed=2", "which is missing"},
        Mistake{"crash @ when=now", "'when' is not a condition"},
        Mistake{"crash @ program=", "is not KEY=VALUE"},
        Mistake{"crash @ times=x", "whole numbers from 1"}));

TEST(FaultScript, RefusesOneThatIsTooLong) {
  EXPECT_FALSE(ParseFaultScript(std::string(1 << 17, ' ')).ok());
}

std::string Fires(const std::string& script, int events, const std::string& program = "p:main") {
  FaultInjector injector(Parsed(script));
  std::string fires;
  for (int i = 0; i < events; ++i) fires += injector.OnLaunch(program).empty() ? '.' : 'x';
  return fires;
}

TEST(FaultInjector, HitsTheNumberedEventOnly) {
  EXPECT_EQ(Fires("nan @ launch=3", 6), "..x...");
  EXPECT_EQ(Fires("nan @ launch=last/6", 6), ".....x");
  EXPECT_EQ(Fires("nan @ load=1", 6), "......");
}

TEST(FaultInjector, HitsEveryKthUpToItsTimes) {
  EXPECT_EQ(Fires("nan @ every=2", 6), ".x.x.x");
  EXPECT_EQ(Fires("nan @ every=2, times=2", 8), ".x.x....");
  EXPECT_EQ(Fires("nan @ launch=any", 3), "xxx");
}

TEST(FaultInjector, HitsTheShareThatTheProbabilityAsksForTheSameWayEveryTime) {
  const std::string fires = Fires("nan @ probability=0.2, seed=5", 10000);
  const auto hits = std::count(fires.begin(), fires.end(), 'x');
  EXPECT_NEAR(static_cast<double>(hits), 2000, 4 * 40);  // sqrt(10000 * 0.2 * 0.8) = 40
  EXPECT_EQ(fires, Fires("nan @ probability=0.2, seed=5", 10000));
  EXPECT_NE(fires, Fires("nan @ probability=0.2, seed=6", 10000));
}

TEST(FaultInjector, CountsEachProgramThatAGlobMatchesByItself) {
  FaultInjector injector(Parsed("nan @ program=layer?, launch=2"));
  EXPECT_TRUE(injector.OnLaunch("layer1:main").empty());
  EXPECT_TRUE(injector.OnLaunch("other:main").empty());
  EXPECT_TRUE(injector.OnLaunch("layer2:main").empty());
  EXPECT_FALSE(injector.OnLaunch("layer1:main").empty());
  EXPECT_FALSE(injector.OnLaunch("layer2:main").empty());
  EXPECT_TRUE(injector.OnLaunch("layer2:main").empty());
}

TEST(FaultInjector, MatchesFunctionsToo) {
  EXPECT_EQ(Fires("nan @ program=p:rows_*", 2, "p:rows_64"), "xx");
  EXPECT_EQ(Fires("nan @ program=p:rows_*", 2, "p:main"), "..");
  EXPECT_EQ(FaultNameOf("/cache/l3-p0.mlpackage/", "main"), "l3-p0:main");
}

TEST(FaultInjector, GivesEveryHitOtherRows) {
  FaultInjector injector(Parsed("wrong(seed=4) @ launch=any"));
  const uint64_t first = injector.OnLaunch("p:main").at(0).seed;
  EXPECT_NE(first, injector.OnLaunch("p:main").at(0).seed);
}

}  // namespace
}  // namespace npumoe::emulator
