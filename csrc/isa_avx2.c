/* The kernels for AVX2 with FMA (Intel Haswell 2013, AMD Excavator 2015 and later). */
#if defined(__x86_64__)
#define ISA avx2
#define VBYTES 32
#define HAS_FMA 1
#define TARGET "avx2,fma"
#define GEMM_MR 6
#define GEMM_NV 2
#include "kernels.tmpl.h"
#else
typedef int tga_no_avx2_here; /* a file must declare something */
#endif
