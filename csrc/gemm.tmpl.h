/* gemm.tmpl.h: the matrix product, as far as it depends on dtype and vectors.
 *
 * Parameters: those of vec.h, and
 *   GEMM_MR    rows, and
 *   GEMM_NV    vectors in a row, of the largest tile that the micro-kernel
 *              keeps in registers: GEMM_MR * GEMM_NV accumulators, GEMM_NV
 *              vectors of B and one element of A repeated.  6 x 2 fills 16
 *              vector registers, 14 x 2 fills 32.  GEMM_MR: 6 or 14.  GEMM_NV: 2.
 *
 * gemm.c holds what is common: the outer loops, the choice of path, threads.
 *
 * The micro-kernel
 *
 *                       nr = nv * VL
 *                     +--------------+
 *                     |  b[0 * step] |
 *                     |  b[1 * step] |  k rows, each contiguous; read whole
 *                     |     ...      |
 *                     +--------------+
 *        k
 *   +---------+       +--------------+
 *   |         |       |              |
 *   |    a    |  mr   |     tile     |   tile[i][j] = sum over p of
 *   |         |       |              |       a[i * row + p * step] * b[p * step + j]
 *   +---------+       +--------------+
 *
 * is one chain of v_fma per element, p ascending from 0.  As A is read one
 * element at a time, any pair of strides will do: A in place, A transposed in
 * place, A packed.  The matrix is then the same to the kernel in all cases, and
 * packing is a matter of speed alone.  Of B whole vectors are read, so a last
 * narrow strip and a transposed B are packed always.
 */
#ifndef TGA_GEMM_TMPL_H
#define TGA_GEMM_TMPL_H

#ifdef __clang__
#define GEMM_UNROLL _Pragma("clang loop unroll(full)")
#else
#define GEMM_UNROLL _Pragma("GCC unroll 16")
#endif

#define GEMM_NR (GEMM_NV * VL)

