#include "core/file.hpp"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#ifdef _WIN32
#include <io.h>
#else
#include <unistd.h>
#endif

namespace mimo_rt {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTemporarySuffix = ".mimo_rt-tmp";

struct Closer {
  void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Closer>;

File open_file(const fs::path& path, bool write_new) {
  errno = 0;
#ifdef _WIN32
  return File(_wfopen(path.c_str(), write_new ? L"wbx" : L"rb"));
#else
  // x: never an existing file; e: not handed on to child processes, where the C library knows it.
  return File(std::fopen(path.c_str(), write_new ? "wbxe" : "rbe"));
#endif
}

std::string reason(int error) {
  return error != 0 ? std::generic_category().message(error) : "unknown reason";
}

// Paths in messages are UTF-8 on every system.
std::string quoted(const fs::path& path) {
  const std::u8string text = path.u8string();
  std::string out = "'";
  out.append(text.begin(), text.end());
  out += '\'';
  return out;
}

[[noreturn]] void fail(ErrorKind kind, const std::string& what, const std::string& message) {
  switch (kind) {
    case ErrorKind::model:
      throw ModelError("model." + what, message);
    case ErrorKind::plan:
      throw PlanError("plan." + what, message);
    case ErrorKind::image:
      throw ImageError("image." + what, message);
    case ErrorKind::backend:
      throw BackendError("backend." + what, message);
    case ErrorKind::memory_limit:
      throw MemoryLimitError("memory_limit." + what, message);
  }
  throw Error(kind, what, message);
}

[[noreturn]] void fail_write(const fs::path& path, const std::string& why) {
  throw PlanError("plan.write_failed", "cannot write " + quoted(path) + ": " + why +
                                           "; choose a path in a folder that exists and can be written to");
}

// Removes the temporary file unless it was renamed.
class TemporaryFile {
 public:
  explicit TemporaryFile(fs::path path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) {
      std::error_code ignored;
      fs::remove(path_, ignored);
    }
  }
  const fs::path& path() const { return path_; }
  void keep() { path_.clear(); }

 private:
  fs::path path_;
};

// A new name beside `target`; short even where the target's own name is as long as a name may be.
fs::path temporary_beside(const fs::path& target) {
  std::random_device device;
  std::string name = ".";
  for (int word = 0; word < 4; ++word) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(device() & 0xffffffffU));
    name += digits;
  }
  return target.parent_path() / (name + std::string(kTemporarySuffix));
}

bool bring_to_disk(std::FILE* file) {
#ifdef _WIN32
  return _commit(_fileno(file)) == 0;
#else
  // Some file systems know no fsync and say EINVAL; their bytes are as safe as they get.
  return fsync(fileno(file)) == 0 || errno == EINVAL || errno == ENOTSUP;
#endif
}

}  // namespace

std::vector<std::byte> read_file(const fs::path& path, ErrorKind kind, std::uint64_t limit) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    fail(kind, "not_found", "no such file: " + quoted(path) + "; check the path");
  }
  if (status.type() == fs::file_type::none || status.type() == fs::file_type::unknown) {
    fail(kind, "read_failed", "cannot look at " + quoted(path) + ": " + error.message());
  }
  // A pipe could block for ever, a device could never end.
  if (status.type() != fs::file_type::regular) {
    fail(kind, "not_a_file", quoted(path) + " is not a regular file; give the path of a file");
  }
  const File file = open_file(path, false);
  if (!file) fail(kind, "read_failed", "cannot open " + quoted(path) + ": " + reason(errno));
  // Of the open file, not of the path: another one may be put in its place at any time.
  const long end = std::fseek(file.get(), 0, SEEK_END) == 0 ? std::ftell(file.get()) : -1;
  if (end < 0) fail(kind, "read_failed", "cannot look at " + quoted(path) + ": " + reason(errno));
  std::rewind(file.get());
  const auto size = static_cast<std::uintmax_t>(end);
  if (size > limit) {
    fail(kind, "too_large",
         quoted(path) + " has " + std::to_string(size) + " bytes, more than the " + std::to_string(limit) +
             " that are read; it is not a file of ours");
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  if (!bytes.empty() && std::fread(bytes.data(), 1, bytes.size(), file.get()) != bytes.size()) {
    fail(kind, "read_failed",
         "cannot read " + quoted(path) + ": " +
             (std::ferror(file.get()) ? reason(errno) : "it became shorter while it was read; try again"));
  }
  return bytes;
}

void write_file_atomically(const fs::path& path, std::span<const std::byte> bytes, bool durable) {
  std::error_code error;
  fs::path target = path;
  if (fs::is_symlink(path, error)) {
    fs::path pointed_to = fs::canonical(path, error);
    if (!error) target = std::move(pointed_to);
  }
  const fs::file_status status = fs::status(target, error);
  if (!target.has_filename()) fail_write(path, "the path names no file");
  if (fs::exists(status) && status.type() != fs::file_type::regular)
    fail_write(path, "it is not a regular file");

  TemporaryFile temporary(temporary_beside(target));
  File file = open_file(temporary.path(), true);
  if (!file) {
    const int why = errno;
    temporary.keep();  // not ours
    fail_write(path, reason(why));
  }
  errno = 0;
  const bool written =
      (bytes.empty() || std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size()) &&
      std::fflush(file.get()) == 0 && (!durable || bring_to_disk(file.get()));
  int why = errno;
  errno = 0;
  if (std::fclose(file.release()) != 0 && written) {
    why = errno;
    fail_write(path, reason(why));
  }
  if (!written) fail_write(path, reason(why));
  fs::rename(temporary.path(), target, error);
  if (error) fail_write(path, error.message());
  temporary.keep();
}

bool is_temporary_name(const fs::path& path) {
  const fs::path name = path.filename();
  return name.native().size() > kTemporarySuffix.size() && name.native().front() == '.' &&
         name.extension() == fs::path(kTemporarySuffix);
}

}  // namespace mimo_rt
