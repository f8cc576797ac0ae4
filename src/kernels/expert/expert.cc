#include "kernels/expert/expert.h"

namespace npumoe {

void RunExperts(std::span<const ExpertTask> tasks, ThreadPool& pool) {
  pool.ParallelFor(static_cast<int64_t>(tasks.size()),
                   [&](int64_t i, int) { RunExpertReference(tasks[static_cast<size_t>(i)]); });
}

}  // namespace npumoe