#define GEMM_TABLE(suffix)                                                                         \
    {                                                                                              \
        .mr = GEMM_MR, .nr = GEMM_NV * VBYTES / (int64_t)sizeof((gemm_element_##suffix){0}),       \
        .block = gemm_block_##suffix, .direct = gemm_direct_##suffix,                              \
        .pack_a = gemm_pack_a_##suffix, .pack_b = gemm_pack_b_##suffix,                            \
    }

#endif

typedef T TN(gemm_element);

/* ---- the micro-kernel ------------------------------------------------------ */

/* c = tile, or c += tile. */
static ALWAYS_INLINE void TN(gemm_tile)(const int mr, const int nv, int64_t k, const T *a,
                                        int64_t a_row, int64_t a_step, const T *b, int64_t b_step,
                                        T *c, int64_t ldc, int add)
{
    V acc[GEMM_MR][GEMM_NV];
    GEMM_UNROLL
    for (int i = 0; i < mr; i++)
        GEMM_UNROLL
        for (int v = 0; v < nv; v++)
            acc[i][v] = (V){0};

    for (int64_t p = 0; p < k; p++) {
        V b_row[GEMM_NV];
        GEMM_UNROLL
        for (int v = 0; v < nv; v++)
            b_row[v] = v_load(b + v * VL);
        GEMM_UNROLL
        for (int i = 0; i < mr; i++) {
            const V a_ip = v_splat(a[i * a_row]);
            GEMM_UNROLL
            for (int v = 0; v < nv; v++)
                acc[i][v] = v_fma(a_ip, b_row[v], acc[i][v]);
        }
        a += a_step;
        b += b_step;
    }

    GEMM_UNROLL
    for (int i = 0; i < mr; i++)
        GEMM_UNROLL
        for (int v = 0; v < nv; v++) {
            T *c_iv = c + i * ldc + v * VL;
            v_store(c_iv, add ? acc[i][v] + v_load(c_iv) : acc[i][v]);
        }
}

/* One function for each height and width: the accumulators are registers only
 * if their number is known to the compiler. */
typedef void TN(gemm_tile_fn)(int64_t k, const T *a, int64_t a_row, int64_t a_step, const T *b,
                              int64_t b_step, T *c, int64_t ldc, int add);
#define GEMM_TILE(mr, nv)                                                                          \
    static void TN(gemm_tile_##mr##x##nv)(int64_t k, const T *a, int64_t a_row, int64_t a_step,    \
                                          const T *b, int64_t b_step, T *c, int64_t ldc, int add)  \
    {                                                                                              \
        TN(gemm_tile)(mr, nv, k, a, a_row, a_step, b, b_step, c, ldc, add);                        \
    }
#define GEMM_TILES(mr) GEMM_TILE(mr, 1) GEMM_TILE(mr, 2)
GEMM_TILES(1)
GEMM_TILES(2)
GEMM_TILES(3)
GEMM_TILES(4)
GEMM_TILES(5)
GEMM_TILES(6)
#if GEMM_MR > 6
GEMM_TILES(7)
GEMM_TILES(8)
GEMM_TILES(9)
GEMM_TILES(10)
GEMM_TILES(11)
GEMM_TILES(12)
GEMM_TILES(13)
GEMM_TILES(14)
#endif
#undef GEMM_TILES
#undef GEMM_TILE

#define GEMM_TILES(mr) {TN(gemm_tile_##mr##x##1), TN(gemm_tile_##mr##x##2)}
static TN(gemm_tile_fn) *const TN(gemm_tiles)[GEMM_MR][GEMM_NV] = {
    GEMM_TILES(1),  GEMM_TILES(2),  GEMM_TILES(3),  GEMM_TILES(4),  GEMM_TILES(5),
    GEMM_TILES(6),
#if GEMM_MR > 6
    GEMM_TILES(7),  GEMM_TILES(8),  GEMM_TILES(9),  GEMM_TILES(10), GEMM_TILES(11),
    GEMM_TILES(12), GEMM_TILES(13), GEMM_TILES(14),
#endif
};
#undef GEMM_TILES

/* c = alpha * tile + beta * c + bias, on the first n columns. */
static void TN(gemm_finish)(int64_t m, int64_t n, const T *tile, T alpha, T beta, T *c, int64_t ldc,
                            const T *bias)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j += VL) {
            const int64_t lanes = n - j < VL ? n - j : VL;
            T *c_ij = c + i * ldc + j;
            V x = v_splat(alpha) * v_load(tile + i * GEMM_NR + j);
            if (beta != 0)
                x = v_fma(v_splat(beta), lanes < VL ? v_load_n(c_ij, lanes) : v_load(c_ij), x);
            if (bias)
                x += lanes < VL ? v_load_n(bias + j, lanes) : v_load(bias + j);
            if (lanes < VL)
                v_store_n(c_ij, x, lanes);
            else
                v_store(c_ij, x);
        }
}

/* ---- packing ---------------------------------------------------------------- */

/* Columns [0, n) of a strip of B, n <= GEMM_NR, to rows of GEMM_NR elements; what is
 * beyond n in the last vector is 0.
 * b: (k, n), or (n, k) if trans_b; b_pack: (k, GEMM_NR) */
static void TN(gemm_pack_strip)(int trans_b, int64_t n, int64_t k, const T *b, int64_t ldb,
                                T *b_pack)
{
    const int64_t whole = n / VL * VL;
    if (!trans_b) {
        for (int64_t p = 0; p < k; p++) {
            for (int64_t j = 0; j < whole; j += VL)
                v_store(b_pack + p * GEMM_NR + j, v_load(b + p * ldb + j));
            if (whole < n)
                v_store(b_pack + p * GEMM_NR + whole, v_load_n(b + p * ldb + whole, n - whole));
        }
    } else {
        for (int64_t p = 0; p < k; p++) {
            for (int64_t j = 0; j < n; j++)
                b_pack[p * GEMM_NR + j] = b[j * ldb + p];
            for (int64_t j = n; j < whole + VL && whole < n; j++)
                b_pack[p * GEMM_NR + j] = 0;
        }
    }
}

