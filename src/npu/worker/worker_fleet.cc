// The fleet as its callers see it. What the supervisor does: worker_supervisor.cc.
#include "npu/worker/worker_fleet.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "npu/wait_deadline.h"

namespace npumoe::worker {
namespace {

Configure MakeConfigure(const ChipProfile& profile, const WorkerDeviceOptions& options) {
  Configure configure;
  configure.device = options.device;
  configure.profile_name = profile.name;
  configure.profile_toml = profile.toml;
  configure.cache_dir = options.cache_dir.string();
  configure.threads = options.threads;
  return configure;
}

Status Unloaded() { return {StatusCode::kCancelled, "the program was unloaded before it ran"}; }

}  // namespace

WorkerFleet::WorkerFleet(const ChipProfile& profile, const WorkerDeviceOptions& options,
                         std::vector<emulator::Fault> faults)
    : options_(options),
      max_requests_(static_cast<size_t>(profile.limits.max_requests_in_flight * options.workers)),
      configure_(MakeConfigure(profile, options)),
      program_(options.program.empty() ? ThisProgram() : options.program),
      faults_(std::move(faults)),
      useless_lives_(static_cast<size_t>(options.workers), 0) {
  for (int i = 0; i < options.workers; ++i) links_.emplace_back(i);
}

Result<std::shared_ptr<WorkerFleet>> WorkerFleet::Create(const ChipProfile& profile,
                                                         const WorkerDeviceOptions& options,
                                                         std::vector<emulator::Fault> faults) {
  std::shared_ptr<WorkerFleet> fleet(new WorkerFleet(profile, options, std::move(faults)));
  std::array<int, 2> wake = {-1, -1};
  if (pipe(wake.data()) != 0) return IoError("starting workers: no pipe; too many open files?");
  fleet->wake_read_ = FileDescriptor(wake[0]);
  fleet->wake_write_ = FileDescriptor(wake[1]);
  for (const int fd : wake) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
  }
  fleet->supervisor_ = std::thread([raw = fleet.get()] { raw->Supervise(); });
  std::unique_lock lock(fleet->mutex_);
  fleet->changed_.wait(lock, [&] {
    return std::all_of(fleet->links_.begin(), fleet->links_.end(), [](const WorkerLink& link) {
      return link.state() == WorkerLink::State::kReady ||
             link.state() == WorkerLink::State::kBroken;
    });
  });
  if (!fleet->start_error_.ok()) {
    const Status error = fleet->start_error_;
    lock.unlock();
    return error;
  }
  return fleet;
}

WorkerFleet::~WorkerFleet() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    Wake();
  }
  if (supervisor_.joinable()) supervisor_.join();
}

void WorkerFleet::Wake() {
  const char byte = 0;
  // A full pipe wakes as well.
  [[maybe_unused]] const ssize_t written = write(wake_write_.get(), &byte, 1);
}

DeviceInfo WorkerFleet::info() const {
  const std::lock_guard lock(mutex_);
  return {opened_.name,
          fmt::format("{}, in {} worker process{}", opened_.description, links_.size(),
                      links_.size() == 1 ? "" : "es"),
          opened_.version};
}

DeviceHealth WorkerFleet::health() const {
  const std::lock_guard lock(mutex_);
  DeviceHealth health;
  health.restarts = restarts_;
  health.replays = replays_;
  for (const auto& [reason, count] : reasons_) health.events.push_back({reason, count});
  std::stable_sort(health.events.begin(), health.events.end(),
                   [](const auto& a, const auto& b) { return a.count > b.count; });
  return health;
}

int WorkerFleet::LeastLoadedWorker() const {
  std::vector<int64_t> load(links_.size(), 0);
  for (const auto& [id, hosted] : programs_) ++load[static_cast<size_t>(hosted.worker)];
  int best = -1;
  for (const WorkerLink& link : links_) {
    if (link.state() == WorkerLink::State::kBroken) continue;
    const auto candidate = static_cast<size_t>(link.index());
    if (best < 0 || load[candidate] < load[static_cast<size_t>(best)]) best = link.index();
  }
  return best;
}

Status WorkerFleet::Supports(const std::string& package, const std::string& function) {
  std::unique_lock lock(mutex_);
  const int64_t id = next_id_++;
  Query query;
  query.question = {id, package, function};
  query.worker = LeastLoadedWorker();
  if (query.worker < 0) return {StatusCode::kDeviceLost, "no worker is left"};
  Query& asked = queries_[id] = std::move(query);
  Wake();
  changed_.wait(lock, [&] { return asked.answer.has_value(); });
  const Status answer = *asked.answer;
  queries_.erase(id);
  return answer;
}

