/* staircase.c: five ways to multiply matrices, each faster than the one before.
 *
 * docs/gemm.md tells why; `python -m benchmarks.staircase` compiles this file for the
 * processor it runs on, and times the steps, then the kernels in csrc/ that they lead to.
 *
 * Every step computes c = a @ b.  All three are (n, n), float32, row by row, and n is a
 * multiple of 16.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A vector of floats, as wide as a register, and how many registers the tile of step 5
 * may fill: of 32, or of 16. */
#if defined(__AVX512F__)
#define VL 16
#define ROWS 14
#elif defined(__AVX__)
#define VL 8
#define ROWS 6
#else
#define VL 4
#define ROWS 6
#endif
typedef float V __attribute__((vector_size(VL * sizeof(float))));

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

static inline V load(const float *p)
{
    V x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline void store(float *p, V x) { memcpy(p, &x, sizeof x); }

static inline int64_t min(int64_t x, int64_t y) { return x < y ? x : y; }

/* ---- step 1: the definition --------------------------------------------------- */

int step_naive(int64_t n, const float *a, const float *b, float *c)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            float sum = 0;
            for (int64_t p = 0; p < n; p++)
                sum += a[i * n + p] * b[p * n + j];
            c[i * n + j] = sum;
        }
    return 0;
}

/* ---- step 2: the loops in another order ---------------------------------------- */

/* The inner loop runs along rows of b and c, so the compiler makes vectors of it. */
int step_reordered(int64_t n, const float *a, const float *b, float *c)
{
    memset(c, 0, (size_t)(n * n) * sizeof *c);
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = 0; p < n; p++) {
            const float a_ip = a[i * n + p];
            for (int64_t j = 0; j < n; j++)
                c[i * n + j] += a_ip * b[p * n + j];
        }
    return 0;
}

/* ---- step 3: a tile of c in registers ------------------------------------------- */

/* Four rows, one vector wide: four sums run at once, and each vector of b serves four
 * times. */
int step_tile(int64_t n, const float *a, const float *b, float *c)
{
    for (int64_t j = 0; j < n; j += VL)
        for (int64_t i = 0; i < n; i += 4) {
            V sum[4] = {{0}};
            for (int64_t p = 0; p < n; p++) {
                const V b_p = load(b + p * n + j);
                UNROLL
                for (int r = 0; r < 4; r++)
                    sum[r] += a[(i + r) * n + p] * b_p;
            }
            UNROLL
            for (int r = 0; r < 4; r++)
                store(c + (i + r) * n + j, sum[r]);
        }
    return 0;
}

/* ---- step 4: blocks for the caches, packed ----------------------------------------- */

/* A block of a, MC x KC, stays in the L2 cache, and one of b, KC x NC, in L3.  MC is a
 * multiple of 4, 6 and 14. */
enum { MC = 168, KC = 256, NC = 1024 };

/* x, whose element (p, i) lies at x[p * step_p + i * step_i], in the order of its use:
 * panels of `width` columns, each (k, width) without gaps.  The last is filled up with 0. */
static void pack(int64_t k, int64_t columns, int width, const float *x, int64_t step_p,
                 int64_t step_i, float *packed)
{
    for (int64_t i = 0; i < columns; i += width)
        for (int64_t p = 0; p < k; p++)
            for (int64_t r = i; r < i + width; r++)
                *packed++ = r < columns ? x[p * step_p + r * step_i] : 0;
}

/* c (rows, columns) += a @ b, of a panel each: a (k, mr) and b (k, nv vectors). */
static inline __attribute__((always_inline)) void micro_kernel(const int mr, const int nv,
                                                               int64_t k, const float *a,
                                                               const float *b, float *c, int64_t n,
                                                               int64_t rows, int64_t columns)
{
    V sum[ROWS][2];
    UNROLL
    for (int r = 0; r < mr; r++)
        UNROLL
        for (int v = 0; v < nv; v++)
            sum[r][v] = (V){0};
    for (int64_t p = 0; p < k; p++, a += mr, b += nv * VL) {
        V b_p[2];
        UNROLL
        for (int v = 0; v < nv; v++)
            b_p[v] = load(b + v * VL);
        UNROLL
        for (int r = 0; r < mr; r++)
            UNROLL
            for (int v = 0; v < nv; v++)
                sum[r][v] += a[r] * b_p[v];
    }
    float tile[ROWS][2 * VL];
    UNROLL
    for (int r = 0; r < mr; r++)
        UNROLL
        for (int v = 0; v < nv; v++)
            store(&tile[r][v * VL], sum[r][v]);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < columns; j++)
            c[r * n + j] += tile[r][j];
}

static inline __attribute__((always_inline)) int blocked(const int mr, const int nv, int64_t n,
                                                         const float *a, const float *b, float *c)
{
    const int nr = nv * VL;
    float *a_pack = aligned_alloc(64, MC * KC * sizeof *a);
    float *b_pack = aligned_alloc(64, KC * NC * sizeof *b);
    if (!a_pack || !b_pack) {
        free(a_pack);
        free(b_pack);
        return 1;
    }
    memset(c, 0, (size_t)(n * n) * sizeof *c);
    /* LOOP 5: split the columns of b and c */
    for (int64_t j0 = 0; j0 < n; j0 += NC) {
        const int64_t nc = min(NC, n - j0);
        /* LOOP 4: split k */
        for (int64_t p0 = 0; p0 < n; p0 += KC) {
            const int64_t kc = min(KC, n - p0);
            pack(kc, nc, nr, b + p0 * n + j0, n, 1, b_pack);
            /* LOOP 3: split the rows of a and c */
            for (int64_t i0 = 0; i0 < n; i0 += MC) {
                const int64_t mc = min(MC, n - i0);
                pack(kc, mc, mr, a + i0 * n + p0, 1, n, a_pack);
                /* LOOP 2: panels of b.  LOOP 1: panels of a */
                for (int64_t j = 0; j < nc; j += nr)
                    for (int64_t i = 0; i < mc; i += mr)
                        micro_kernel(mr, nv, kc, a_pack + i * kc, b_pack + j * kc,
                                     c + (i0 + i) * n + j0 + j, n, min(mr, mc - i),
                                     min(nr, nc - j));
            }
        }
    }
    free(a_pack);
    free(b_pack);
    return 0;
}

int step_packed(int64_t n, const float *a, const float *b, float *c)
{
    return blocked(4, 1, n, a, b, c);
}

/* ---- step 5: a tile that fills the registers ------------------------------------------ */

int step_registers(int64_t n, const float *a, const float *b, float *c)
{
    return blocked(ROWS, 2, n, a, b, c);
}

/* ---- the limit --------------------------------------------------------------------------- */

/* Nothing but multiply and add, in registers, in as many chains as it takes to keep the
 * units busy.  Returns how many floating-point operations that was. */
double fma_peak(int64_t rounds)
{
    V sum[12], x = {0}, y = {0};
    for (int i = 0; i < 12; i++)
        sum[i] = x;
    for (int64_t round = 0; round < rounds; round++) {
#if defined(__x86_64__)
        __asm__ volatile("" : "+x"(x), "+x"(y)); /* they may have changed, for all it knows */
#elif defined(__aarch64__)
        __asm__ volatile("" : "+w"(x), "+w"(y));
#endif
        UNROLL
        for (int i = 0; i < 12; i++)
            sum[i] += x * y;
    }
    for (int i = 1; i < 12; i++)
        sum[0] += sum[i];
    volatile float used = sum[0][0];
    (void)used;
    return 2.0 * 12 * VL * (double)rounds;
}
