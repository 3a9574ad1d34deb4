/* gemm.tmpl.h: the matrix product, as far as it depends on vectors and dtype.
 *
 * Parameters: those of vec.h, and
 *   GEMM_MR    rows, and
 *   GEMM_NV    vectors in a row, of the largest tile that the micro-kernel
 *              keeps in registers: GEMM_MR * GEMM_NV sums, GEMM_NV vectors of
 *              B, one element of A repeated.  6 x 2 fills 16 vector registers,
 *              14 x 2 fills 32.  Legal and tested: 6 or 14, and 2.
 *
 * gemm.c holds what is compiled once: the outer loops, the choice of path, threads.
 *
 * The micro-kernel:
 *
 *                              nr = nv * VL
 *                            +--------------+
 *                            |  b + 0 step  |
 *                            |  b + 1 step  |  k rows, read as whole vectors
 *                            |     ...      |
 *                 k          +--------------+
 *            +---------+     +--------------+
 *            |         |     |              |
 *         mr |    a    |     |     tile     |  tile[i][j] = sum over p of
 *            |         |     |              |      a[i * a_row + p * a_step]
 *            +---------+     +--------------+      * b[p * b_step + j]
 *
 * Each element is one chain of v_fma, p ascending, from 0; every path through
 * this file ends in it.  Of A it reads single elements, so any two strides will
 * do: A in place, A transposed in place, A packed.  Of B it reads whole vectors,
 * so a transposed B and a narrow last strip are packed always, B otherwise only
 * if that is faster.
 */
#ifndef TGA_GEMM_TMPL_H
#define TGA_GEMM_TMPL_H

#ifdef __clang__
#define GEMM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define GEMM_UNROLL _Pragma("GCC unroll 16")
#endif

/* No instruction, but the compiler must take x for changed. */
#define GEMM_KEEP(x) __asm__("" : "+r"(x))

#define GEMM_NR (GEMM_NV * VL)