Result<Loaded> WorkerFleet::Load(const std::string& package, const std::string& function) {
  std::unique_lock lock(mutex_);
  const int64_t id = next_id_++;
  Hosted hosted;
  hosted.worker = LeastLoadedWorker();
  if (hosted.worker < 0) return Status(StatusCode::kDeviceLost, "no worker is left");
  hosted.package = package;
  hosted.function = function;
  hosted.name = emulator::FaultNameOf(package, function);
  Hosted& loading = programs_[id] = std::move(hosted);
  Wake();
  changed_.wait(lock, [&] { return loading.state != Hosted::State::kLoading; });
  if (loading.state == Hosted::State::kLoaded) return loading.loaded;
  const Status failure = loading.failure;
  programs_.erase(id);
  return failure;
}

void WorkerFleet::Unload(int64_t program) {
  std::unique_lock lock(mutex_);
  const auto found = programs_.find(program);
  if (found == programs_.end()) return;
  Hosted& hosted = found->second;
  hosted.unloading = true;
  for (auto& [id, request] : requests_) {
    const bool unsent = request.state < Request::State::kSent;
    if (request.call.program == program && unsent) Finish(request, Unloaded());
  }
  // What a worker has begun ends by itself, or at its deadline with the worker.
  changed_.wait(lock, [&] {
    return std::none_of(requests_.begin(), requests_.end(), [&](const auto& entry) {
      return entry.second.call.program == program && entry.second.state == Request::State::kSent;
    });
  });
  if (hosted.asked) {  // to load it again, after a restart: the answer will come
    hosted.abandoned = true;
    return;
  }
  if (hosted.resident) {
    links_[static_cast<size_t>(hosted.worker)].Send(Encode(worker::Unload{program}));
    Wake();
  }
  programs_.erase(found);
}

Result<RequestId> WorkerFleet::Submit(LaunchCall call) {
  const std::lock_guard lock(mutex_);
  const auto found = programs_.find(call.program);
  if (found == programs_.end()) return InvalidInput("the request's program is not loaded");
  if (found->second.state == Hosted::State::kFailed) return found->second.failure;
  if (requests_.size() >= max_requests_) {
    return ResourceExhausted(
        fmt::format("{} requests are in flight, the most that the profile allows {} workers; wait "
                    "for one before submitting more",
                    requests_.size(), links_.size()));
  }
  const auto id = static_cast<RequestId>(next_id_++);
  call.request = static_cast<int64_t>(id);
  Request& request = requests_[id];
  request.worker = found->second.worker;
  request.call = std::move(call);
  if (options_.start == LaunchStart::kOnSubmit) {
    request.state = Request::State::kReleased;
    Wake();
  }
  return id;
}

// Whether Wait may return: it is done, and so is what was released together with it.
bool WorkerFleet::IsSettled(RequestId request) const {
  const auto found = requests_.find(request);
  if (found == requests_.end()) return true;
  if (found->second.state != Request::State::kDone) return false;
  if (options_.start == LaunchStart::kOnSubmit) return true;
  return std::all_of(requests_.begin(), found,
                     [](const auto& r) { return r.second.state == Request::State::kDone; });
}

Result<LaunchReport> WorkerFleet::Wait(RequestId id, double timeout_ms) {
  const auto deadline = DeadlineAfter(timeout_ms);
  std::unique_lock lock(mutex_);
  bool released = false;
  for (auto it = requests_.begin(); it != requests_.end() && it->first <= id; ++it) {
    if (it->second.state != Request::State::kHeld) continue;
    it->second.state = Request::State::kReleased;
    released = true;
  }
  if (released) Wake();
  changed_.wait_until(lock, deadline, [&] { return IsSettled(id); });
  const auto found = requests_.find(id);
  if (found == requests_.end()) {
    return InvalidInput(fmt::format("request {} is unknown, or was waited for already", id));
  }
  if (found->second.state != Request::State::kDone) {
    return Status(StatusCode::kDeadlineExceeded,
                  fmt::format("request {} has not finished within {} ms; it still runs and may be "
                              "waited for again",
                              id, timeout_ms));
  }
  const Request done = std::move(found->second);
  requests_.erase(found);
  changed_.notify_all();  // another thread may wait for the same request: it is gone
  if (!done.status.ok()) return done.status;
  return done.report;
}

Status WorkerFleet::Reopen() {
  std::unique_lock lock(mutex_);
  start_error_ = OkStatus();
  for (WorkerLink& link : links_) {
    if (link.state() != WorkerLink::State::kBroken) continue;
    useless_lives_[static_cast<size_t>(link.index())] = 0;
    link.Unbreak();
  }
  Wake();  // the supervisor starts what is stopped
  changed_.wait(lock, [&] {
    return std::all_of(links_.begin(), links_.end(), [](const WorkerLink& link) {
      return link.state() == WorkerLink::State::kReady ||
             link.state() == WorkerLink::State::kBroken;
    });
  });
  if (start_error_.ok()) return OkStatus();
  return {StatusCode::kDeviceLost, start_error_.message()};
}

}  // namespace npumoe::worker
