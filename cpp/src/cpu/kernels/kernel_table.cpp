// Lists the kernels: the one file that collects what each kernel source made for each instruction set, and
// that knows which of them the processor runs.
#include "cpu/kernels/kernel_table.hpp"

#include <array>
#include <cstring>

#include "cpu/kernels/targets.hpp"

namespace mimo_rt::cpu {

#define MIMO_RT_DECLARE(space, name)      \
  namespace space {                       \
  void fill_winograd(KernelTable& table); \
  void fill_direct(KernelTable& table);   \
  void fill_copy(KernelTable& table);     \
  void fill_concat(KernelTable& table);   \
  void fill_half(KernelTable& table);     \
  }
MIMO_RT_FOR_EACH_TARGET(MIMO_RT_DECLARE)
#undef MIMO_RT_DECLARE

namespace {

struct Entry {
  const char* name;
  void (*fill)(KernelTable&);
};

#define MIMO_RT_ENTRY(space, name)     \
  Entry{name, [](KernelTable& table) { \
          table.target = name;         \
          space::fill_winograd(table); \
          space::fill_direct(table);   \
          space::fill_copy(table);     \
          space::fill_concat(table);   \
          space::fill_half(table);     \
        }},
constexpr Entry kEntries[] = {MIMO_RT_FOR_EACH_TARGET(MIMO_RT_ENTRY)};
#undef MIMO_RT_ENTRY
constexpr std::size_t kCount = std::size(kEntries);

std::array<KernelTable, kCount> make_tables() {
  std::array<KernelTable, kCount> tables;
  for (std::size_t i = 0; i < kCount; ++i) kEntries[i].fill(tables[i]);
  return tables;
}

constexpr std::array<const char*, kCount> make_names() {
  std::array<const char*, kCount> names{};
  for (std::size_t i = 0; i < kCount; ++i) names[i] = kEntries[i].name;
  return names;
}
constexpr std::array<const char*, kCount> kNames = make_names();

}  // namespace

TargetList compiled_targets() { return {kNames.data(), kNames.size()}; }

bool target_runs_here(const char* name) {
  if (kernel_table(name) == nullptr) return false;
#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
  if (std::strcmp(name, "AVX-512") == 0) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  }
  if (std::strcmp(name, "AVX2") == 0) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
  }
  if (std::strcmp(name, "SSE4") == 0)
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
#endif
  return true;
}

const KernelTable* kernel_table(const char* name) {
  static const std::array<KernelTable, kCount> tables = make_tables();
  for (const KernelTable& table : tables) {
    if (std::strcmp(table.target, name) == 0) return &table;
  }
  return nullptr;
}

}  // namespace mimo_rt::cpu
