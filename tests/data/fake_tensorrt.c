/* Stands in for our TensorRT library in tests: compiled against the same header, so that what Python hands
 * over is read as C reads it. A plan is "fake plan of <size of the ONNX>", results are 1 - image.
 * Environment: FAKE_TENSORRT_FAILS names the function that fails; plans that are built while
 * FAKE_TENSORRT_OLD is set are refused when it is not; tiles of more pixels than FAKE_TENSORRT_ROOM do not
 * fit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mimo_rt/tensorrt.h"

struct mimo_rt_trt_engine {
  int loaded;
};

static int engines = 0;

static int fails(const char* name, int status, mimo_rt_trt_error* error) {
  const char* wanted = getenv("FAKE_TENSORRT_FAILS");
  if (wanted == NULL || strcmp(wanted, name) != 0) return 0;
  snprintf(error->text, sizeof error->text, "%s fails as it was told to", name);
  return status;
}

int mimo_rt_trt_interface(void) {
  const char* other = getenv("FAKE_TENSORRT_INTERFACE");
  return other != NULL ? atoi(other) : MIMO_RT_TRT_INTERFACE;
}
int mimo_rt_trt_major(void) { return 10; }

int mimo_rt_trt_open(const char* nvinfer, const char* parser, mimo_rt_trt_versions* versions,
                     mimo_rt_trt_error* error) {
  if (strstr(nvinfer, "libnvinfer.so.10") == NULL || strstr(parser, "libnvonnxparser.so.10") == NULL)
    return 3;
  const char* other = getenv("FAKE_TENSORRT_VERSION");
  const char* build = getenv("FAKE_TENSORRT_BUILD");
  versions->tensorrt = other != NULL ? atoi(other) : 101602;
  versions->build = build != NULL ? atoi(build) : 0;
  versions->cuda = 13000;
  return fails("open", MIMO_RT_TRT_BACKEND, error);
}

int mimo_rt_trt_device(char* text, size_t size, mimo_rt_trt_error* error) {
  snprintf(text, size, "Fake GPU, 9.0, 1000");
  return fails("device", MIMO_RT_TRT_BACKEND, error);
}

int mimo_rt_trt_build(const mimo_rt_trt_build_options* options, mimo_rt_trt_error* error) {
  char text[256];
  int status = fails("build", MIMO_RT_TRT_MODEL, error);
  if (status != 0) return status;
  for (int32_t step = 0; step < 3; ++step)
    if (options->progress != NULL && options->progress(options->user, "Building engine", step, 3) != 1) {
      snprintf(error->text, sizeof error->text, "the build was ended before it was done");
      return MIMO_RT_TRT_CANCELLED;
    }
  options->timing_cache_sink(options->user, "timings!", 8);
  const int length = snprintf(
      text, sizeof text,
      "fake plan of %zu: %lldx%lld %lldx%lld %lldx%lld, batch %d, level %d, tf32 %d, %zu bytes of timings%s",
      options->onnx_size, (long long)options->smallest[0], (long long)options->smallest[1],
      (long long)options->best[0], (long long)options->best[1], (long long)options->largest[0],
      (long long)options->largest[1], options->batch, options->optimization_level, options->tf32,
      options->timing_cache_size, getenv("FAKE_TENSORRT_OLD") != NULL ? ", old" : "");
  options->plan_sink(options->user, text, (size_t)length);
  return 0;
}

int mimo_rt_trt_load(const void* plan, size_t size, mimo_rt_trt_engine** engine, mimo_rt_trt_plan_info* info,
                     mimo_rt_trt_error* error) {
  int status = fails("load", MIMO_RT_TRT_PLAN, error);
  if (status != 0) return status;
  if (size < 9 || memcmp(plan, "fake plan", 9) != 0) return MIMO_RT_TRT_PLAN;
  const char* end = (const char*)plan + size;
  if (memcmp(end - 5, ", old", 5) == 0 && getenv("FAKE_TENSORRT_OLD") == NULL) {
    snprintf(error->text, sizeof error->text, "the plan is of an older library");
    return MIMO_RT_TRT_PLAN;
  }
  memset(info, 0, sizeof *info);
  const char* batch = strstr(plan, "batch ");
  info->batch = batch != NULL ? atoi(batch + 6) : 1;
  info->channels_in = info->channels_out = 3;
  info->weights = (int64_t)size;
  info->workspace = 1 << 20;
  info->workspace_of_smallest = 1 << 16;
  info->pixel_memory = 48 * info->batch;
  *engine = malloc(sizeof **engine);
  (*engine)->loaded = 1;
  ++engines;
  return 0;
}

static size_t most_at_once = 0;

void mimo_rt_trt_free(mimo_rt_trt_engine* engine) {
  --engines;
  free(engine);
}

int mimo_rt_trt_run(mimo_rt_trt_engine* engine, size_t count, const float* const* images,
                    float* const* results, int64_t height, int64_t width, mimo_rt_trt_times* times,
                    mimo_rt_trt_error* error) {
  if (!engine->loaded) return MIMO_RT_TRT_BACKEND;
  if (count > most_at_once) most_at_once = count;
  for (size_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < 3 * height * width; ++j) results[i][j] = 1.0F - images[i][j];
  times->to_device = 1.0F;
  times->compute = 2.0F;
  times->to_host = 3.0F;
  times->enqueue = 4.0F;
  return fails("run", MIMO_RT_TRT_MEMORY, error);
}

int mimo_rt_trt_profile(mimo_rt_trt_engine* engine, int64_t height, int64_t width, int32_t runs, void* user,
                        mimo_rt_trt_layer_sink sink, mimo_rt_trt_error* error) {
  if (!engine->loaded || height < 1 || width < 1) return MIMO_RT_TRT_BACKEND;
  for (int32_t i = 0; i < runs; ++i) {
    sink(user, "first + relu", 1.0F + (float)i);
    sink(user, "second", 3.0F);
  }
  return fails("profile", MIMO_RT_TRT_BACKEND, error);
}

int mimo_rt_trt_layers(mimo_rt_trt_engine* engine, void* user, mimo_rt_trt_sink sink,
                       mimo_rt_trt_error* error) {
  (void)engine;
  sink(user, "{\"Layers\": [{\"Name\": \"first + relu\"}]}", 38);
  return fails("layers", MIMO_RT_TRT_BACKEND, error);
}

/* Pixels without a GPU: the addresses of an "image on the device" are the host's. Colours become 1 - colour,
 * alpha stays; only what a tile keeps is written. */
