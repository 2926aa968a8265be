// One block of 64-byte aligned memory for everything that a run needs, taken once and given back whole. Large
// blocks ask for huge pages, where the system offers them.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace mimo_rt::cpu {

class Arena {
 public:
  Arena() = default;
  // Throws MemoryLimitError("memory.exhausted") where the system refuses.
  explicit Arena(std::size_t floats);

  float* data() const noexcept { return data_.get(); }
  std::size_t floats() const noexcept { return floats_; }

 private:
  struct Free {
    Free() noexcept : alignment{64} {}
    explicit Free(std::align_val_t a) noexcept : alignment(a) {}
    std::align_val_t alignment;
    void operator()(float* p) const noexcept;
  };
  std::unique_ptr<float, Free> data_;
  std::size_t floats_ = 0;
};

}  // namespace mimo_rt::cpu
