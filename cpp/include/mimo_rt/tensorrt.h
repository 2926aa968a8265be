/* The C interface of the TensorRT backend, a shared library of its own that is loaded on demand: one for each
 * major version of TensorRT, with the same interface. It needs neither TensorRT nor a CUDA driver to be
 * loaded.
 *
 * Every function that can fail returns one of mimo_rt_trt_status and, where that is not ok, writes a sentence
 * into `error`. No exception leaves the library, nothing is printed, nothing is global but the opened NVIDIA
 * libraries and the one logger that TensorRT takes in a process. */
#ifndef MIMO_RT_TENSORRT_H
#define MIMO_RT_TENSORRT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define MIMO_RT_TRT_API __declspec(dllexport)
#else
#define MIMO_RT_TRT_API __attribute__((visibility("default")))
#endif

/* Raised with every change of what stands below. */
#define MIMO_RT_TRT_INTERFACE 5

typedef enum {
  MIMO_RT_TRT_OK = 0,
  MIMO_RT_TRT_MODEL = 1,      /* the ONNX is refused */
  MIMO_RT_TRT_PLAN = 2,       /* the plan does not load here */
  MIMO_RT_TRT_BACKEND = 3,    /* a library, driver or GPU is missing or refuses */
  MIMO_RT_TRT_MEMORY = 4,     /* the GPU has too little memory */
  MIMO_RT_TRT_CANCELLED = 5,  /* the progress callback did not return 1 */
  MIMO_RT_TRT_NON_FINITE = 6, /* half precision is too narrow for the model */
} mimo_rt_trt_status;

typedef struct {
  char text[1024]; /* UTF-8, ends with 0 */
} mimo_rt_trt_error;

/* Takes bytes that are valid during the call only. */
typedef void (*mimo_rt_trt_sink)(void* user, const void* bytes, size_t size);
typedef void (*mimo_rt_trt_layer_sink)(void* user, const char* layer, float milliseconds);
/* phase: such as "Building engine"; step of steps. Returns 1 to go on; whatever else ends the work. */
typedef int (*mimo_rt_trt_progress)(void* user, const char* phase, int32_t step, int32_t steps);

typedef struct {
  /* A typed file: TensorRT computes in the types that stand in it. Its image in and its image out may be
   * float32 or, of 3 channels, half precision; callers see float32 or pixels in any case. */
  const void* onnx;
  size_t onnx_size;
  int64_t smallest[2], best[2], largest[2]; /* height, width; all equal for a plan of one size */
  int32_t batch;                            /* images or tiles that are computed at once, 1 or more */
  int32_t optimization_level;               /* 0 to 5; -1 for TensorRT's own */
  int32_t tf32;                             /* fp32 convolutions may round to TF32 */
  uint64_t workspace;                       /* bytes that tactics may take; 0 for all of the GPU's */
  const void* timing_cache;                 /* of an earlier build on the same GPU, or null */
  size_t timing_cache_size;
  void* user; /* handed to the callbacks; each of them may be null */
  mimo_rt_trt_progress progress;
  mimo_rt_trt_sink timing_cache_sink; /* called once, before plan_sink */
  mimo_rt_trt_sink plan_sink;
} mimo_rt_trt_build_options;

typedef struct {
  int64_t smallest[2], best[2], largest[2];
  int32_t batch;
  int32_t channels_in, channels_out;
  int32_t layers;
  /* Bytes on the GPU: at most that of weights; the workspace of the largest size and of the smallest; what
   * the images in and out of both slots take for each pixel of a size. Whole pictures of the host are apart.
   */
  int64_t weights, workspace, workspace_of_smallest, pixel_memory;
} mimo_rt_trt_plan_info;

/* Milliseconds of the last run, summed over its images, by CUDA events on each stream. */
typedef struct {
  float to_device, compute, to_host;
  float enqueue; /* of the host */
} mimo_rt_trt_times;

/* tensorrt: as 101600. build: within that version, 0 where the library does not tell. cuda: of the CUDA
 * runtime that this library was compiled with, as 13000. */
typedef struct {
  int32_t tensorrt, build, cuda;
} mimo_rt_trt_versions;

typedef struct mimo_rt_trt_engine mimo_rt_trt_engine;

MIMO_RT_TRT_API int mimo_rt_trt_interface(void);
/* The major version of TensorRT that the library was compiled for. */
MIMO_RT_TRT_API int mimo_rt_trt_major(void);

