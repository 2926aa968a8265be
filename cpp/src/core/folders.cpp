#include "core/folders.hpp"

#include <cstdlib>
#include <string>

namespace mimo_rt {
namespace {

namespace fs = std::filesystem;

// A path from the environment; empty where it is not set.
fs::path environment_path(const char* name) {
#ifdef _WIN32
  const std::wstring wide(name, name + std::char_traits<char>::length(name));
  const wchar_t* value = _wgetenv(wide.c_str());
#else
  const char* value = std::getenv(name);
#endif
  return value != nullptr ? fs::path(value) : fs::path();
}

#ifndef _WIN32
// Below $`variable` where it is set, else below `in_home` of the home folder.
fs::path below(const char* variable, const char* in_home) {
  // A relative path there is to be ignored, says the specification of base directories.
  if (const fs::path base = environment_path(variable); base.is_absolute()) return base / "mimo_rt";
  const fs::path home = environment_path("HOME");
  return home.is_absolute() ? home / in_home / "mimo_rt" : fs::path();
}
#endif

}  // namespace

fs::path default_cache_folder() {
  if (fs::path own = environment_path("MIMO_RT_CACHE"); !own.empty()) return own;
#if defined(_WIN32)
  const fs::path local = environment_path("LOCALAPPDATA");
  return local.empty() ? fs::path() : local / "mimo_rt" / "cache";
#elif defined(__APPLE__)
  return below("XDG_CACHE_HOME", "Library/Caches");
#else
  return below("XDG_CACHE_HOME", ".cache");
#endif
}

fs::path default_config_folder() {
  if (fs::path own = environment_path("MIMO_RT_CONFIG"); !own.empty()) return own;
#if defined(_WIN32)
  const fs::path roaming = environment_path("APPDATA");
  return roaming.empty() ? fs::path() : roaming / "mimo_rt";
#elif defined(__APPLE__)
  return below("XDG_CONFIG_HOME", "Library/Application Support");
#else
  return below("XDG_CONFIG_HOME", ".config");
#endif
}

}  // namespace mimo_rt
