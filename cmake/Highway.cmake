# Google Highway, headers alone: every kernel table is filled and chosen by our own code, so nothing of the library is
# linked and the wheel stays self-contained. The system's copy (Debian: libhwy-dev, 1.0.3 or newer), else a pinned fetch.
include_guard()
find_path(HIGHWAY_INCLUDE_DIR hwy/highway.h)
if(NOT HIGHWAY_INCLUDE_DIR)
  include(FetchContent)
  FetchContent_Declare(highway URL https://github.com/google/highway/archive/refs/tags/1.2.0.tar.gz
                       SOURCE_SUBDIR none)
  FetchContent_MakeAvailable(highway)
  set(HIGHWAY_INCLUDE_DIR "${highway_SOURCE_DIR}")
endif()
add_library(mimo_rt_highway INTERFACE)
target_include_directories(mimo_rt_highway SYSTEM INTERFACE "${HIGHWAY_INCLUDE_DIR}")
