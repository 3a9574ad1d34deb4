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

/* Two sums at once over a set: of x; of d = x - mean and d^2; or of gy and gy d. */
enum { STANDARDIZE_PLAIN, STANDARDIZE_SQUARES, STANDARDIZE_PRODUCTS };
typedef struct {
    double first, second;
} standardize_sums;

#define STANDARDIZE_TABLE(suffix)                                                                  \
    {                                                                                              \
        .forward = standardize_forward_##suffix, .backward = standardize_backward_##suffix,        \
    }

#endif

static ALWAYS_INLINE void TN(standardize_terms)(const int what, V x, V gy, V mean, V *first,
                                                V *second)
{
    const V d = x - mean;
    *first = what == STANDARDIZE_PRODUCTS ? gy : d;
    *second = what == STANDARDIZE_PRODUCTS ? gy * d : d * d;
}

/* Over n <= STANDARDIZE_CHUNK neighbours.  Four sums of each kind hide the time of an addition. */
static ALWAYS_INLINE void TN(standardize_add)(const int what, int64_t n, const T *x, const T *gy,
                                              V mean, standardize_sums *total)
{
    V a[4] = {{0}, {0}, {0}, {0}}, b[4] = {{0}, {0}, {0}, {0}}, first, second;
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL)
        for (int v = 0; v < 4; v++) {
            const int64_t at = i + v * VL;
            TN(standardize_terms)(what, v_load(x + at), gy ? v_load(gy + at) : mean, mean, &first,
                                  &second);
            a[v] += first;
            b[v] += second;
        }
    for (; i < n; i += VL) {
        const int64_t lanes = n - i < VL ? n - i : VL;
        const V vx = lanes == VL ? v_load(x + i) : v_load_or(x + i, lanes, mean);
        V vgy = {0};
        if (gy)
            vgy = lanes == VL ? v_load(gy + i) : v_load_n(gy + i, lanes);
        TN(standardize_terms)(what, vx, vgy, mean, &first, &second);
        a[0] += first;
        b[0] += second;
    }
    total->first += (double)v_hsum((a[0] + a[1]) + (a[2] + a[3]));
    if (what != STANDARDIZE_PLAIN)
        total->second += (double)v_hsum((b[0] + b[1]) + (b[2] + b[3]));
}

static ALWAYS_INLINE standardize_sums TN(standardize_total)(const int what, int64_t outer,
                                                            int64_t step, int64_t inner,
                                                            const T *x, const T *gy, T mean)
{
    standardize_sums total = {0, 0};
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i += STANDARDIZE_CHUNK) {
            const int64_t n = inner - i < STANDARDIZE_CHUNK ? inner - i : STANDARDIZE_CHUNK;
            const int64_t at = o * step + i;
            TN(standardize_add)(what, n, x + at, gy ? gy + at : NULL, v_splat(mean), &total);
        }
    return total;
}

/* The mean, and the variance around it: without Bessel's correction. */
static inline void TN(standardize_moments)(int64_t outer, int64_t step, int64_t inner,
                                           const T *x, double *mean, double *variance)
{
    const double count = (double)(outer * inner);
    const T first = (T)(TN(standardize_total)(STANDARDIZE_PLAIN, outer, step, inner, x, NULL, 0)
                            .first / count);
    /* once more around the first: what rounding took comes back */
    const standardize_sums around =
        TN(standardize_total)(STANDARDIZE_SQUARES, outer, step, inner, x, NULL, first);
    const double rest = around.first / count;
    *variance = around.second / count - rest * rest;
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
    const standardize_sums of_gy =
        TN(standardize_total)(STANDARDIZE_PRODUCTS, outer, step, inner, px, pgy, (T)m);
    const double g = of_gy.first / count, along = of_gy.second / count;
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
