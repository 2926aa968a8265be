// Marks functions that compile for the processor and for GPUs.
#pragma once

// Loops over a thread's few values: unrolled on a GPU, so that these stay in registers.
#if defined(__CUDA_ARCH__)
#define MIMO_RT_UNROLL _Pragma("unroll")
#else
#define MIMO_RT_UNROLL
#endif

#if defined(__CUDACC__)
#define MIMO_RT_BOTH __host__ __device__
#else
#define MIMO_RT_BOTH
#endif
