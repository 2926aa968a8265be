// Where this user's caches and settings lie, by the habits of each system.
#pragma once

#include <filesystem>

namespace mimo_rt {

// $MIMO_RT_CACHE, else the system's place: $XDG_CACHE_HOME/mimo_rt or ~/.cache/mimo_rt; macOS
// ~/Library/Caches/mimo_rt; Windows %LOCALAPPDATA%\mimo_rt\cache. Empty where there is no home.
std::filesystem::path default_cache_folder();

// $MIMO_RT_CONFIG, else $XDG_CONFIG_HOME/mimo_rt or ~/.config/mimo_rt; macOS ~/Library/Application
// Support/mimo_rt; Windows %APPDATA%\mimo_rt. Empty where there is no home.
std::filesystem::path default_config_folder();

}  // namespace mimo_rt
