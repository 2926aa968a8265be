#include "plan/allocation_meter.hpp"

#include <cstdlib>
#include <new>

namespace {
thread_local std::size_t requested = 0;
}

void* operator new(std::size_t size) {
  requested += size;
  if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace mimo_rt::testing_plans {
std::size_t bytes_requested() { return requested; }
}  // namespace mimo_rt::testing_plans
