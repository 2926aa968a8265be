// Persistent workers that share out numbered work items. The caller takes part, items are handed out by one
// atomic counter, and which thread takes which item changes no result. No OpenMP: its runtimes collide inside
// one process.
#pragma once

#include <memory>

namespace mimo_rt::cpu {

class ThreadPool {
 public:
  // `threads` counts the caller; at least 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const noexcept { return threads_; }

  // Calls task(item, thread) for every item in [0, items), thread in [0, threads()), and returns when all are
  // done. The task must not throw. Items run with the default rounding and denormal mode, whatever the caller
  // has set. One call at a time.
  template <typename Task>
  void run(int items, const Task& task) {
    run_erased(
        items, [](const void* t, int item, int thread) { (*static_cast<const Task*>(t))(item, thread); },
        &task);
  }

 private:
  using Erased = void (*)(const void*, int, int);
  void run_erased(int items, Erased call, const void* task);

  void abandon();

  struct State;
  int threads_;
  std::unique_ptr<State> state_;
};

// Cores that this process may use.
int available_cores();

}  // namespace mimo_rt::cpu
