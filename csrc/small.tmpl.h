/* small.tmpl.h: linear layers with small matrices, their activation included, for replay.
 *
 * Parameters: those of vec.h.  For each row of activations.def, and for no activation, and each
 * dtype, this makes
 *   name_rows_forward     y = activation(x @ w.T + b)
 *   name_rows_backward    the gradients of x, w and b
 *
 * A net of five units spends its time on the ends of rows: five floats are no vector.  So a
 * captured step keeps a small matrix in rows of TGA_ROW = 8 elements, of which the last are not
 * used.  A row is then one load and one store, and a product needs no copy: w is kept twice, as
 * it is (n, k) and turned (k, n), and both are updated.
 *
 * What stands in the unused elements never reaches a used one: products read only the used
 * columns of their left operand, and each lane of the right one makes its own lane of the result.
 * They are 0 in a gradient of x, so that nothing grows there.
 *
 * The arithmetic is that of gemm.tmpl.h, reduce.tmpl.h and elementwise.tmpl.h: a chain of v_fma
 * for each element, the bias added after it; so a replayed step gives the bits of an eager one.
 */

/* ---- a row in registers ------------------------------------------------------------- */

#ifndef TGA_SMALL_TMPL_H
#define TGA_SMALL_TMPL_H
#define R TN(R)
#define ROW_VECTORS ((int)(TGA_ROW * sizeof(T) / sizeof(R)))
#define r_fma TN(r_fma)
#define r_load TN(r_load)
#define r_store TN(r_store)
#endif

/* R: as much of a row as one instruction can take: half a vector for float on AVX-512, else V */
#if VBYTES == 64 && T_BITS == 32
typedef T R __attribute__((vector_size(32)));
static inline R r_fma(R x, R y, R z) { return _mm256_fmadd_ps(x, y, z); }
static inline V r_join(R low, R high)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
#else
typedef V R;
static inline R r_fma(R x, R y, R z) { return v_fma(x, y, z); }
#endif
static inline R r_load(const T *p)
{
    R x;
    memcpy(&x, p, sizeof x);
    return x;
}
static inline void r_store(T *p, R x) { memcpy(p, &x, sizeof x); }

/* x, which begins at element `at` of a row, with 0 from element n of the row on */
typedef I TN(RI) __attribute__((vector_size(sizeof(R))));
static inline R TN(r_first)(R x, int64_t at, int64_t n)
{
    TN(RI) lane;
    for (int64_t i = 0; i < (int64_t)(sizeof(R) / sizeof(T)); i++)
        lane[i] = (I)i;
    return (R)((TN(RI))x & (lane < (I)(n - at)));
}

/* ---- the product ---------------------------------------------------------------------- */

/* y (rows, ROW) = sum over p < depth of a[i * a_row + p * a_step] * b[p * ROW ...], + bias if
 * given, 0 from column `used` on; `rows` at most 8 and known to the compiler, so that the sums
 * stay in registers. */
static ALWAYS_INLINE void TN(rows_block)(const int rows, int64_t depth, const T *a, int64_t a_row,
                                         int64_t a_step, const T *b, const T *bias, int64_t used,
                                         T *y)
{
    R sum[8][TGA_ROW * sizeof(T) / sizeof(R)];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < ROW_VECTORS; v++)
            sum[i][v] = (R){0};
    for (int64_t p = 0; p < depth; p++)
        for (int v = 0; v < ROW_VECTORS; v++) {
            const R b_p = r_load(b + p * TGA_ROW + v * (int64_t)(sizeof(R) / sizeof(T)));
            GEMM_UNROLL
            for (int i = 0; i < rows; i++)
                sum[i][v] = r_fma(a[i * a_row + p * a_step] - (R){0}, b_p, sum[i][v]);
        }
    GEMM_UNROLL
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < ROW_VECTORS; v++) {
            const int64_t at = v * (int64_t)(sizeof(R) / sizeof(T));
            const R x = bias ? sum[i][v] + r_load(bias + at) : sum[i][v];
            sum[i][v] = used < TGA_ROW ? TN(r_first)(x, at, used) : x;
        }
#if VBYTES == 64 && T_BITS == 32
    /* two rows at once, since they are read so: a load must not wait for two stores */
    GEMM_UNROLL
    for (int i = 0; i < rows / 2; i++)
        v_store(y + 2 * i * TGA_ROW, r_join(sum[2 * i][0], sum[2 * i + 1][0]));
    if (rows % 2)
        r_store(y + (rows - 1) * TGA_ROW, sum[rows - 1][0]);
#else
    GEMM_UNROLL
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < ROW_VECTORS; v++)
            r_store(y + i * TGA_ROW + v * (int64_t)(sizeof(R) / sizeof(T)), sum[i][v]);
#endif
}