#define GEMM_TABLE(suffix)                                                                         \
    {                                                                                              \
        .mr = GEMM_MR, .nr = GEMM_NV * VBYTES / (int64_t)sizeof(gemm_element_##suffix),            \
        .block = gemm_block_##suffix, .direct = gemm_direct_##suffix,                              \
        .pack_a = gemm_pack_a_##suffix, .pack_b = gemm_pack_b_##suffix,                            \
    }

#endif

typedef T TN(gemm_element);

/* ---- the micro-kernel ------------------------------------------------------- */

/* c (mr, n) = tile or, if add, c += tile, with (nv - 1) * VL < n <= nv * VL. */
static ALWAYS_INLINE void TN(gemm_tile)(const int mr, const int nv, int64_t k, const T *a,
                                        int64_t a_row, int64_t a_step, const T *b, int64_t b_step,
                                        T *c, int64_t ldc, int64_t n, int add)
{
    V acc[GEMM_MR][GEMM_NV];
    GEMM_UNROLL
    for (int i = 0; i < mr; i++)
        GEMM_UNROLL
        for (int v = 0; v < nv; v++)
            acc[i][v] = (V){0};

    /* Addresses of the rows of A.  A machine address is a base and an index times
     * 1, 2, 4 or 8: the odd multiples of the row's length give all rows, and half
     * as many registers do.  The compiler is kept from multiplying them out. */
    int64_t odd[(GEMM_MR + 1) / 2];
    GEMM_UNROLL
    for (int i = 0; i < mr; i += 2)
        odd[i / 2] = (i + 1) * a_row * (int64_t)sizeof(T);

    /* The lines of c are asked for on the way, every fourth row with each quarter
     * of a long sum.  Asked for all at once they would hold up A and B; not asked
     * for, they would be waited for at the end. */
    const int64_t quarter = k < 256 ? k : (k + 3) / 4;
    int64_t first = 0;
    for (int64_t p = 0; p < k; first++) {
        for (int64_t i = first; i < mr; i += 4) {
            __builtin_prefetch(c + i * ldc, 1);
            __builtin_prefetch(c + i * ldc + n - 1, 1);
        }
        const int64_t end = k - p < quarter ? k : p + quarter;
        for (; p < end; p++) {
            const char *a_p = (const char *)(a + p * a_step);
            V b_p[GEMM_NV];
            GEMM_UNROLL
            for (int v = 0; v < nv; v++)
                b_p[v] = v_load(b + p * b_step + v * VL);
            GEMM_UNROLL
            for (int i = 0; i < mr; i += 2)
                GEMM_KEEP(odd[i / 2]);
            GEMM_UNROLL
            for (int i = 0; i < mr; i++) {
                const int twos = i ? __builtin_ctz((unsigned)i) : 0;
                const int64_t row = i ? odd[i >> twos >> 1] << twos : 0;
                const V a_ip = v_splat(*(const T *)(a_p + row));
                GEMM_UNROLL
                for (int v = 0; v < nv; v++)
                    acc[i][v] = v_fma(a_ip, b_p[v], acc[i][v]);
            }
        }
    }

    const int64_t last = n - (nv - 1) * VL; /* columns in the last vector */
    GEMM_UNROLL
    for (int i = 0; i < mr; i++) {
        T *c_i = c + i * ldc;
        GEMM_UNROLL
        for (int v = 0; v < nv - 1; v++)
            v_store(c_i + v * VL, add ? acc[i][v] + v_load(c_i + v * VL) : acc[i][v]);
        T *c_last = c_i + (nv - 1) * VL;
        const V x = acc[i][nv - 1];
        if (last == VL)
            v_store(c_last, add ? x + v_load(c_last) : x);
        else
            v_store_n(c_last, add ? x + v_load_n(c_last, last) : x, last);
    }
}

/* One function for each height and width: the sums are registers only if the
 * compiler knows how many they are. */
typedef void TN(gemm_tile_fn)(int64_t k, const T *a, int64_t a_row, int64_t a_step, const T *b,
                              int64_t b_step, T *c, int64_t ldc, int64_t n, int add);
#define GEMM_TILE(mr, nv)                                                                          \
    static void TN(gemm_tile_##mr##x##nv)(int64_t k, const T *a, int64_t a_row, int64_t a_step,    \
                                          const T *b, int64_t b_step, T *c, int64_t ldc,           \
                                          int64_t n, int add)                                      \
    {                                                                                              \
        TN(gemm_tile)(mr, nv, k, a, a_row, a_step, b, b_step, c, ldc, n, add);                     \
    }
#define GEMM_ROW(mr) GEMM_TILE(mr, 1) GEMM_TILE(mr, 2)
GEMM_ROW(1)
GEMM_ROW(2)
GEMM_ROW(3)
GEMM_ROW(4)
GEMM_ROW(5)
GEMM_ROW(6)
#if GEMM_MR > 6
GEMM_ROW(7)
GEMM_ROW(8)
GEMM_ROW(9)
GEMM_ROW(10)
GEMM_ROW(11)
GEMM_ROW(12)
GEMM_ROW(13)
GEMM_ROW(14)
#endif
#undef GEMM_TILE
#undef GEMM_ROW

#define GEMM_ROW(mr) {TN(gemm_tile_##mr##x1), TN(gemm_tile_##mr##x2)}
static TN(gemm_tile_fn) *const TN(gemm_tiles)[GEMM_MR][GEMM_NV] = {
    GEMM_ROW(1),  GEMM_ROW(2),  GEMM_ROW(3),  GEMM_ROW(4),
    GEMM_ROW(5),  GEMM_ROW(6),
#if GEMM_MR > 6
    GEMM_ROW(7),  GEMM_ROW(8),  GEMM_ROW(9),  GEMM_ROW(10),
    GEMM_ROW(11), GEMM_ROW(12), GEMM_ROW(13), GEMM_ROW(14),
#endif
};
#undef GEMM_ROW

static ALWAYS_INLINE V TN(gemm_load)(const T *p, int64_t lanes)
{
    return lanes < VL ? v_load_n(p, lanes) : v_load(p);
}

/* c (m, n) = alpha * tile + beta * c + bias (n), for what the kernel itself cannot. */
static void TN(gemm_finish)(int64_t m, int64_t n, const T *tile, T alpha, T beta, T *c, int64_t ldc,
                            const T *bias)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j += VL) {
            T *c_ij = c + i * ldc + j;
            V x = v_splat(alpha) * v_load(tile + i * GEMM_NR + j);
            if (beta != 0)
                x = v_fma(v_splat(beta), TN(gemm_load)(c_ij, n - j), x);
            if (bias)
                x += TN(gemm_load)(bias + j, n - j);
            if (n - j < VL)
                v_store_n(c_ij, x, n - j);
            else
                v_store(c_ij, x);
        }
}

