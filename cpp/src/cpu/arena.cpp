// Aligned allocation with huge-page advice.
#include "cpu/arena.hpp"

#include <cstdint>
#include <limits>
#include <new>
#include <string>

#include "mimo_rt/error.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace mimo_rt::cpu {
namespace {
constexpr std::align_val_t kHugePage{std::size_t{2} << 20};
constexpr std::align_val_t kCacheLine{64};
constexpr std::size_t kHugeFrom = std::size_t{4} << 20;  // bytes
}  // namespace

Arena::Arena(std::size_t floats) : floats_(floats) {
  if (floats == 0) return;
  if (floats > std::numeric_limits<std::size_t>::max() / sizeof(float)) {
    throw MemoryLimitError("memory.exhausted", "the image needs more memory than a process can address");
  }
  const std::size_t bytes = floats * sizeof(float);
  const std::align_val_t alignment = bytes >= kHugeFrom ? kHugePage : kCacheLine;
  void* p = ::operator new(bytes, alignment, std::nothrow);
  if (p == nullptr) {
    throw MemoryLimitError("memory.exhausted",
                           "the system refused " + std::to_string(bytes >> 20) +
                               " MiB of working memory; set a smaller memory bound or use a smaller image");
  }
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (bytes >= kHugeFrom) madvise(p, bytes, MADV_HUGEPAGE);
#endif
  data_ = {static_cast<float*>(p), Free{alignment}};
}

void Arena::Free::operator()(float* p) const noexcept { ::operator delete(p, alignment); }

}  // namespace mimo_rt::cpu
