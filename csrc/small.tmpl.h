/* small.tmpl.h: linear layers with small matrices, their activation included, for replay.
 *
 * Parameters: those of vec.h.  For each row of activations.def, of which `identity` is for no
 * activation, and each dtype, this makes
 *   name_rows_forward     y = activation(x @ w.T + b)
 *   name_rows_backward    the gradients of x, w and b
 * and for each row of loss.def
 *   name_rows_loss        the sum of the losses and the gradient of the predictions
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
#define R_LANES ((int64_t)(sizeof(R) / sizeof(T)))
#define ROW_VECTORS (TGA_ROW * sizeof(T) / sizeof(R)) /* of which a row consists */
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
    for (int64_t i = 0; i < R_LANES; i++)
        lane[i] = (I)i;
    return (R)((TN(RI))x & (lane < (I)(n - at)));
}

/* ---- the product ---------------------------------------------------------------------- */

/* sum (rows, ROW) = sum over p < depth of a[i * a_row + p * a_step] * b[p * ROW ...], + bias if
 * given; `rows` at most 8 and known to the compiler, so that the sums stay in registers. */
static ALWAYS_INLINE void TN(rows_sums)(const int rows, int64_t depth, const T *a, int64_t a_row,
                                        int64_t a_step, const T *b, const T *bias,
                                        R sum[8][ROW_VECTORS])
{
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < (int)ROW_VECTORS; v++)
            sum[i][v] = (R){0};
    for (int64_t p = 0; p < depth; p++)
        for (int v = 0; v < (int)ROW_VECTORS; v++) {
            const R b_p = r_load(b + p * TGA_ROW + v * R_LANES);
            GEMM_UNROLL
            for (int i = 0; i < rows; i++)
                sum[i][v] = r_fma(a[i * a_row + p * a_step] - (R){0}, b_p, sum[i][v]);
        }
    if (bias)
        for (int v = 0; v < (int)ROW_VECTORS; v++) {
            const R bias_v = r_load(bias + v * R_LANES);
            GEMM_UNROLL
            for (int i = 0; i < rows; i++)
                sum[i][v] = sum[i][v] + bias_v;
        }
}

/* y (rows, ROW) = f(sum), f from x and two attributes; z (rows, ROW) = sum, if it is not NULL. */
static ALWAYS_INLINE void TN(rows_store)(const int rows, V (*f)(V, V, V), V a, V b,
                                         R sum[8][ROW_VECTORS], T *z, T *y)
{
#if VBYTES == 64 && T_BITS == 32
    /* two rows at once, since they are read so: a load must not wait for two stores */
    GEMM_UNROLL
    for (int i = 0; i < rows / 2; i++) {
        const V x = r_join(sum[2 * i][0], sum[2 * i + 1][0]);
        if (z)
            v_store(z + 2 * i * TGA_ROW, x);
        v_store(y + 2 * i * TGA_ROW, f(x, a, b));
    }
    if (rows % 2) {
        if (z)
            r_store(z + (rows - 1) * TGA_ROW, sum[rows - 1][0]);
        const V x = f(_mm512_castps256_ps512(sum[rows - 1][0]), a, b);
        r_store(y + (rows - 1) * TGA_ROW, _mm512_castps512_ps256(x));
    }
#else
    GEMM_UNROLL
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < (int)ROW_VECTORS; v++) {
            if (z)
                r_store(z + i * TGA_ROW + v * R_LANES, sum[i][v]);
            r_store(y + i * TGA_ROW + v * R_LANES, f(sum[i][v], a, b));
        }
#endif
}

static inline V TN(rows_identity)(V x, V unused_a, V unused_b) { return x; }

/* y (rows, ROW) = the sums, 0 from column `used` on. */
static ALWAYS_INLINE void TN(rows_block)(const int rows, int64_t depth, const T *a, int64_t a_row,
                                         int64_t a_step, const T *b, int64_t used, T *y)
{
    R sum[8][ROW_VECTORS];
    TN(rows_sums)(rows, depth, a, a_row, a_step, b, NULL, sum);
    if (used < TGA_ROW)
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < (int)ROW_VECTORS; v++)
                sum[i][v] = TN(r_first)(sum[i][v], v * R_LANES, used);
    TN(rows_store)(rows, TN(rows_identity), K(0), K(0), sum, NULL, y);
}

static ALWAYS_INLINE void TN(rows_product)(int64_t rows, int64_t depth, const T *a, int64_t a_row,
                                           int64_t a_step, const T *b, int64_t used, T *y)
{
    for (; rows > 0; rows -= 4, a += 4 * a_row, y += 4 * TGA_ROW) {
        switch (rows) {
        case 1:
            TN(rows_block)(1, depth, a, a_row, a_step, b, used, y);
            break;
        case 2:
            TN(rows_block)(2, depth, a, a_row, a_step, b, used, y);
            break;
        case 3:
            TN(rows_block)(3, depth, a, a_row, a_step, b, used, y);
            break;
        case 5:
            TN(rows_block)(5, depth, a, a_row, a_step, b, used, y);
            return;
        default:
            TN(rows_block)(4, depth, a, a_row, a_step, b, used, y);
        }
    }
}

/* ---- forward ------------------------------------------------------------------------------ */

/* The words of a call, in the order of tga_rows_forward: 0 op, 1 dtype, 2 m, 3 k, 4 x, 5 wt, 6 b,
 * 7 z, 8 y, 9 and 10 the activation's attributes.
 * x: (m, ROW), k columns used; wt: (k, ROW), n used; b: (ROW); z, y: (m, ROW), before and after
 * the activation; z may be NULL.  x, z and y have room for m rounded up to TGA_ROW_BLOCK: so
 * many rows are computed together, and of the last nobody reads what is too much. */
