# NVIDIA's headers of TensorRT, from TensorRT_ROOT (a release, or the open repository at a tag):
# TensorRT_INCLUDE_DIRS, TensorRT_VERSION_MAJOR and TensorRT_VERSION. No library: those are opened when needed.
find_path(TensorRT_INCLUDE_DIR NvInfer.h PATH_SUFFIXES include)
find_path(TensorRT_PARSER_INCLUDE_DIR NvOnnxParser.h HINTS "${TensorRT_INCLUDE_DIR}" PATH_SUFFIXES include)
mark_as_advanced(TensorRT_INCLUDE_DIR TensorRT_PARSER_INCLUDE_DIR)

if(TensorRT_INCLUDE_DIR)
  file(STRINGS "${TensorRT_INCLUDE_DIR}/NvInferVersion.h" lines REGEX "#define (NV_TENSORRT|TRT)_M(AJOR|INOR)")
  foreach(part IN ITEMS MAJOR MINOR)  # 10.16 and later define one name by the other
    if(lines MATCHES "(NV_TENSORRT_${part}|TRT_${part}_ENTERPRISE) ([0-9]+)")
      set(TensorRT_VERSION_${part} "${CMAKE_MATCH_2}")
    endif()
  endforeach()
  set(TensorRT_VERSION "${TensorRT_VERSION_MAJOR}.${TensorRT_VERSION_MINOR}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  TensorRT REQUIRED_VARS TensorRT_INCLUDE_DIR TensorRT_PARSER_INCLUDE_DIR VERSION_VAR TensorRT_VERSION
  HANDLE_VERSION_RANGE)

set(TensorRT_INCLUDE_DIRS "${TensorRT_INCLUDE_DIR}" "${TensorRT_PARSER_INCLUDE_DIR}")
