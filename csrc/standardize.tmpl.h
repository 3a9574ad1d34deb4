/* standardize.tmpl.h: bring sets of numbers to mean 0 and variance 1, one set at a time.
 *
 * Parameters: those of vec.h.
 *
 * A set is `outer` runs of `inner` neighbours, `step` apart.  Sums go over a run, or the
 * 1024 elements of a long one that come next, in vectors; what comes out of it is added up
 * in double.
 */
#ifndef TGA_STANDARDIZE_TMPL_H
#define TGA_STANDARDIZE_TMPL_H

#define STANDARDIZE_CHUNK 1024

#define STANDARDIZE_TABLE(suffix)                                                                  \
    {                                                                                              \
        .forward = standardize_forward_##suffix, .backward = standardize_backward_##suffix,        \
    }

#endif

/* Sums over n <= STANDARDIZE_CHUNK elements of x - mean, its square, and their products with gy. */
static ALWAYS_INLINE T TN(standardize_sum)(const int what, int64_t n, const T *x, const T *gy,
                                           T mean)
{
    V sum[2] = {{0}, {0}};
    const V m = v_splat(mean);
    for (int64_t i = 0, which = 0; i < n; i += VL, which ^= 1) {
        const int64_t lanes = n - i;
        V d = (lanes < VL ? v_load_n(x + i, lanes) : v_load(x + i)) - m;
        if (what == 1)
            d = d * d;
        if (what == 2)
            d = d * (lanes < VL ? v_load_n(gy + i, lanes) : v_load(gy + i));
        sum[which] += lanes < VL ? v_first_n(d, lanes) : d;
    }
    return v_hsum(sum[0] + sum[1]);
}

/* The same over a whole set. */
static ALWAYS_INLINE double TN(standardize_total)(const int what, int64_t outer, int64_t step,
                                                  int64_t inner, const T *x, const T *gy, T mean)
{
    double total = 0;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i += STANDARDIZE_CHUNK) {
            const int64_t n = inner - i < STANDARDIZE_CHUNK ? inner - i : STANDARDIZE_CHUNK;
            const int64_t at = o * step + i;
            total += (double)TN(standardize_sum)(what, n, x + at, gy ? gy + at : NULL, mean);
        }
    return total;
}

/* The mean, and the variance around it: without Bessel's correction. */
static inline void TN(standardize_moments)(int64_t outer, int64_t step, int64_t inner,
                                           const T *x, double *mean, double *variance)
{
    const double count = (double)(outer * inner);
    const T first = (T)(TN(standardize_total)(0, outer, step, inner, x, NULL, 0) / count);
    /* once more around the first: what rounding took comes back */
    const double rest = TN(standardize_total)(0, outer, step, inner, x, NULL, first) / count;
    *variance = TN(standardize_total)(1, outer, step, inner, x, NULL, first) / count - rest * rest;
    if (*variance < 0)
        *variance = 0;
    *mean = (double)first + rest;
}

/* y = (x - mean) / sqrt(variance + eps), or NULL; mean, variance: one element, or NULL */
static void TN(standardize_forward)(int64_t outer, int64_t step, int64_t inner, double eps,
                                    const void *px, void *py, void *mean, void *variance)
{
    double m, v;
    TN(standardize_moments)(outer, step, inner, px, &m, &v);
    const V centre = v_splat((T)m), scale = v_splat((T)(1 / __builtin_sqrt(v + eps)));
    for (int64_t o = 0; py && o < outer; o++) {
        const T *x = (const T *)px + o * step;
        T *y = (T *)py + o * step;
        int64_t i = 0;
        for (; i + VL <= inner; i += VL)
            v_store(y + i, (v_load(x + i) - centre) * scale);
        if (i < inner)
            v_store_n(y + i, (v_load_n(x + i, inner - i) - centre) * scale, inner - i);
    }
    if (mean)
        *(T *)mean = (T)m;
    if (variance)
        *(T *)variance = (T)v;
}

/* gx = (gy - mean(gy) - y * mean(gy * y)) / sqrt(variance + eps) */
static void TN(standardize_backward)(int64_t outer, int64_t step, int64_t inner, double eps,
                                     const void *pgy, const void *px, void *pgx)
{
    const double count = (double)(outer * inner);
    double m, v;
    TN(standardize_moments)(outer, step, inner, px, &m, &v);
    const double g = TN(standardize_total)(0, outer, step, inner, pgy, NULL, 0) / count;
    const double along = TN(standardize_total)(2, outer, step, inner, px, pgy, (T)m) / count;
    const V centre = v_splat((T)m), mean = v_splat((T)g);
    const V slope = v_splat((T)(along / (v + eps)));
    const V scale = v_splat((T)(1 / __builtin_sqrt(v + eps)));
    for (int64_t o = 0; o < outer; o++) {
        const T *x = (const T *)px + o * step, *gy = (const T *)pgy + o * step;
        T *gx = (T *)pgx + o * step;
        int64_t i = 0;
        for (; i + VL <= inner; i += VL)
            v_store(gx + i,
                    (v_load(gy + i) - mean - (v_load(x + i) - centre) * slope) * scale);
        if (i < inner) {
            const int64_t n = inner - i;
            v_store_n(gx + i,
                      (v_load_n(gy + i, n) - mean - (v_load_n(x + i, n) - centre) * slope) * scale,
                      n);
        }
    }
}
