// Opens a model's external data file: inside the model's folder, a regular file, with one name, behind no
// link.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace mimo_rt::onnx {

class ExternalFile {
 public:
  // Throws ModelError("model.external_data") for a location that is absolute, leaves the folder, or meets a
  // symbolic or hard link on its way.
  ExternalFile(const std::filesystem::path& folder, std::string_view location);
  ~ExternalFile();
  ExternalFile(const ExternalFile&) = delete;
  ExternalFile& operator=(const ExternalFile&) = delete;

  std::uint64_t size() const { return size_; }

  // Fills `out` from byte `offset` on; throws if the file ends earlier.
  void read(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace mimo_rt::onnx
