/* The kernels for any processor of the family: SSE2 on x86-64, NEON on aarch64. */
#define ISA base
#define VBYTES 16
#if defined(__aarch64__)
#define HAS_FMA 1
#else
#define HAS_FMA 0
#endif
#define GEMM_MR 6
#define GEMM_NV 2
#include "kernels.tmpl.h"
