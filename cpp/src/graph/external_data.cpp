#include "graph/external_data.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "graph/onnx_proto.hpp"
#include "mimo_rt/error.hpp"

namespace mimo_rt::onnx {
namespace {

[[noreturn]] void refuse(std::string_view location, const std::string& why) {
  throw ModelError("model.external_data",
                   "external data " + quoted(location) + " " + why +
                       "; keep it as a plain file beside the model, or export the weights "
                       "into the ONNX file itself");
}

// A descriptor that closes itself.
struct Descriptor {
  int fd = -1;
  explicit Descriptor(int f) : fd(f) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  void reset(int f) {
    if (fd >= 0) ::close(fd);
    fd = f;
  }
  int release() {
    const int f = fd;
    fd = -1;
    return f;
  }
};

}  // namespace

// Walks down from the folder one name at a time, each opened relative to the last and never through a link:
// what was checked is what is read.
ExternalFile::ExternalFile(const std::filesystem::path& folder, std::string_view location) {
  if (folder.empty()) refuse(location, "is not allowed for a model that was given as bytes");
  if (location.empty() || location.size() > 4096 || location.find('\0') != std::string_view::npos)
    refuse(location, "is not a file name");
  if (location.front() == '/' || location.find('\\') != std::string_view::npos ||
      location.find(':') != std::string_view::npos)
    refuse(location, "is not relative to the model's folder");
  Descriptor at(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (at.fd < 0) refuse(location, "cannot be read: the model's folder cannot be opened");
  for (std::string_view rest = location; !rest.empty();) {
    const std::size_t slash = rest.find('/');
    const std::string name(rest.substr(0, slash));
    rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1);
    const bool last = slash == std::string_view::npos;
    if (name == "..") refuse(location, "leaves the model's folder");
    if (last && (name.empty() || name == ".")) refuse(location, "is not a file name");
    if (!last && rest.empty()) refuse(location, "is not a file name");
    if (name.empty() || name == ".") continue;
    const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (last ? O_NONBLOCK : O_DIRECTORY);
    const int next = ::openat(at.fd, name.c_str(), flags);
    if (next < 0) {
      const int error = errno;
      // O_DIRECTORY | O_NOFOLLOW on a link gives ENOTDIR on Linux.
      struct stat info {};
      const bool link =
          ::fstatat(at.fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);
      refuse(location, link || error == ELOOP ? "lies behind a symbolic link" : "cannot be opened");
    }
    at.reset(next);
  }
  struct stat info {};
  if (::fstat(at.fd, &info) != 0 || !S_ISREG(info.st_mode)) refuse(location, "is not a regular file");
  if (info.st_nlink > 1) refuse(location, "has more than one name (a hard link)");
  size_ = static_cast<std::uint64_t>(info.st_size);
  descriptor_ = at.release();
}

ExternalFile::~ExternalFile() { ::close(descriptor_); }

void ExternalFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > size_ || out.size() > size_ - offset)
    throw ModelError("model.truncated",
                     "the external data file is shorter than the model says; copy it again");
  while (!out.empty()) {
    const ssize_t n = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw ModelError("model.external_data", "the external data file cannot be read to its end");
    out = out.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
}

}  // namespace mimo_rt::onnx
