/* cpu.c: which instruction sets can this processor, under this system, run?
 *
 * Asked of the processor itself (cpuid), since __builtin_cpu_supports does not
 * link with every toolchain; and of the operating system (xgetbv), which must
 * save the wide registers when it switches between processes.
 */
#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Intel SDM vol. 1, 13.3: bits of XCR0 */
#define XCR0_AVX 0x06     /* xmm and ymm */
#define XCR0_AVX512 0xe6  /* and the masks, and zmm */

static uint64_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

int tga_cpu_has(int isa)
{
    unsigned a, b, c, d;
    if (isa == TGA_ISA_BASE)
        return 1;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_FMA))
        return 0;
    const uint64_t xcr0 = read_xcr0();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    if (isa == TGA_ISA_AVX2)
        return (xcr0 & XCR0_AVX) == XCR0_AVX && (b & bit_AVX2);
    const unsigned wanted = bit_AVX2 | bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    return isa == TGA_ISA_AVX512 && (xcr0 & XCR0_AVX512) == XCR0_AVX512 && (b & wanted) == wanted;
}

#else

int tga_cpu_has(int isa) { return isa == TGA_ISA_BASE; }

#endif
