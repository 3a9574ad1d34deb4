/* softmax.tmpl.h: softmax and log-softmax of the rows of a matrix.
 *
 * Parameters: those of vec.h.  x, y, gy, gx are (rows, n) and contiguous.
 *
 *     softmax       y = exp(x - top) / s             gx = y * (gy - sum(gy * y))
 *     log-softmax   y = (x - top) - log(s)           gx = gy - exp(y) * sum(gy)
 *
 * with top = max(x) and s = sum(exp(x - top)) over the row: no exponential is
 * greater than 1, and one is 1.  A row's result depends on that row alone, and
 * its sums have the order of reduce.tmpl.h.  A row of -inf, or with +inf or nan,
 * gives nan.
 *
 * A row of up to SOFTMAX_FEW vectors stays in registers from beginning to end; a
 * longer one is read again from the cache.
 */

#ifndef SOFTMAX_FEW
#define SOFTMAX_FEW 4
#endif

/* exp(z) for z <= 0.  Where it is nothing, as it is for masked elements, it is not
 * computed: arithmetic that underflows is many times slower on some processors. */
static inline V TN(softmax_exp)(V z)
{
    const M nothing = v_lt(z, K(T_BITS == 32 ? -104 : -746)); /* less than half of the least T */
    return v_select(nothing, K(0), v_exp_negative(v_select(nothing, K(0), z)));
}
static inline V TN(softmax_exp_of_row)(V x, V unused, V top) { return TN(softmax_exp)(x - top); }
/* Loses a nan, but then sum(exp(x - top)) is nan whatever top is. */
static inline V TN(softmax_max)(V x, V y) { return v_max(x, y); }
static inline V TN(softmax_product)(V gy, V y, V unused) { return gy * y; }

/* ---- rows of a few vectors ---------------------------------------------------- */
/* `count` is a constant, so arrays of that many vectors are registers.  Element
 * k of the last vector is missing for k >= last. */

static ALWAYS_INLINE void TN(softmax_load)(int count, int64_t last, const T *x, T missing, V *to)
{
    for (int k = 0; k < count - 1; k++)
        to[k] = v_load(x + k * VL);
    const T *tail = x + (count - 1) * VL;
    to[count - 1] = last == VL ? v_load(tail) : v_load_or(tail, last, v_splat(missing));
}

static ALWAYS_INLINE void TN(softmax_store)(int count, int64_t last, const V *from, T *y)
{
    for (int k = 0; k < count - 1; k++)
        v_store(y + k * VL, from[k]);
    if (last == VL)
        v_store(y + (count - 1) * VL, from[count - 1]);
    else
        v_store_n(y + (count - 1) * VL, from[count - 1], last);
}

/* Over all lanes of the row, one vector after another as in a chunk of reduce.tmpl.h. */
static ALWAYS_INLINE V TN(softmax_combine)(V (*combine)(V, V), int count, const V *x)
{
    V y = x[0];
    for (int k = 1; k < count; k++)
        y = combine(y, x[k]);
    return TN(reduce_lanes)(combine, y);
}

/* VL rows at a time, in short loops whose steps do not wait for each other. */
static ALWAYS_INLINE void TN(softmax_few)(int log, int count, int64_t rows, int64_t n, const T *x,
                                          T *y)
{
    const int64_t last = n - (count - 1) * VL;
    V z[VBYTES / sizeof(T)][SOFTMAX_FEW]; /* first x, then x - top or its exponential */
    T top[VBYTES / sizeof(T)], sum[VBYTES / sizeof(T)], scale[VBYTES / sizeof(T)];
    v_store(sum, K(1));
    for (int64_t here; rows > 0; rows -= here, x += here * n, y += here * n) {
        here = rows < VL ? rows : VL;
        for (int64_t i = 0; i < here; i++) {
            TN(softmax_load)(count, last, x + i * n, -INFINITY, z[i]);
            top[i] = TN(softmax_combine)(TN(softmax_max), count, z[i])[0];
        }
        for (int64_t i = 0; i < here; i++) {
            V e[SOFTMAX_FEW];
            for (int k = 0; k < count; k++) {
                z[i][k] = z[i][k] - v_splat(top[i]);
                e[k] = TN(softmax_exp)(z[i][k]); /* 0 where there is no element */
                if (!log)
                    z[i][k] = e[k];
            }
            sum[i] = TN(softmax_combine)(TN(sum_combine), count, e)[0];
        }
        v_store(scale, log ? v_log(v_load(sum)) : K(1) / v_load(sum));
        for (int64_t i = 0; i < here; i++) {
            for (int k = 0; k < count; k++)
                z[i][k] = log ? z[i][k] - v_splat(scale[i]) : z[i][k] * v_splat(scale[i]);
            TN(softmax_store)(count, last, z[i], y + i * n);
        }
    }
}