/* ---- packing ------------------------------------------------------------------ */

/* LANE elements are 16 bytes: inside these a transposition is cheap. */
#define GEMM_LANE (16 / (int64_t)sizeof(T))

#if defined(__x86_64__)

typedef T TN(gemm_lane) __attribute__((vector_size(16)));

/* 16 bytes at each of x + row[0], x + row[LANE], x + row[2 * LANE] ... */
static ALWAYS_INLINE V TN(gemm_gather)(const T *x, const int64_t *row)
{
#if VBYTES == 64
    /* Every lane is loaded into all four places and kept in one, which takes no shuffle. */
    __m512 y = _mm512_broadcast_f32x4(_mm_loadu_ps((const float *)(x + row[0])));
    GEMM_UNROLL
    for (int q = 1; q < 4; q++)
        y = _mm512_mask_broadcast_f32x4(y, (__mmask16)(15 << 4 * q),
                                        _mm_loadu_ps((const float *)(x + row[q * GEMM_LANE])));
    return (V)y;
#else
    TN(gemm_lane) lane[VBYTES / 16];
    GEMM_UNROLL
    for (int q = 0; q < VBYTES / 16; q++)
        memcpy(&lane[q], x + row[q * GEMM_LANE], 16);
#if VBYTES == 16
    return lane[0];
#elif T_BITS == 32
    return _mm256_insertf128_ps(_mm256_castps128_ps256(lane[0]), lane[1], 1);
#else
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(lane[0]), lane[1], 1);
#endif
#endif
}

#endif

/* column[p][i] = x[row[i] + p] for p < steps * LANE, i < VL.  All of a few rows is
 * loaded before the next: rows may lie so that a cache holds only a few at a time. */
static ALWAYS_INLINE void TN(gemm_transpose)(const int steps, const T *x, const int64_t *row,
                                             V *column)
{
#if defined(__x86_64__)
    V r[GEMM_LANE][VBYTES / 16];
    GEMM_UNROLL
    for (int64_t i = 0; i < GEMM_LANE; i++)
        GEMM_UNROLL
        for (int s = 0; s < steps; s++)
            r[i][s] = TN(gemm_gather)(x + s * GEMM_LANE, row + i);
    GEMM_UNROLL
    for (int s = 0; s < steps; s++, column += GEMM_LANE) {
#if T_BITS == 32
        const V s0 = MM(unpacklo)(r[0][s], r[1][s]), s1 = MM(unpackhi)(r[0][s], r[1][s]);
        const V s2 = MM(unpacklo)(r[2][s], r[3][s]), s3 = MM(unpackhi)(r[2][s], r[3][s]);
        column[0] = MM(shuffle)(s0, s2, 0x44);
        column[1] = MM(shuffle)(s0, s2, 0xee);
        column[2] = MM(shuffle)(s1, s3, 0x44);
        column[3] = MM(shuffle)(s1, s3, 0xee);
#else
        column[0] = MM(unpacklo)(r[0][s], r[1][s]);
        column[1] = MM(unpackhi)(r[0][s], r[1][s]);
#endif
    }
#else
    for (int64_t p = 0; p < steps * GEMM_LANE; p++)
        for (int64_t i = 0; i < VL; i++)
            column[p][i] = x[row[i] + p];
#endif
}