/* B (k, n) in strips: b_pack: (n / GEMM_NR rounded up, k, GEMM_NR) */
static void TN(gemm_pack_b)(int trans_b, int64_t n, int64_t k, const void *b, int64_t ldb,
                            void *b_pack)
{
    for (int64_t j = 0; j < n; j += GEMM_NR)
        TN(gemm_pack_strip)(trans_b, n - j < GEMM_NR ? n - j : GEMM_NR, k,
                            (const T *)b + (trans_b ? j * ldb : j), ldb, (T *)b_pack + j * k);
}

/* A (m, k), or (k, m) if trans_a, to panels of mr rows: a_pack: (m / mr rounded up, k, mr) */
static void TN(gemm_pack_a)(int trans_a, int64_t m, int64_t k, int64_t mr, const void *a,
                            int64_t lda, void *a_pack)
{
    const T *x = a;
    T *y = a_pack;
    for (int64_t i = 0; i < m; i += mr)
        for (int64_t p = 0; p < k; p++)
            for (int64_t r = 0; r < mr; r++)
                *y++ = i + r >= m ? 0 : trans_a ? x[p * lda + i + r] : x[(i + r) * lda + p];
}

/* ---- LOOP 2 and LOOP 1 ------------------------------------------------------ */

/* Columns [0, n) of the block, n <= GEMM_NR, with b at their strip. */
static ALWAYS_INLINE void TN(gemm_strip)(const tga_gemm_block *g, int64_t n, const T *b,
                                         int64_t b_step, T *c, const T *bias)
{
    const int64_t nv = (n + VL - 1) / VL;
    const T alpha = (T)g->alpha, beta = (T)g->beta;
    const int plain = n == nv * VL && !bias && alpha == 1 && (beta == 0 || beta == 1);

    /* LOOP 1: split m into rows of the tile (A, C) */
    for (int64_t i = 0; i < g->m; i += g->mr) {
        const int64_t mr = g->m - i < g->mr ? g->m - i : g->mr;
        const T *a = (const T *)g->a + i * g->a_panel;
        TN(gemm_tile_fn) *tile = TN(gemm_tiles)[mr - 1][nv - 1];
        if (plain) {
            tile(g->k, a, g->a_row, g->a_step, b, b_step, c + i * g->ldc, g->ldc, beta == 1);
        } else {
            T buffer[GEMM_MR * GEMM_NV * VBYTES / sizeof(T)];
            tile(g->k, a, g->a_row, g->a_step, b, b_step, buffer, GEMM_NR, 0);
            TN(gemm_finish)(mr, n, buffer, alpha, beta, c + i * g->ldc, g->ldc, bias);
        }
    }
}

/* Both operands ready: B packed. */
static void TN(gemm_block)(const tga_gemm_block *g)
{
    const T *bias = g->bias;
    /* LOOP 2: split n into columns of the tile (B, C) */
    for (int64_t j = 0; j < g->n; j += GEMM_NR)
        TN(gemm_strip)(g, g->n - j < GEMM_NR ? g->n - j : GEMM_NR, (const T *)g->b + j * g->k,
                       GEMM_NR, (T *)g->c + j, bias ? bias + j : NULL);
}

/* A in place or packed, B as the caller has it: a strip is packed just before its
 * use where it has to be, into 32 KiB of stack, and no workspace is needed. */
static void TN(gemm_direct)(const tga_gemm_block *g, int trans_b, int64_t ldb)
{
    const T *bias = g->bias;
    T b_pack[TGA_GEMM_KC * GEMM_NV * VBYTES / sizeof(T)];
    for (int64_t j = 0; j < g->n; j += GEMM_NR) {
        const int64_t n = g->n - j < GEMM_NR ? g->n - j : GEMM_NR;
        const T *b = (const T *)g->b + (trans_b ? j * ldb : j);
        int64_t b_step = ldb;
        if (trans_b || n % VL) {
            TN(gemm_pack_strip)(trans_b, n, g->k, b, ldb, b_pack);
            b = b_pack;
            b_step = GEMM_NR;
        }
        TN(gemm_strip)(g, n, b, b_step, (T *)g->c + j, bias ? bias + j : NULL);
    }
}
