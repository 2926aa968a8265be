# Toolchain for 64-bit Arm by Debian's cross compiler (g++-aarch64-linux-gnu); programs run under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)

# Highway and protozero are headers alone and the same everywhere, but beside them in /usr/include lie the host's
# own: the cross compiler sees a folder with links to those two.
set(shared_headers "${CMAKE_BINARY_DIR}/shared-headers")
file(MAKE_DIRECTORY "${shared_headers}")
foreach(library IN ITEMS hwy protozero)
  if(EXISTS "/usr/include/${library}")
    file(CREATE_LINK "/usr/include/${library}" "${shared_headers}/${library}" SYMBOLIC)
  endif()
endforeach()
set(CMAKE_FIND_ROOT_PATH "${shared_headers}" /usr/aarch64-linux-gnu)
set(CMAKE_INCLUDE_PATH "${shared_headers}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