static ALWAYS_INLINE void TN(softmax_backward_few)(int log, int count, int64_t rows, int64_t n,
                                                   const T *gy, const T *y, T *gx)
{
    const int64_t last = n - (count - 1) * VL;
    for (; rows > 0; rows--, gy += n, y += n, gx += n) {
        V g[SOFTMAX_FEW], p[SOFTMAX_FEW], product[SOFTMAX_FEW];
        TN(softmax_load)(count, last, gy, 0, g);
        TN(softmax_load)(count, last, y, 0, p);
        for (int k = 0; k < count; k++)
            product[k] = g[k] * p[k];
        const V sum = TN(softmax_combine)(TN(sum_combine), count, log ? g : product);
        for (int k = 0; k < count; k++)
            g[k] = log ? g[k] - v_exp(p[k]) * sum : p[k] * (g[k] - sum);
        TN(softmax_store)(count, last, g, gx);
    }
}

/* ---- rows of any length --------------------------------------------------------- */

static ALWAYS_INLINE void TN(softmax_row)(int log, int64_t n, const T *x, T *y)
{
    const V top = v_splat(TN(reduce_row)(TN(softmax_max), -INFINITY, n, x));
    const V sum = TN(sum_of)(TN(softmax_exp_of_row), n, x, x, top, log ? NULL : y);
    const V scale = log ? v_log(sum) : K(1) / sum;
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(y + i, log ? (v_load(x + i) - top) - scale : v_load(y + i) * scale);
    if (i < n)
        v_store_n(y + i, log ? (v_load_n(x + i, n - i) - top) - scale
                             : v_load_n(y + i, n - i) * scale, n - i);
}

static ALWAYS_INLINE void TN(softmax_backward_row)(int log, int64_t n, const T *gy, const T *y,
                                                   T *gx)
{
    const V sum = log ? v_splat(TN(reduce_row)(TN(sum_combine), 0, n, gy))
                      : TN(sum_of)(TN(softmax_product), n, gy, y, K(0), NULL);
    for (int64_t i = 0; i < n; i += VL) {
        const int64_t here = n - i < VL ? n - i : VL;
        const V g = here == VL ? v_load(gy + i) : v_load_n(gy + i, here);
        const V p = here == VL ? v_load(y + i) : v_load_n(y + i, here);
        const V result = log ? g - v_exp(p) * sum : p * (g - sum);
        if (here == VL)
            v_store(gx + i, result);
        else
            v_store_n(gx + i, result, here);
    }
}

/* ---- the kernels ------------------------------------------------------------------ */

static ALWAYS_INLINE void TN(softmax_rows)(int log, int64_t rows, int64_t n, const T *x, T *y)
{
    switch ((n + VL - 1) / VL) {
    case 1:
        TN(softmax_few)(log, 1, rows, n, x, y);
        break;
    case 2:
        TN(softmax_few)(log, 2, rows, n, x, y);
        break;
    case 3:
        TN(softmax_few)(log, 3, rows, n, x, y);
        break;
    case SOFTMAX_FEW:
        TN(softmax_few)(log, SOFTMAX_FEW, rows, n, x, y);
        break;
    default:
        for (; rows > 0; rows--, x += n, y += n)
            TN(softmax_row)(log, n, x, y);
    }
}

static ALWAYS_INLINE void TN(softmax_backward_rows)(int log, int64_t rows, int64_t n, const T *gy,
                                                    const T *y, T *gx)
{
    switch ((n + VL - 1) / VL) {
    case 1:
        TN(softmax_backward_few)(log, 1, rows, n, gy, y, gx);
        break;
    case 2:
        TN(softmax_backward_few)(log, 2, rows, n, gy, y, gx);
        break;
    case 3:
        TN(softmax_backward_few)(log, 3, rows, n, gy, y, gx);
        break;
    case SOFTMAX_FEW:
        TN(softmax_backward_few)(log, SOFTMAX_FEW, rows, n, gy, y, gx);
        break;
    default:
        for (; rows > 0; rows--, gy += n, y += n, gx += n)
            TN(softmax_backward_row)(log, n, gy, y, gx);
    }
}

