/* rows.tmpl.h: what needs all of a row more than once: variance, length, log of a sum of exp, and
 * the backward of what becomes of a row; and the first of a row beyond a bound, for topk.
 *
 * Parameters: those of vec.h.  Forward, x is (rows, n) and contiguous, y (rows).
 *
 *     var         y = sum((x - mean)^2) / divisor      gx = gy factor (x - mean)
 *     norm        y = sqrt(sum(x^2))                   gx = gy x / y
 *     logsumexp   y = log(sum(exp(x)))                 gx = gy exp(x - y)
 *     extreme     y = max(x) or min(x)                 gx = gy / count where x = y, else 0
 *     prod        y = product of x                     gx = gy times the product of all others
 *
 * Backward works along columns, too.  A row's, or column's, result depends on that alone; its sums
 * have the order of reduce.tmpl.h.
 */

#ifndef TGA_ROWS_TMPL_H
#define TGA_ROWS_TMPL_H

/* What backward along a line sums first: nothing, its elements, or how many are extreme. */
enum { LINE_NO_SUM, LINE_SUM, LINE_COUNT };

#endif

/* For TN(sum_of): a term of the sum, from x[i] and a constant. */
static inline V TN(squared_distance)(V x, V unused, V center)
{
    const V d = x - center;
    return d * d;
}
static inline V TN(squared_scaled)(V x, V unused, V scale)
{
    const V z = x * scale;
    return z * z;
}
static inline V TN(larger_size)(V x, V y) { return v_maximum(v_abs(x), v_abs(y)); }

static ALWAYS_INLINE T TN(mean_of_row)(int64_t n, const T *x)
{
    return TN(reduce_row)(TN(sum_combine), 0, n, x) / (T)n;
}

/* The mean is subtracted first: squares of large numbers would cancel. */
static void TN(var_forward)(int64_t rows, int64_t n, double divisor, const void *px, void *py)
{
    const T *x = px;
    T *y = py;
    for (int64_t i = 0; i < rows; i++, x += n) {
        const V mean = v_splat(TN(mean_of_row)(n, x));
        y[i] = TN(sum_of)(TN(squared_distance), n, x, x, mean, NULL)[0] / (T)divisor;
    }
}

/* Where squares would overflow or vanish, the row is scaled by a power of 2. */
static void TN(norm_forward)(int64_t rows, int64_t n, double unused, const void *px, void *py)
{
    const T limit = T_BITS == 32 ? (T)0x1p+45 : (T)0x1p+450;
    const T up = T_BITS == 32 ? (T)0x1p+100 : (T)0x1p+700;
    const T *x = px;
    T *y = py;
    for (int64_t i = 0; i < rows; i++, x += n) {
        const T plain = TN(sum_of)(TN(squared_scaled), n, x, x, K(1), NULL)[0];
        if (plain >= (T)n / (limit * limit) && plain <= limit * limit) { /* so is the largest */
            y[i] = v_sqrt(v_splat(plain))[0];
            continue;
        }
        const T top = TN(reduce_row)(TN(larger_size), 0, n, x);
        if (!(top > 0 && top < (T)INFINITY)) { /* nothing, infinite or nan */
            y[i] = top;
            continue;
        }
        const T scale = top > limit ? 1 / up : top < 1 / limit ? up : 1;
        const V sum = TN(sum_of)(TN(squared_scaled), n, x, x, v_splat(scale), NULL);
        y[i] = v_sqrt(sum)[0] / scale;
    }
}

/* exp of the differences from the largest, which do not overflow. */
static void TN(logsumexp_forward)(int64_t rows, int64_t n, double unused, const void *px, void *py)
{
    const T *x = px;
    T *y = py;
    for (int64_t i = 0; i < rows; i++, x += n) {
        const T top = TN(reduce_row)(TN(max_combine), -INFINITY, n, x);
        if (!(top > (T)-INFINITY && top < (T)INFINITY)) { /* all -inf, any inf or nan */
            y[i] = top;
            continue;
        }
        const V sum = TN(sum_of)(TN(softmax_exp_of_row), n, x, x, v_splat(top), NULL);
        y[i] = top + v_log(sum)[0];
    }
}

/* Which is the first of n that comes before the bound: is larger, or, ascending, smaller, where
 * nan is the largest of all; n if there is none. */
static ALWAYS_INLINE uint64_t TN(beyond_bits)(const T *x, V bound, int descending)
{
    const uint64_t all = ((uint64_t)1 << VL) - 1;
    return descending ? v_bits(v_le(v_load(x), bound)) ^ all : v_bits(v_lt(v_load(x), bound));
}
static int64_t TN(beyond)(int64_t n, const void *px, const void *pbound, int descending)
{
    const T *x = px;
    T bound;
    memcpy(&bound, pbound, sizeof bound);
    int64_t i = 0;
    const V limit = v_splat(bound);
    for (; bound == bound && i + 4 * VL <= n; i += 4 * VL) { /* four at a time: up to 64 bits */
        uint64_t bits = 0;
        for (int k = 0; k < 4; k++)
            bits |= TN(beyond_bits)(x + i + k * VL, limit, descending) << k * VL;
        if (bits)
            return i + __builtin_ctzll(bits);
    }
    for (; i < n; i++)
        if (descending ? bound == bound && !(x[i] <= bound)
                       : x[i] < bound || (bound != bound && x[i] == x[i]))
            break;
    return i;
}

