# protozero, headers alone: the bounded, zero-copy protobuf reader behind the ONNX reader. The system's copy (Debian:
# libprotozero-dev), else a pinned fetch.
include_guard()
find_path(PROTOZERO_INCLUDE_DIR protozero/pbf_reader.hpp)
if(NOT PROTOZERO_INCLUDE_DIR)
  include(FetchContent)
  FetchContent_Declare(protozero URL https://github.com/mapbox/protozero/archive/refs/tags/v1.7.1.tar.gz
                       SOURCE_SUBDIR none)
  FetchContent_MakeAvailable(protozero)
  set(PROTOZERO_INCLUDE_DIR "${protozero_SOURCE_DIR}/include")
endif()
add_library(mimo_rt_protozero INTERFACE)
target_include_directories(mimo_rt_protozero SYSTEM INTERFACE "${PROTOZERO_INCLUDE_DIR}")