/* Where rows j, j + 1 ... of x (n, ldx) begin; the last stands in for those beyond. */
static ALWAYS_INLINE void TN(gemm_rows)(int64_t j, int64_t n, int64_t ldx, int64_t *row)
{
    for (int64_t i = 0; i < VL; i++)
        row[i] = (j + i < n ? j + i : n - 1) * ldx;
}

/* n <= GEMM_NR columns of B to rows of GEMM_NR.  What fills up the last vector is
 * computed with, but never stored.
 * b: (k, n), or (n, k) if trans_b; b_pack: (k, GEMM_NR) */
static void TN(gemm_pack_strip)(int trans_b, int64_t n, int64_t k, const T *b, int64_t ldb,
                                T *b_pack)
{
    for (int64_t j = 0; j < n; j += VL) {
        T *y = b_pack + j;
        if (!trans_b) {
            for (int64_t p = 0; p < k; p++)
                v_store(y + p * GEMM_NR, TN(gemm_load)(b + p * ldb + j, n - j));
            continue;
        }
        int64_t row[VBYTES / sizeof(T)], p = 0;
        TN(gemm_rows)(j, n, ldb, row);
        for (; p + VL <= k; p += VL) {
            V column[VBYTES / sizeof(T)];
            TN(gemm_transpose)(VBYTES / 16, b + p, row, column);
            GEMM_UNROLL
            for (int64_t q = 0; q < VL; q++)
                v_store(y + (p + q) * GEMM_NR, column[q]);
        }
        for (; p + GEMM_LANE <= k; p += GEMM_LANE) {
            V column[GEMM_LANE];
            TN(gemm_transpose)(1, b + p, row, column);
            GEMM_UNROLL
            for (int64_t q = 0; q < GEMM_LANE; q++)
                v_store(y + (p + q) * GEMM_NR, column[q]);
        }
        for (; p < k; p++)
            for (int64_t i = 0; i < VL; i++)
                y[p * GEMM_NR + i] = b[row[i] + p];
    }
}

/* n columns of B in strips: b_pack: (n / GEMM_NR rounded up, k, GEMM_NR) */
static void TN(gemm_pack_b)(int trans_b, int64_t n, int64_t k, const void *b, int64_t ldb,
                            void *b_pack)
{
    const T *x = b;
    T *y = b_pack;
    int64_t j = 0;
    /* Four strips at a time: rows of B may lie far apart, and memory is faster the
     * more of each is read at once. */
    if (!trans_b)
        for (; j + 4 * GEMM_NR <= n; j += 4 * GEMM_NR)
            for (int64_t p = 0; p < k; p++)
                for (int64_t s = 0; s < 4 * GEMM_NR; s += GEMM_NR)
                    GEMM_UNROLL
                    for (int v = 0; v < GEMM_NV; v++)
                        v_store(y + (j + s) * k + p * GEMM_NR + v * VL,
                                v_load(x + p * ldb + j + s + v * VL));
    for (; j < n; j += GEMM_NR)
        TN(gemm_pack_strip)(trans_b, n - j < GEMM_NR ? n - j : GEMM_NR, k,
                            x + (trans_b ? j * ldb : j), ldb, y + j * k);
}

/* A copy of the block of A, its rows, as stored, at a distance of an odd number of
 * vectors, so that they do not meet in the caches; the block is told.  The kernel
 * finds elements at any stride: nothing is transposed.
 * A: (m, k), or (k, m) if trans_a; a_pack: the same, 2 VL - 1 longer at most */
