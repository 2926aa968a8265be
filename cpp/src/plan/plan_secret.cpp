#include "plan/plan_secret.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <system_error>

#include "core/file.hpp"
#include "mimo_rt/error.hpp"
#include "plan/sha256.hpp"

#ifndef _WIN32
#include <fcntl.h>
#include <unistd.h>
#endif

namespace mimo_rt {
namespace {

namespace fs = std::filesystem;

constexpr const char* kName = "plan.key";

PlanError unusable(const fs::path& path, const std::string& why, const std::string& remedy) {
  const std::u8string text = path.u8string();
  return {"plan.secret", "the key that seals GPU plans, '" + std::string(text.begin(), text.end()) + "', " +
                             why + "; " + remedy};
}

// A new file that nobody else can open.
std::FILE* create_private(const fs::path& path) {
#ifdef _WIN32
  return _wfopen(path.c_str(), L"wbx");  // folders of settings are the user's own there
#else
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  return file < 0 ? nullptr : ::fdopen(file, "wb");
#endif
}

Secret random_secret() {
  std::random_device device;
  Secret secret;
  for (std::byte& b : secret) b = static_cast<std::byte>(device() & 0xffU);
  return secret;
}

// Puts a new secret at `path` unless another process was faster; whole or not at all.
void make(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  const Secret secret = random_secret();
  const Secret name = random_secret();
  std::string temporary_name = hex(sha256(name));
  temporary_name[0] = '.';
  const fs::path temporary = path.parent_path() / (temporary_name + ".mimo_rt-tmp");
  std::FILE* file = create_private(temporary);
  if (file == nullptr) {
    throw unusable(path, "cannot be made: " + std::generic_category().message(errno),
                   "make its folder writable or set MIMO_RT_CONFIG to another");
  }
  bool written = std::fwrite(secret.data(), 1, secret.size(), file) == secret.size();
  written = std::fclose(file) == 0 && written;
  if (written) {
    fs::create_hard_link(temporary, path, error);  // fails where the file is there already
    if (error && !fs::exists(path)) fs::rename(temporary, path, error);  // file systems without links
  }
  fs::remove(temporary, error);
  if (!written) throw unusable(path, "cannot be written", "free some space on its disk");
}

}  // namespace

Secret plan_secret(const fs::path& config_folder) {
  if (config_folder.empty()) {
    throw PlanError("plan.secret", "there is no folder for the key that seals GPU plans; set MIMO_RT_CONFIG");
  }
  const fs::path path = config_folder / kName;
  std::error_code error;
  if (!fs::exists(path, error)) make(path);
#ifndef _WIN32
  const fs::perms others = fs::perms::group_all | fs::perms::others_all;
  if ((fs::status(path, error).permissions() & others) != fs::perms::none) {
    throw unusable(path, "may be read or written by others", "delete it: a new one is made");
  }
#endif
  const std::vector<std::byte> bytes = read_file(path, ErrorKind::plan, 4096);
  Secret secret;
  if (bytes.size() != secret.size()) throw unusable(path, "is damaged", "delete it: a new one is made");
  std::copy(bytes.begin(), bytes.end(), secret.begin());
  return secret;
}

}  // namespace mimo_rt
