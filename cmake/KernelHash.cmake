# MIMO_RT_KERNEL_HASH: one hash over everything that decides the numbers of the CPU backend. A cached plan made by other
# kernels or other rules is rebuilt.
include_guard()
file(GLOB_RECURSE kernel_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/cpp/src/cpu/*.?pp"
     "${CMAKE_CURRENT_SOURCE_DIR}/cpp/src/graph/*.?pp")
list(SORT kernel_sources)
set(hashes "")
foreach(source IN LISTS kernel_sources)
  file(SHA256 "${source}" hash)
  string(APPEND hashes "${hash}")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")
endforeach()
string(SHA256 MIMO_RT_KERNEL_HASH "${hashes}")
