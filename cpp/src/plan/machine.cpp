// Asks the system what processor, caches and cores this machine has.
#include <cstddef>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "plan/plan_key.hpp"

#if defined(__linux__)
#include <unistd.h>

#include <fstream>
#elif defined(__APPLE__)
#include <sys/sysctl.h>

#include <cstdint>
#elif defined(_WIN32)
#include <cstdlib>
#endif

namespace mimo_rt {
namespace {

struct Machine {
  std::string processor;
  std::string caches;
  long cores = 0;

  void add_cache(const std::string& name, const std::string& size) {
    caches += (caches.empty() ? "" : ", ") + name + " " + size;
  }
};

// One line, single spaces, of bounded length, printable ASCII: what a system says of itself goes into a file.
std::string tidy(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c > ' ' && c < '\x7f') {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
    if (out.size() >= 200) break;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

#if defined(__linux__)

std::string first_line(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return tidy(line);
}

// The processor by name where /proc/cpuinfo has one (x86, some others), else by the numbers that Arm gives
// it.
std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string numbers;
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (line.empty() && !numbers.empty()) break;  // the end of the first core
    if (colon == std::string::npos) continue;
    const std::string field = tidy(std::string_view(line).substr(0, colon));
    const std::string value = tidy(std::string_view(line).substr(colon + 1));
    if (field == "model name" || field == "cpu model") return value;
    if (field == "CPU implementer" || field == "CPU variant" || field == "CPU part" || field == "cpu" ||
        field == "uarch") {
      numbers += (numbers.empty() ? "" : " ") + field + " " + value;
    }
  }
  return numbers;
}

Machine ask() {
  Machine machine;
  machine.processor = processor_name();
  for (int index = 0; index < 8; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    const std::string type = first_line(folder + "type");
    const std::string size = first_line(folder + "size");
    if (type.empty() || size.empty() || type == "Instruction") continue;
    std::string name = "L";
    name += first_line(folder + "level");
    if (type == "Data") name += 'd';
    machine.add_cache(name, size);
  }
  machine.cores = sysconf(_SC_NPROCESSORS_ONLN);  // of the machine, whatever this process may use
  return machine;
}

#elif defined(__APPLE__)

Machine ask() {
  Machine machine;
  char name[256] = {};
  std::size_t size = sizeof name - 1;
  if (sysctlbyname("machdep.cpu.brand_string", name, &size, nullptr, 0) == 0) machine.processor = tidy(name);
  const std::pair<const char*, const char*> caches[] = {
      {"L1d", "hw.l1dcachesize"}, {"L2", "hw.l2cachesize"}, {"L3", "hw.l3cachesize"}};
  for (const auto& [level, query] : caches) {
    std::int64_t bytes = 0;
    size = sizeof bytes;
    if (sysctlbyname(query, &bytes, &size, nullptr, 0) == 0 && bytes > 0) {
      machine.add_cache(level, std::to_string(bytes / 1024) + "K");
    }
  }
  machine.cores = static_cast<long>(std::thread::hardware_concurrency());
  return machine;
}

#else

Machine ask() {
  Machine machine;
#ifdef _WIN32
  char name[256] = {};
  std::size_t size = 0;
  if (getenv_s(&size, name, sizeof name, "PROCESSOR_IDENTIFIER") == 0 && size > 0)
    machine.processor = tidy(name);
#endif
  machine.cores = static_cast<long>(std::thread::hardware_concurrency());
  return machine;
}

#endif

}  // namespace

std::string machine_description() {
  const Machine machine = ask();
  std::string text = machine.processor.empty() ? "unknown processor" : machine.processor;
  if (!machine.caches.empty()) text += "; " + machine.caches;
  if (machine.cores > 0)
    text += "; " + std::to_string(machine.cores) + (machine.cores == 1 ? " core" : " cores");
  return text;
}

}  // namespace mimo_rt
