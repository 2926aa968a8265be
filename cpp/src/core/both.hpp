// Marks functions that compile for the processor and for GPUs.
#pragma once

#if defined(__CUDACC__)
#define MIMO_RT_BOTH __host__ __device__
#else
#define MIMO_RT_BOTH
#endif