static void TN(softmax_forward)(int64_t rows, int64_t n, const void *x, void *y)
{
    TN(softmax_rows)(0, rows, n, x, y);
}
static void TN(log_softmax_forward)(int64_t rows, int64_t n, const void *x, void *y)
{
    TN(softmax_rows)(1, rows, n, x, y);
}
static void TN(softmax_backward)(int64_t rows, int64_t n, const void *gy, const void *y, void *gx)
{
    TN(softmax_backward_rows)(0, rows, n, gy, y, gx);
}
static void TN(log_softmax_backward)(int64_t rows, int64_t n, const void *gy, const void *y,
                                     void *gx)
{
    TN(softmax_backward_rows)(1, rows, n, gy, y, gx);
}

/* ---- columns ------------------------------------------------------------------------ */
/* A line is a column here, of a matrix of which few columns are worked on together, so that
 * they stay in a cache; the terms of sums wait where the result will be.  x, y, gy, gx: (n,
 * columns), a row every `step` elements.  The bits are those of a row. */

static ALWAYS_INLINE void TN(softmax_of_columns)(int log, int64_t n, int64_t columns, int64_t step,
                                                 const T *x, T *y)
{
    const int64_t lanes = columns < VL ? columns : VL;
    T top[TGA_COLUMN_BYTES / sizeof(T)], scale[TGA_COLUMN_BYTES / sizeof(T)];
    TN(reduce_columns)(TN(softmax_max), -INFINITY, n, columns, x, step, top, lanes);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < columns; j += VL) {
            const V z = TN(load_some)(x + i * step + j, columns - j) -
                        TN(load_some)(top + j, columns - j);
            TN(store_some)(y + i * step + j, TN(softmax_exp)(z), columns - j);
        }
    TN(reduce_columns)(TN(sum_combine), 0, n, columns, y, step, scale, lanes);
    for (int64_t j = 0; j < columns; j += VL) {
        const V sum = TN(load_some)(scale + j, columns - j);
        TN(store_some)(scale + j, log ? v_log(sum) : K(1) / sum, columns - j);
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < columns; j += VL) {
            const int64_t at = i * step + j, here = columns - j;
            const V s = TN(load_some)(scale + j, here);
            TN(store_some)(y + at, log ? (TN(load_some)(x + at, here) - TN(load_some)(top + j, here)) - s
                                       : TN(load_some)(y + at, here) * s, here);
        }
}

static ALWAYS_INLINE void TN(softmax_backward_of_columns)(int log, int64_t n, int64_t columns,
                                                          int64_t step, const T *gy, const T *y,
                                                          T *gx)
{
    const int64_t lanes = columns < VL ? columns : VL;
    T sum[TGA_COLUMN_BYTES / sizeof(T)];
    for (int64_t i = 0; i < (log ? 0 : n); i++)
        for (int64_t j = 0; j < columns; j += VL) {
            const int64_t at = i * step + j, here = columns - j;
            const V g = TN(load_some)(gy + at, here), p = TN(load_some)(y + at, here);
            TN(store_some)(gx + at, g * p, here);
        }
    TN(reduce_columns)(TN(sum_combine), 0, n, columns, log ? gy : gx, step, sum, lanes);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < columns; j += VL) {
            const int64_t at = i * step + j, here = columns - j;
            const V g = TN(load_some)(gy + at, here), p = TN(load_some)(y + at, here);
            const V s = TN(load_some)(sum + j, here);
            TN(store_some)(gx + at, log ? g - v_exp(p) * s : p * (g - s), here);
        }
}

#ifndef SOFTMAX_COLUMNS
#define SOFTMAX_COLUMNS(name, log)                                                                 \
    static void TN(name##_columns)(int64_t count, int64_t n, int64_t columns, int64_t step,        \
                                   double unused, const void *none, const void *no, const void *x, \
                                   const void *t, void *y)                                         \
    {                                                                                              \
        for (int64_t i = 0; i < count; i++)                                                        \
            TN(softmax_of_columns)(log, n, columns, step, (const T *)x + i * n * step,             \
                                   (T *)y + i * n * step);                                         \
    }                                                                                              \
    static void TN(name##_columns_backward)(int64_t count, int64_t n, int64_t columns,             \
                                            int64_t step, double unused, const void *none,         \
                                            const void *no, const void *gy, const void *y,         \
                                            void *gx)                                              \
    {                                                                                              \
        for (int64_t i = 0; i < count; i++)                                                        \
            TN(softmax_backward_of_columns)                                                        \
            (log, n, columns, step, (const T *)gy + i * n * step, (const T *)y + i * n * step,     \
             (T *)gx + i * n * step);                                                              \
    }
#endif
SOFTMAX_COLUMNS(softmax, 0)
SOFTMAX_COLUMNS(log_softmax, 1)
