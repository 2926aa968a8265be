// Workers that spin a little and then sleep; re-made in a forked child, whose copy of the pool has no
// threads.
#include "cpu/thread_pool.hpp"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

#include "core/floating_point.hpp"
#include "core/process_id.hpp"

namespace mimo_rt::cpu {
namespace {

constexpr int kSpins =
    4000;  // some 10 µs: longer than the gap between two layers, shorter than a context switch pays

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<std::uint64_t> generation{0};
  std::atomic<bool> stop{false};
  // Every worker enters and leaves each generation exactly once, so that none can meet the next one's task.
  std::atomic<int> running{0};
  std::atomic<int> next{0};
  int items = 0;
  Erased call = nullptr;
  const void* task = nullptr;
  std::vector<std::thread> workers;
  long owner = 0;

  void work(int thread) {
    for (int item = next.fetch_add(1); item < items; item = next.fetch_add(1)) call(task, item, thread);
  }

  void loop(int thread) {
    std::fesetenv(FE_DFL_ENV);
    std::uint64_t seen = 0;
    while (true) {
      for (int spin = 0; spin < kSpins && generation.load(std::memory_order_acquire) == seen; ++spin) pause();
      if (generation.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return generation.load(std::memory_order_acquire) != seen; });
      }
      ++seen;
      if (stop.load()) return;
      work(thread);
      running.fetch_sub(1, std::memory_order_acq_rel);
    }
  }

  void advance() {
    {
      const std::lock_guard lock(mutex);
      generation.fetch_add(1, std::memory_order_acq_rel);
    }
    wake.notify_all();
  }
};

ThreadPool::ThreadPool(int threads) : threads_(std::max(1, threads)) {}

ThreadPool::~ThreadPool() {
  if (!state_) return;
  if (state_->owner != process_id()) {
    abandon();
    return;
  }
  state_->stop.store(true);
  state_->advance();
  for (std::thread& worker : state_->workers) worker.join();
}

// In a forked child the workers exist only in the parent: their handles can be neither joined nor destroyed
// here, so the child lets go of the state for good (one small leak a fork).
void ThreadPool::abandon() { static_cast<void>(state_.release()); }

void ThreadPool::run_erased(int items, Erased call, const void* task) {
  const DefaultFloatingPoint scope;
  if (threads_ == 1 || items <= 1) {
    for (int item = 0; item < items; ++item) call(task, item, 0);
    return;
  }
  if (state_ && state_->owner != process_id()) abandon();
  if (!state_) {
    auto state = std::make_unique<State>();
    state->owner = process_id();
    state->workers.reserve(static_cast<std::size_t>(threads_ - 1));
    try {
      for (int t = 1; t < threads_; ++t) state->workers.emplace_back([s = state.get(), t] { s->loop(t); });
    } catch (...) {
      // Fewer threads than asked for are an inconvenience, not an error: results do not depend on their
      // number.
    }
    state_ = std::move(state);
  }
  State& s = *state_;
  s.items = items;
  s.call = call;
  s.task = task;
  s.next.store(0);
  s.running.store(static_cast<int>(s.workers.size()));
  s.advance();
  s.work(0);
  for (int spin = 0; s.running.load(std::memory_order_acquire) != 0; ++spin) {
    if (spin < kSpins) {
      pause();
    } else {
      std::this_thread::yield();
    }
  }
}

int available_cores() {
#if defined(__linux__)
  // hardware_concurrency() counts the machine's, whatever this process is bound to.
  cpu_set_t mine;
  if (sched_getaffinity(0, sizeof mine, &mine) == 0) return std::max(1, CPU_COUNT(&mine));
#endif
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

}  // namespace mimo_rt::cpu