/* ---- backward along lines ------------------------------------------------------------ */
/* x, gx: (n, columns), a row every `step` elements; gy, y: (columns); a row is one column with a
 * step of 1, and its elements take the lanes.  Each kernel says
 *   per_line      what an element needs to know of its line: a, b from gy, y and a number c that
 *                 was summed over the line first: mean or count, or nothing
 *   per_element   gx, from x, a, b */

static inline V TN(equals)(V x, V unused, V y) { return v_select(v_eq(x, y), K(1), K(0)); }

typedef struct {
    V a, b;
} TN(line);

static ALWAYS_INLINE void TN(line_backward_row)(int summed,
                                                TN(line) (*per_line)(V gy, V y, V sum, V number),
                                                V (*per_element)(V x, V a, V b), int64_t n,
                                                double number, T gy, T y, const T *x, T *gx)
{
    V sum = K(0);
    if (summed == LINE_SUM)
        sum = v_splat(TN(mean_of_row)(n, x));
    else if (summed == LINE_COUNT)
        sum = TN(sum_of)(TN(equals), n, x, x, v_splat(y), NULL);
    const TN(line) l = per_line(v_splat(gy), v_splat(y), sum, v_splat((T)number));
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(gx + i, per_element(v_load(x + i), l.a, l.b));
    if (i < n)
        v_store_n(gx + i, per_element(v_load_n(x + i, n - i), l.a, l.b), n - i);
}

static ALWAYS_INLINE void TN(line_backward_columns)(
    int summed, TN(line) (*per_line)(V gy, V y, V sum, V number),
    V (*per_element)(V x, V a, V b), int64_t n, int64_t columns, int64_t step, double number,
    const T *gy, const T *y, const T *x, T *gx)
{
    const int64_t lanes = columns < VL ? columns : VL;
    T sum[TGA_COLUMN_BYTES / sizeof(T)] = {0};
    TN(line) l[REDUCE_WIDTH];
    if (summed == LINE_COUNT) /* what is counted waits where the result will be */
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < columns; j += VL) {
                const V top = TN(load_some)(y + j, columns - j);
                const V is = TN(equals)(TN(load_some)(x + i * step + j, columns - j), top, top);
                TN(store_some)(gx + i * step + j, is, columns - j);
            }
    if (summed != LINE_NO_SUM)
        TN(reduce_columns)(TN(sum_combine), 0, n, columns, summed == LINE_SUM ? x : gx, step, sum,
                           lanes);
    for (int64_t j = 0; j < columns; j += VL) {
        const V total = TN(load_some)(sum + j, columns - j);
        l[j / VL] = per_line(TN(load_some)(gy + j, columns - j),
                             y ? TN(load_some)(y + j, columns - j) : K(0),
                             summed == LINE_SUM ? total / v_splat((T)n) : total, v_splat((T)number));
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < columns; j += VL) {
            const V value = TN(load_some)(x + i * step + j, columns - j);
            TN(store_some)(gx + i * step + j, per_element(value, l[j / VL].a, l[j / VL].b),
                           columns - j);
        }
}