static ALWAYS_INLINE void TN(rows_product)(int64_t rows, int64_t depth, const T *a, int64_t a_row,
                                           int64_t a_step, const T *b, const T *bias, int64_t used,
                                           T *y)
{
    for (; rows > 0; rows -= 4, a += 4 * a_row, y += 4 * TGA_ROW) {
        switch (rows) {
        case 1:
            TN(rows_block)(1, depth, a, a_row, a_step, b, bias, used, y);
            break;
        case 2:
            TN(rows_block)(2, depth, a, a_row, a_step, b, bias, used, y);
            break;
        case 3:
            TN(rows_block)(3, depth, a, a_row, a_step, b, bias, used, y);
            break;
        case 5:
            TN(rows_block)(5, depth, a, a_row, a_step, b, bias, used, y);
            return;
        default:
            TN(rows_block)(4, depth, a, a_row, a_step, b, bias, used, y);
        }
    }
}

/* ---- forward ------------------------------------------------------------------------------ */

/* The words of a call, in the order of tga_rows_forward: 0 op, 1 dtype, 2 m, 3 k, 4 x, 5 wt, 6 b,
 * 7 z, 8 y, 9 and 10 the activation's attributes.
 * x: (m, ROW), k columns used; wt: (k, ROW), n used; b: (ROW); z, y: (m, ROW), before and after
 * the activation; z may be NULL. */
static ALWAYS_INLINE void TN(rows_linear)(const tga_word *v)
{
    T *z = v[7].p ? v[7].p : v[8].p;
    TN(rows_product)(v[2].i, v[3].i, v[4].p, TGA_ROW, 1, v[5].p, v[6].p, TGA_ROW, z);
}

static ALWAYS_INLINE int TN(rows_forward)(V (*row)(V, V, V), const tga_word *v)
{
    TN(rows_linear)(v);
    TN(unary_loop)(row, v[2].i * TGA_ROW, v[7].p ? v[7].p : v[8].p, v[8].p, (T)v[9].d, (T)v[10].d);
    return TGA_OK;
}

/* ---- backward ----------------------------------------------------------------------------- */

/* gb[j] = sum over i < m of g[i][j], in the order of reduce.tmpl.h: fewer rows than lanes are
 * added as a tree, neighbours first. */
static ALWAYS_INLINE void TN(rows_sum)(int64_t m, const T *g, T *gb)
{
    if (m < VL && m <= 4) {
        for (int64_t at = 0; at < TGA_ROW; at += (int64_t)(sizeof(R) / sizeof(T))) {
            R sum = r_load(g + at);
            if (m > 1)
                sum = sum + r_load(g + TGA_ROW + at);
            if (m == 3)
                sum = sum + r_load(g + 2 * TGA_ROW + at);
            if (m == 4)
                sum = sum + (r_load(g + 2 * TGA_ROW + at) + r_load(g + 3 * TGA_ROW + at));
            r_store(gb + at, sum);
        }
        return;
    }
    TN(reduce_rows_loop)(TN(sum_combine), 0, m, TGA_ROW, g, TGA_ROW, gb);
}

/* The words of a call, in the order of tga_rows_backward: 0 op, 1 dtype, 2 m, 3 n, 4 k, 5 gy,
 * 6 saved, 7 x, 8 w, 9 gx, 10 gw, 11 gwt, 12 gb, 13 and 14 the activation's attributes.
 * gy, saved (what the activation's backward reads), x: (m, ROW), n, n and k columns used;
 * w: (n, ROW), k used; gx: (m, ROW); gw: (n, ROW); gwt: (k, ROW); gb: (ROW); of the results
 * those that are NULL are not computed.  g: (m, ROW), gy before the activation. */
static __attribute__((noinline)) void TN(rows_gradients)(const tga_word *v, const T *g)
{
    const int64_t m = v[2].i, n = v[3].i, k = v[4].i;
    const T *x = v[7].p;
    if (v[9].p)
        TN(rows_product)(m, n, g, TGA_ROW, 1, v[8].p, NULL, k, v[9].p);
    if (v[10].p) {
        TN(rows_product)(n, m, g, 1, TGA_ROW, x, NULL, TGA_ROW, v[10].p);
        TN(rows_product)(k, m, x, 1, TGA_ROW, g, NULL, TGA_ROW, v[11].p);
    }
    if (v[12].p)
        TN(rows_sum)(m, g, v[12].p);
}

static ALWAYS_INLINE int TN(rows_backward)(V (*row)(V, V, V, V), const tga_word *v)
{
    T g[TGA_ROWS_MOST * TGA_ROW];
    const int64_t m = v[2].i;
    if (m < 1)
        __builtin_unreachable(); /* else gcc warns that g may stay empty */
    TN(unary_backward_loop)(row, m * TGA_ROW, v[5].p, v[6].p, g, (T)v[13].d, (T)v[14].d);
    TN(rows_gradients)(v, g);
    return TGA_OK;
}

#ifndef ROWS_ACT
#define ROWS_ACT(name, ...)                                                                        \
    static int TN(name##_rows_forward)(const tga_word *v)                                          \
    {                                                                                              \
        return TN(rows_forward)(TN(name##_row), v);                                                \
    }                                                                                              \
    static int TN(name##_rows_backward)(const tga_word *v)                                         \
    {                                                                                              \
        return TN(rows_backward)(TN(name##_backward_row), v);                                      \
    }
#endif

#define ACT ROWS_ACT
#include "activations.def"
