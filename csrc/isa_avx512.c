/* The kernels for AVX-512 F, DQ, BW, VL (Intel Skylake-X 2017, AMD Zen 4 2022 and later). */
#if defined(__x86_64__)
#define ISA avx512
#define VBYTES 64
#define HAS_FMA 1
#define TARGET "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"
#define GEMM_MR 14
#define GEMM_NV 2
#include "kernels.tmpl.h"
#else
typedef int tga_no_avx512_here; /* a file must declare something */
#endif