#ifndef LINE_BACKWARD
#define LINE_BACKWARD(name, summed)                                                                \
    static void TN(name##_backward)(int64_t count, int64_t n, int64_t columns, int64_t step,       \
                                    double number, const void *pgy, const void *py,                \
                                    const void *px, const void *none, void *pgx)                   \
    {                                                                                              \
        const T *gy = pgy, *y = py, *x = px;                                                       \
        T *gx = pgx;                                                                               \
        for (int64_t i = 0; i < count; i++) {                                                      \
            const int64_t one = i * step, all = i * n * step;                                      \
            if (step == 1)                                                                         \
                TN(line_backward_row)                                                              \
                (summed, TN(name##_line), TN(name##_element), n, number, gy[one], y ? y[one] : 0,  \
                 x + all, gx + all);                                                               \
            else                                                                                   \
                TN(line_backward_columns)                                                          \
                (summed, TN(name##_line), TN(name##_element), n, columns, step, number, gy + one,  \
                 y ? y + one : NULL, x + all, gx + all);                                           \
        }                                                                                          \
    }
#endif

static inline TN(line) TN(var_line)(V gy, V y, V mean, V factor)
{
    return (TN(line)){gy * factor, mean};
}
static inline V TN(var_element)(V x, V g, V mean) { return g * (x - mean); }
LINE_BACKWARD(var, LINE_SUM)

/* Where the length is 0, so is x: divided by infinity. */
static inline TN(line) TN(norm_line)(V gy, V y, V unused, V number)
{
    return (TN(line)){gy, v_select(v_eq(y, K(0)), K(INFINITY), y)};
}
static inline V TN(norm_element)(V x, V g, V length) { return g * (x / length); }
LINE_BACKWARD(norm, LINE_NO_SUM)

static inline TN(line) TN(logsumexp_line)(V gy, V y, V unused, V number)
{
    return (TN(line)){gy, y};
}
static inline V TN(logsumexp_element)(V x, V g, V y) { return g * v_exp(x - y); }
LINE_BACKWARD(logsumexp, LINE_NO_SUM)

/* With a nan nothing equals it: all get 0 times infinity. */
static inline TN(line) TN(extreme_line)(V gy, V y, V count, V number)
{
    return (TN(line)){gy / count, y};
}
static inline V TN(extreme_element)(V x, V share, V y) { return TN(equals)(x, y, y) * share; }
LINE_BACKWARD(extreme, LINE_COUNT)

/* ---- products of all others ------------------------------------------------------------ */
/* Nothing is divided, so x may be 0: what comes before an element times what comes after it. */

/* Lanes are apart until the end: before and after are those of a lane, and a lane's own product
 * meets those of all other lanes. */
static inline void TN(prod_backward_row)(int64_t n, T gy, const T *x, T *gx)
{
    const V g = v_splat(gy);
    const int64_t last = (n - 1) / VL * VL; /* begin of the last vector, which may be cut */
    const V tail = n - last == VL ? v_load(x + last) : v_load_or(x + last, n - last, K(1));
    V all = K(1);
    for (int64_t i = 0; i < last; i += VL) {
        v_store(gx + i, all);
        all = all * v_load(x + i);
    }
    V after = K(1), block = all * tail; /* of a lane; then of 2, 4 ... neighbours */
    for (int d = 1; d < VL; d *= 2) {
        const V other = v_swap(block, d);
        after = after * other;
        block = block * other;
    }
    TN(store_some)(gx + last, g * (all * after), n - last);
    after = after * tail;
    for (int64_t i = last - VL; i >= 0; i -= VL) {
        v_store(gx + i, g * (v_load(gx + i) * after));
        after = after * v_load(x + i);
    }
}

/* What is a lane there is every VL-th row here, so that a column has the result of a row. */
static inline void TN(prod_backward_columns)(int64_t n, int64_t columns, int64_t step, const T *gy,
                                             const T *x, T *gx)
{
    V all[VBYTES / sizeof(T)][REDUCE_WIDTH], after[VBYTES / sizeof(T)][REDUCE_WIDTH];
    const int64_t width = (columns + VL - 1) / VL;
    int64_t lanes = 1; /* those that have rows; all others are 1 */
    while (lanes < VL && lanes < n)
        lanes *= 2;
    for (int64_t l = 0; l < lanes; l++)
        for (int64_t k = 0; k < width; k++)
            all[l][k] = after[l][k] = K(1);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < width; k++) {
            const int64_t at = i * step + k * VL, here = columns - k * VL;
            V *lane = &all[i % VL][k];
            TN(store_some)(gx + at, *lane, here);
            *lane = *lane * TN(load_some)(x + at, here);
        }
    for (int64_t d = 1; d < lanes; d *= 2)
        for (int64_t l = 0; l < lanes; l++)
            for (int64_t k = 0; k < width && !(l & d); k++) {
                const V one = all[l][k], other = all[l + d][k];
                after[l][k] = after[l][k] * other;
                after[l + d][k] = after[l + d][k] * one;
                all[l][k] = all[l + d][k] = one * other;
            }
    for (int64_t i = n - 1; i >= 0; i--)
        for (int64_t k = 0; k < width; k++) {
            const int64_t at = i * step + k * VL, here = columns - k * VL;
            V *lane = &after[i % VL][k];
            const V others = TN(load_some)(gx + at, here) * *lane;
            TN(store_some)(gx + at, TN(load_some)(gy + k * VL, here) * others, here);
            *lane = *lane * TN(load_some)(x + at, here);
        }
}

static void TN(prod_backward)(int64_t count, int64_t n, int64_t columns, int64_t step,
                              double number, const void *pgy, const void *y, const void *px,
                              const void *none, void *pgx)
{
    const T *gy = pgy, *x = px;
    T *gx = pgx;
    for (int64_t i = 0; i < count; i++)
        if (step == 1)
            TN(prod_backward_row)(n, gy[i], x + i * n, gx + i * n);
        else
            TN(prod_backward_columns)
            (n, columns, step, gy + i * step, x + i * n * step, gx + i * n * step);
}