static void TN(gemm_pack_a)(int trans_a, int64_t lda, void *a_pack, tga_gemm_block *g)
{
    const int64_t rows = trans_a ? g->k : g->m, n = trans_a ? g->m : g->k;
    const int64_t ld = ((n + VL - 1) / VL | 1) * VL;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j += VL)
            v_store((T *)a_pack + i * ld + j,
                    TN(gemm_load)((const T *)g->a + i * lda + j, n - j));
    g->a = a_pack;
    g->a_row = trans_a ? 1 : ld;
    g->a_step = trans_a ? ld : 1;
    g->a_panel = g->mr * g->a_row;
}

/* ---- LOOP 2 and LOOP 1 ---------------------------------------------------------- */

/* One strip: n <= GEMM_NR columns.  b: (k, n) with rows b_step apart */
static ALWAYS_INLINE void TN(gemm_strip)(const tga_gemm_block *g, int64_t n, const T *b,
                                         int64_t b_step, T *c, const T *bias)
{
    const int64_t nv = (n + VL - 1) / VL;
    const T alpha = (T)g->alpha, beta = (T)g->beta;
    const int plain = alpha == 1 && (beta == 0 || beta == 1) && !bias;
    const T *a = g->a;

    /* LOOP 1: split m into panels as high as the tile (A, C) */
    for (int64_t i = 0; i < g->m; i += g->mr, a += g->a_panel, c += g->mr * g->ldc) {
        const int64_t mr = g->m - i < g->mr ? g->m - i : g->mr;
        TN(gemm_tile_fn) *tile = TN(gemm_tiles)[mr - 1][nv - 1];
        if (plain) {
            tile(g->k, a, g->a_row, g->a_step, b, b_step, c, g->ldc, n, beta == 1);
        } else {
            T buffer[GEMM_MR * GEMM_NV * VBYTES / sizeof(T)];
            tile(g->k, a, g->a_row, g->a_step, b, b_step, buffer, GEMM_NR, nv * VL, 0);
            TN(gemm_finish)(mr, n, buffer, alpha, beta, c, g->ldc, bias);
        }
    }
}

/* The block's product for a single row of A.  No element of B is read twice, so a
 * large B is read along its rows, eight at a time, as memory likes it; the sums of
 * 4 KiB of columns wait in a buffer meanwhile.  The same chains, the same bits. */
#define GEMM_SUMS (4096 / (int64_t)sizeof(T))
#define GEMM_LARGE (65536 / (int64_t)sizeof(T)) /* elements of B */

static void TN(gemm_row)(const tga_gemm_block *g, int64_t ldb)
{
    const T *a = g->a;
    T sum[4096 / sizeof(T)];
    for (int64_t j0 = 0; j0 < g->n; j0 += GEMM_SUMS) {
        const int64_t n = g->n - j0 < GEMM_SUMS ? g->n - j0 : GEMM_SUMS;
        memset(sum, 0, sizeof sum);
        for (int64_t p0 = 0; p0 < g->k; p0 += 8) {
            const T *b = (const T *)g->b + p0 * ldb + j0;
            const int64_t rows = g->k - p0 < 8 ? g->k - p0 : 8;
            for (int64_t j = 0; j < n; j += VL) {
                V s = v_load(sum + j);
                if (rows == 8 && n - j >= VL)
                    GEMM_UNROLL
                    for (int64_t p = 0; p < 8; p++)
                        s = v_fma(v_splat(a[(p0 + p) * g->a_step]), v_load(b + p * ldb + j), s);
                else
                    for (int64_t p = 0; p < rows; p++)
                        s = v_fma(v_splat(a[(p0 + p) * g->a_step]),
                                  TN(gemm_load)(b + p * ldb + j, n - j), s);
                v_store(sum + j, s);
            }
        }
        TN(gemm_finish)(1, n, sum, (T)g->alpha, (T)g->beta, (T *)g->c + j0, 0,
                        g->bias ? (const T *)g->bias + j0 : NULL);
    }
}

