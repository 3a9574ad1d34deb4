/* rows.tmpl.h: what needs all of a row more than once: variance, length, log of a sum of exp,
 * the largest few.
 *
 * Parameters: those of vec.h.  x, gx are (rows, n) and contiguous; y, gy (rows).
 *
 *     var         y = sum((x - mean)^2) / divisor      gx = gy factor (x - mean)
 *     norm        y = sqrt(sum(x^2))
 *     logsumexp   y = log(sum(exp(x)))                 gx = gy exp(x - y)
 *
 * A row's result depends on that row alone; its sums have the order of reduce.tmpl.h.
 */

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

static void TN(var_backward)(int64_t rows, int64_t n, double factor, const void *pgy,
                             const void *px, void *pgx)
{
    const T *gy = pgy, *x = px;
    T *gx = pgx;
    for (int64_t i = 0; i < rows; i++, x += n, gx += n) {
        const V mean = v_splat(TN(mean_of_row)(n, x)), g = v_splat(gy[i] * (T)factor);
        int64_t k = 0;
        for (; k + VL <= n; k += VL)
            v_store(gx + k, g * (v_load(x + k) - mean));
        if (k < n)
            v_store_n(gx + k, g * (v_load_n(x + k, n - k) - mean), n - k);
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

static void TN(logsumexp_backward)(int64_t rows, int64_t n, const void *pgy, const void *py,
                                   const void *px, void *pgx)
{
    const T *gy = pgy, *y = py, *x = px;
    T *gx = pgx;
    for (int64_t i = 0; i < rows; i++, x += n, gx += n) {
        const V g = v_splat(gy[i]), total = v_splat(y[i]);
        int64_t k = 0;
        for (; k + VL <= n; k += VL)
            v_store(gx + k, g * v_exp(v_load(x + k) - total));
        if (k < n)
            v_store_n(gx + k, g * v_exp(v_load_n(x + k, n - k) - total), n - k);
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