static ALWAYS_INLINE int TN(rows_forward)(V (*row)(V, V, V), const tga_word *v)
{
    const int64_t k = v[3].i;
    const T *x = v[4].p;
    T *z = v[7].p, *y = v[8].p;
    const V a1 = v_splat((T)v[9].d), a2 = v_splat((T)v[10].d);
    for (int64_t m = v[2].i; m > 0; m -= TGA_ROW_BLOCK) {
        R sum[8][ROW_VECTORS];
        TN(rows_sums)(TGA_ROW_BLOCK, k, x, TGA_ROW, 1, v[5].p, v[6].p, sum);
        TN(rows_store)(TGA_ROW_BLOCK, row, a1, a2, sum, z, y);
        x += TGA_ROW_BLOCK * TGA_ROW;
        y += TGA_ROW_BLOCK * TGA_ROW;
        if (z)
            z += TGA_ROW_BLOCK * TGA_ROW;
    }
    return TGA_OK;
}

/* ---- backward ----------------------------------------------------------------------------- */

/* The sum of at most four rows, neighbours first. */
static ALWAYS_INLINE R TN(sum_of_rows)(int64_t m, const T *g)
{
    if (m >= 4) /* first, for the XOR nets */
        return (r_load(g) + r_load(g + TGA_ROW)) +
               (r_load(g + 2 * TGA_ROW) + r_load(g + 3 * TGA_ROW));
    R sum = r_load(g);
    if (m > 1)
        sum = sum + r_load(g + TGA_ROW);
    return m > 2 ? sum + r_load(g + 2 * TGA_ROW) : sum;
}

/* gb[j] = sum over i < m of g[i][j], in the order of reduce.tmpl.h: fewer rows than lanes are
 * added as a tree, neighbours first; those are at most 16. */
static ALWAYS_INLINE void TN(rows_sum)(int64_t m, const T *g, T *gb)
{
    if (m >= VL) {
        TN(reduce_rows_loop)(TN(sum_combine), 0, m, TGA_ROW, g, TGA_ROW, gb);
        return;
    }
    for (int64_t at = 0; at < TGA_ROW; at += R_LANES, g += R_LANES, gb += R_LANES) {
        R sum = TN(sum_of_rows)(m, g);
        if (m > 4)
            sum = sum + TN(sum_of_rows)(m - 4, g + 4 * TGA_ROW);
        if (m > 8) {
            R rest = TN(sum_of_rows)(m - 8, g + 8 * TGA_ROW);
            if (m > 12)
                rest = rest + TN(sum_of_rows)(m - 12, g + 12 * TGA_ROW);
            sum = sum + rest;
        }
        r_store(gb, sum);
    }
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
        TN(rows_product)(m, n, g, TGA_ROW, 1, v[8].p, k, v[9].p);
    if (v[10].p) {
        TN(rows_product)(n, m, g, 1, TGA_ROW, x, TGA_ROW, v[10].p);
        TN(rows_product)(k, m, x, 1, TGA_ROW, g, TGA_ROW, v[11].p);
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
    TN(unary_backward_loop)(row, m * TGA_ROW, v[5].p, v[6].p, g, (T)v[13].d, (T)v[14].d, 0);
    TN(rows_gradients)(v, g);
    return TGA_OK;
}

/* ---- a loss with its gradient ------------------------------------------------------------- */

/* x with 0 in the elements whose column is not below n; its first is element `at` of some rows */
static inline V TN(rows_first)(V x, int64_t at, int64_t n)
{
    VI column;
    for (int64_t i = 0; i < VL; i++)
        column[i] = (I)((at + i) % TGA_ROW);
    return (V)((VI)x & (column < (I)n));
}

/* The words of a call, in the order of tga_rows_loss: 0 op, 1 dtype, 2 rows, 3 columns, 4 x, 5 t,
 * 6 a, 7 scale, 8 gy, 9 total, 10 gx.
 * x, t, gx: (rows, ROW), `columns` used; gy, total: one element.  The gradient comes first: the
 * layers before the loss wait for it, and for the sum nobody does. */
static ALWAYS_INLINE int TN(rows_loss)(V (*value)(V, V, V), V (*derivative)(V, V, V),
                                       const tga_word *v)
{
    const int64_t rows = v[2].i, columns = v[3].i, n = rows * TGA_ROW;
    const T *x = v[4].p, *t = v[5].p, *gy = v[8].p;
    T *total = v[9].p, *gx = v[10].p;
    const V a = v_splat((T)v[6].d), factor = v_splat((T)(v[7].d * (double)*gy));
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        const V g = factor * derivative(v_load(x + i), v_load(t + i), a);
        v_store(gx + i, TN(rows_first)(g, i, columns));
    }
    if (i < n) {
        const V g = factor * derivative(v_load_n(x + i, n - i), v_load_n(t + i, n - i), a);
        v_store_n(gx + i, TN(rows_first)(g, i, columns), n - i);
    }
    T plain_x[TGA_ROWS_MOST * TGA_ROW], plain_t[TGA_ROWS_MOST * TGA_ROW];
    for (i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            plain_x[i * columns + j] = x[i * TGA_ROW + j];
            plain_t[i * columns + j] = t[i * TGA_ROW + j];
        }
    const T sum = TN(sum_of)(value, rows * columns, plain_x, plain_t, a, NULL)[0];
    *total = (T)(v[7].d * (double)sum);
    return TGA_OK;
}

#ifndef ROWS_LOSS
#define ROWS_LOSS(name, ...)                                                                       \
    static int TN(name##_rows_loss)(const tga_word *v)                                             \
    {                                                                                              \
        return TN(rows_loss)(TN(name##_value), TN(name##_derivative), v);                          \
    }
#endif

#define LOSS ROWS_LOSS
#include "loss.def"

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
