// What the environment sets: threads, and the processor that they are bound to.
#include <dirent.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "npu/openvino/openvino_testing.h"

namespace npumoe::openvino {
namespace {

// Sets a variable for the life of this object.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    setenv(name, value.c_str(), 1);
  }
  ~Variable() { before_ ? setenv(name_, before_->c_str(), 1) : unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

class OpenvinoSettings : public OpenvinoTest {
 protected:
  ThreadPool pool_{2};
};

TEST_F(OpenvinoSettings, TakeTheThreadsOfThePoolOrOfTheEnvironment) {
  const auto description = [&] { return OpenCpu(pool_)->info().description; };
  EXPECT_NE(description().find("2 thread(s)"), std::string::npos) << description();
  const Variable threads("NPUMOE_OPENVINO_THREADS", "1");
  EXPECT_NE(description().find("1 thread(s)"), std::string::npos) << description();
}

TEST_F(OpenvinoSettings, RefuseWhatIsNoNumber) {
  for (const char* name : {"NPUMOE_OPENVINO_THREADS", "NPUMOE_OPENVINO_CORE"}) {
    for (const char* value : {"two", "1x", "-1", "99999999999"}) {
      const Variable variable(name, value);
      const Status status = MakeDevice("openvino:CPU", TestProfile(), pool_).status();
      EXPECT_EQ(status.code(), StatusCode::kUsage) << name << "=" << value;
      EXPECT_NE(status.message().find(std::string(name) + "=" + value), std::string::npos);
    }
  }
}

#ifdef __linux__
// Threads of this process by the processor that each is bound to; those of several are left out.
int ThreadsBoundTo(int core) {
  int bound = 0;
  DIR* tasks = opendir("/proc/self/task");
  while (const dirent* task = readdir(tasks)) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    const int id = std::atoi(task->d_name);
    if (id == 0 || sched_getaffinity(id, sizeof allowed, &allowed) != 0) continue;
    if (CPU_COUNT(&allowed) == 1 && CPU_ISSET(core, &allowed)) ++bound;
  }
  closedir(tasks);
  return bound;
}

TEST_F(OpenvinoSettings, BindTheTargetToOneProcessorAndNothingElse) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  if (CPU_COUNT(&before) < 2) GTEST_SKIP() << "this process is bound to one processor itself";
  int core = CPU_SETSIZE - 1;
  while (!CPU_ISSET(core, &before)) --core;
  const Variable variable("NPUMOE_OPENVINO_CORE", std::to_string(core));
  const Variable threads("NPUMOE_OPENVINO_THREADS", "1");
  const int bound_before = ThreadsBoundTo(core);

  const auto device = OpenCpu(pool_);
  const ScratchFolder folder;
  const Graph graph = npumoe::testing::ExpertGraph(GraphForm::kDenseChains, {32, 48}, {16});
  Bound bound(*device->Load(WritePackage(folder, {graph}), "main"));
  ASSERT_TRUE(device->Wait(*bound.Submit(*device), kLongMs).ok());

  EXPECT_GT(ThreadsBoundTo(core), bound_before);
  cpu_set_t after;
  ASSERT_EQ(sched_getaffinity(0, sizeof after, &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}
#endif

}  // namespace
}  // namespace npumoe::openvino