/* The same with B transposed, b: (n, k): two vectors of its rows at a time, turned
 * on the way. */
static void TN(gemm_row_t)(const tga_gemm_block *g, int64_t ldb)
{
    const T *a = g->a, *b = g->b;
    for (int64_t j = 0; j < g->n; j += 2 * VL) {
        int64_t row[2][VBYTES / sizeof(T)], p = 0;
        TN(gemm_rows)(j, g->n, ldb, row[0]);
        TN(gemm_rows)(j + VL, g->n, ldb, row[1]);
        V sum[2] = {{0}, {0}};
        for (; p + VL <= g->k; p += VL)
            GEMM_UNROLL
            for (int h = 0; h < 2; h++) {
                V column[VBYTES / sizeof(T)];
                TN(gemm_transpose)(VBYTES / 16, b + p, row[h], column);
                GEMM_UNROLL
                for (int64_t q = 0; q < VL; q++)
                    sum[h] = v_fma(v_splat(a[(p + q) * g->a_step]), column[q], sum[h]);
            }
        for (; p < g->k; p++)
            for (int h = 0; h < 2; h++) {
                V column;
                for (int64_t i = 0; i < VL; i++)
                    column[i] = b[row[h][i] + p];
                sum[h] = v_fma(v_splat(a[p * g->a_step]), column, sum[h]);
            }
        T buffer[2 * VBYTES / sizeof(T)];
        v_store(buffer, sum[0]);
        v_store(buffer + VL, sum[1]);
        const int64_t n = g->n - j < 2 * VL ? g->n - j : 2 * VL;
        TN(gemm_finish)(1, n, buffer, (T)g->alpha, (T)g->beta, (T *)g->c + j, 0,
                        g->bias ? (const T *)g->bias + j : NULL);
    }
}

/* The block's product, B packed: g->b: (strips, k, GEMM_NR) */
static void TN(gemm_block)(const tga_gemm_block *g)
{
    /* LOOP 2: split n into strips as wide as the tile (B, C) */
    for (int64_t j = 0; j < g->n; j += GEMM_NR)
        TN(gemm_strip)(g, g->n - j < GEMM_NR ? g->n - j : GEMM_NR, (const T *)g->b + j * g->k,
                       GEMM_NR, (T *)g->c + j, g->bias ? (const T *)g->bias + j : NULL);
}

/* The same, B where the caller has it: g->b: (k, n), or (n, k) if trans_b.  A strip
 * that must be packed is, when its turn comes, on the stack (64 KiB at most). */
static void TN(gemm_direct)(const tga_gemm_block *g, int trans_b, int64_t ldb)
{
    if (g->m == 1 && g->k * g->n > GEMM_LARGE) {
        if (trans_b)
            TN(gemm_row_t)(g, ldb);
        else
            TN(gemm_row)(g, ldb);
        return;
    }
    T b_pack[TGA_GEMM_KC * GEMM_NV * VBYTES / sizeof(T)];
    /* LOOP 2: split n into strips as wide as the tile (B, C) */
    for (int64_t j = 0; j < g->n; j += GEMM_NR) {
        const int64_t n = g->n - j < GEMM_NR ? g->n - j : GEMM_NR;
        const T *b = (const T *)g->b + (trans_b ? j * ldb : j);
        int64_t b_step = ldb;
        if (trans_b || n % VL) {
            TN(gemm_pack_strip)(trans_b, n, g->k, b, ldb, b_pack);
            b = b_pack;
            b_step = GEMM_NR;
        }
        TN(gemm_strip)(g, n, b, b_step, (T *)g->c + j, g->bias ? (const T *)g->bias + j : NULL);
    }
}