/* Opens NVIDIA's libraries by path (or by name, for the system's own) and checks that they are of this major
 * version. Opening the same again is free. */
MIMO_RT_TRT_API int mimo_rt_trt_open(const char* nvinfer, const char* parser, mimo_rt_trt_versions* versions,
                                     mimo_rt_trt_error* error);

/* Name, compute capability and bytes of the GPU in use, as "NVIDIA H100, 9.0, 85899345920". */
MIMO_RT_TRT_API int mimo_rt_trt_device(char* text, size_t size, mimo_rt_trt_error* error);

MIMO_RT_TRT_API int mimo_rt_trt_build(const mimo_rt_trt_build_options* options, mimo_rt_trt_error* error);

/* The plan must have been verified to be one's own: TensorRT executes what is in it. The engine lives in
 * the CUDA context that is current, also where another one is current when it is used. */
MIMO_RT_TRT_API int mimo_rt_trt_load(const void* plan, size_t size, mimo_rt_trt_engine** engine,
                                     mimo_rt_trt_plan_info* info, mimo_rt_trt_error* error);
MIMO_RT_TRT_API void mimo_rt_trt_free(mimo_rt_trt_engine* engine);

/* `count` images of one size, each float32 [C][height][width], through two slots of a batch each: while one
 * is computed, the next is copied in and the one before out. One thread at a time. */
MIMO_RT_TRT_API int mimo_rt_trt_run(mimo_rt_trt_engine* engine, size_t count, const float* const* images,
                                    float* const* results, int64_t height, int64_t width,
                                    mimo_rt_trt_times* times, mimo_rt_trt_error* error);

/* Pixels: base address, 0 = uint8, 1 = uint16, 2 = float32 in [0, 1], strides in bytes of any sign. */
typedef struct {
  void* data;
  int32_t type;
  int64_t height, width, channels; /* 1, 3 or 4: grey, colour, colour and alpha */
  int64_t row_stride, column_stride, channel_stride;
} mimo_rt_trt_view;

/* First row and column of a tile, and the rows and columns of the image that are kept of its result. */
typedef struct {
  int64_t top, left;
  int64_t first_row, end_row, first_column, end_column;
} mimo_rt_trt_tile;

typedef struct {
  mimo_rt_trt_view source, destination; /* of equal shape and type, not overlapping */
  int32_t bgr;
  float strength;
  int64_t tile_height, tile_width; /* as the network is given; what a tile has beyond the image is padded */
  const mimo_rt_trt_tile* tiles;
  size_t tile_count;
  /* 0: the views are contiguous host memory ([height][width][channels]), copied to the GPU and back. 1: they
   * are memory of the GPU; the work waits for what `stream` was given. In both cases it is done at the end.
   */
  int32_t on_device;
  void* stream; /* a cudaStream_t of the caller's, or null for the default stream */
  void* user;   /* handed to progress, which may be null and is not called for images on the GPU */
  mimo_rt_trt_progress progress;
} mimo_rt_trt_image_run;

/* One image, pixels in and out: padding, tiles, grey, alpha, order, strength and rounding happen on the GPU,
 * as on the processor. NaN or infinity in the network's result is an error: an image of the host then holds
 * what it held, one on the GPU holds what is not to be used. `times` are told of images of the host. */
MIMO_RT_TRT_API int mimo_rt_trt_run_image(mimo_rt_trt_engine* engine, const mimo_rt_trt_image_run* run,
                                          mimo_rt_trt_times* times, mimo_rt_trt_error* error);

/* Runs the plan `runs` times on a black image of that size and tells every layer's time in every run, in
 * order. TensorRT waits between layers then, so that their sum is more than a run takes. */
MIMO_RT_TRT_API int mimo_rt_trt_profile(mimo_rt_trt_engine* engine, int64_t height, int64_t width,
                                        int32_t runs, void* user, mimo_rt_trt_layer_sink sink,
                                        mimo_rt_trt_error* error);

/* TensorRT's own description of the plan's layers, as JSON. */
MIMO_RT_TRT_API int mimo_rt_trt_layers(mimo_rt_trt_engine* engine, void* user, mimo_rt_trt_sink sink,
                                       mimo_rt_trt_error* error);

#ifdef __cplusplus
}
#endif
#endif