static void* last_stream = NULL;
static int32_t last_on_device = -1;

int mimo_rt_trt_run_image(mimo_rt_trt_engine* engine, const mimo_rt_trt_image_run* run,
                          mimo_rt_trt_times* times, mimo_rt_trt_error* error) {
  const mimo_rt_trt_view *a = &run->source, *b = &run->destination;
  if (getenv("FAKE_TENSORRT_NON_FINITE") != NULL) {
    snprintf(error->text, sizeof error->text, "the plan computed numbers that are not finite");
    return MIMO_RT_TRT_NON_FINITE;
  }
  if (!engine->loaded || a->type != b->type || a->height != b->height || a->width != b->width) return 3;
  const char* room = getenv("FAKE_TENSORRT_ROOM");
  if (room != NULL && run->tile_height * run->tile_width > atoll(room)) {
    snprintf(error->text, sizeof error->text, "the GPU could not allocate memory; use smaller tiles");
    return MIMO_RT_TRT_MEMORY;
  }
  last_stream = run->stream;
  last_on_device = run->on_device;
  for (size_t i = 0; i < run->tile_count; ++i) {
    const mimo_rt_trt_tile* t = &run->tiles[i];
    if (t->end_row > t->top + run->tile_height || t->end_column > t->left + run->tile_width) return 3;
    for (int64_t y = t->first_row; y < t->end_row && y < a->height; ++y)
      for (int64_t x = t->first_column; x < t->end_column && x < a->width; ++x)
        for (int64_t c = 0; c < a->channels; ++c) {
          const char* from =
              (const char*)a->data + y * a->row_stride + x * a->column_stride + c * a->channel_stride;
          char* to = (char*)b->data + y * b->row_stride + x * b->column_stride + c * b->channel_stride;
          if (a->type == 0)
            *(uint8_t*)to = c == 3 ? *(const uint8_t*)from : (uint8_t)(255 - *(const uint8_t*)from);
          if (a->type == 1)
            *(uint16_t*)to = c == 3 ? *(const uint16_t*)from : (uint16_t)(65535 - *(const uint16_t*)from);
          if (a->type == 2) *(float*)to = c == 3 ? *(const float*)from : 1.0F - *(const float*)from;
        }
    if (run->progress != NULL && !run->on_device &&
        run->progress(run->user, "tile", (int32_t)i, (int32_t)run->tile_count) != 1) {
      snprintf(error->text, sizeof error->text, "the run was ended before it was done");
      return MIMO_RT_TRT_CANCELLED;
    }
  }
  times->to_device = 1.0F;
  times->compute = 2.0F;
  times->to_host = 3.0F;
  times->enqueue = 4.0F;
  return fails("run", MIMO_RT_TRT_MEMORY, error);
}

/* Of tests. */
MIMO_RT_TRT_API void* fake_stream(void) { return last_stream; }
MIMO_RT_TRT_API int fake_on_device(void) { return last_on_device; }
MIMO_RT_TRT_API int fake_engines(void) { return engines; }
MIMO_RT_TRT_API size_t fake_most_at_once(void) {
  const size_t most = most_at_once;
  most_at_once = 0;
  return most;
}
