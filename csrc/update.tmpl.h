/* update.tmpl.h: one step of an optimizer on one tensor, in place; clipping.
 *
 * Parameters: those of vec.h.
 *
 * p: the parameter; g: its gradient; the others: what the optimizer remembers of
 * earlier steps; all (n).  r: the rates, as update.c has prepared them.  Products
 * and sums are rounded one by one, as by the same step written with tensors, so
 * that an element's value does not depend on where it stands or on the
 * instruction set.
 */

/* The n <= VL elements at x, and back. */
static ALWAYS_INLINE V TN(update_load)(const T *x, int64_t n)
{
    return n == VL ? v_load(x) : v_load_n(x, n);
}
static ALWAYS_INLINE void TN(update_store)(T *x, V value, int64_t n)
{
    if (n == VL)
        v_store(x, value);
    else
        v_store_n(x, value, n);
}
/* For each vector of n elements: it begins at i and has k elements. */
#ifndef EACH_VECTOR
#define EACH_VECTOR(n, i, k)                                                                       \
    for (int64_t i = 0, k; i < (n) && (k = (n) - i < VL ? (n) - i : VL, 1); i += VL)
#endif

/* The gradient with weight decay as the gradient of weight_decay / 2 * p**2. */
static ALWAYS_INLINE V TN(decayed)(V g, V p, const tga_update_rates *r)
{
    return r->weight_decay != 0 ? g + v_splat((T)r->weight_decay) * p : g;
}

/* p -= lr * g */
static void TN(sgd)(int64_t n, void *pp, const void *pg, void *unused_s, void *unused_t,
                    const tga_update_rates *r)
{
    T *p = pp;
    const T *g = pg;
    const V lr = v_splat((T)r->lr);
    (void)unused_s, (void)unused_t;
    EACH_VECTOR (n, i, k) {
        const V x = TN(update_load)(p + i, k);
        TN(update_store)(p + i, x - lr * TN(decayed)(TN(update_load)(g + i, k), x, r), k);
    }
}

/* v = momentum * v + g;  p -= lr * v, or lr * (g + momentum * v) with nesterov */
static void TN(momentum)(int64_t n, void *pp, const void *pg, void *pv, void *unused_t,
                         const tga_update_rates *r)
{
    T *p = pp, *v = pv;
    const T *g = pg;
    const V lr = v_splat((T)r->lr), momentum = v_splat((T)r->momentum);
    (void)unused_t;
    EACH_VECTOR (n, i, k) {
        const V x = TN(update_load)(p + i, k);
        const V gx = TN(decayed)(TN(update_load)(g + i, k), x, r);
        const V velocity = momentum * TN(update_load)(v + i, k) + gx;
        TN(update_store)(v + i, velocity, k);
        TN(update_store)(p + i, x - lr * (r->nesterov ? gx + momentum * velocity : velocity), k);
    }
}

/* m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g**2;
 * p = keep * p - lr * m / (sqrt(v) * scale + eps); lr and scale hold the corrections
 * for the zeros that m and v began with, keep the decay of AdamW */
static void TN(adam)(int64_t n, void *pp, const void *pg, void *pm, void *pv,
                     const tga_update_rates *r)
{
    T *p = pp, *m = pm, *v = pv;
    const T *g = pg;
    const V lr = v_splat((T)r->lr), keep = v_splat((T)r->keep), eps = v_splat((T)r->eps);
    const V beta1 = v_splat((T)r->beta1), rest1 = v_splat((T)(1 - r->beta1));
    const V beta2 = v_splat((T)r->beta2), rest2 = v_splat((T)(1 - r->beta2));
    const V scale = v_splat((T)r->scale);
    EACH_VECTOR (n, i, k) {
        const V x = TN(update_load)(p + i, k);
        const V gx = TN(decayed)(TN(update_load)(g + i, k), x, r);
        const V mean = beta1 * TN(update_load)(m + i, k) + rest1 * gx;
        const V square = beta2 * TN(update_load)(v + i, k) + rest2 * (gx * gx);
        TN(update_store)(m + i, mean, k);
        TN(update_store)(v + i, square, k);
        TN(update_store)(p + i, keep * x - lr * mean / (v_sqrt(square) * scale + eps), k);
    }
}

/* s = alpha * s + (1 - alpha) * g**2;  p -= lr * g / (sqrt(s) + eps) */
static void TN(rmsprop)(int64_t n, void *pp, const void *pg, void *ps, void *unused_t,
                        const tga_update_rates *r)
{
    T *p = pp, *s = ps;
    const T *g = pg;
    const V lr = v_splat((T)r->lr), eps = v_splat((T)r->eps);
    const V alpha = v_splat((T)r->alpha), rest = v_splat((T)(1 - r->alpha));
    (void)unused_t;
    EACH_VECTOR (n, i, k) {
        const V x = TN(update_load)(p + i, k);
        const V gx = TN(decayed)(TN(update_load)(g + i, k), x, r);
        const V square = alpha * TN(update_load)(s + i, k) + rest * (gx * gx);
        TN(update_store)(s + i, square, k);
        TN(update_store)(p + i, x - lr * gx / (v_sqrt(square) + eps), k);
    }
}

/* s += g**2;  p -= lr * g / (sqrt(s) + eps) */
static void TN(adagrad)(int64_t n, void *pp, const void *pg, void *ps, void *unused_t,
                        const tga_update_rates *r)
{
    T *p = pp, *s = ps;
    const T *g = pg;
    const V lr = v_splat((T)r->lr), eps = v_splat((T)r->eps);
    (void)unused_t;
    EACH_VECTOR (n, i, k) {
        const V x = TN(update_load)(p + i, k);
        const V gx = TN(decayed)(TN(update_load)(g + i, k), x, r);
        const V square = TN(update_load)(s + i, k) + gx * gx;
        TN(update_store)(s + i, square, k);
        TN(update_store)(p + i, x - lr * gx / (v_sqrt(square) + eps), k);
    }
}

/* ---- clipping -------------------------------------------------------------- */

/* g = min(max(g, -bound), bound); nan stays nan */
static void TN(clip_value)(int64_t n, void *pg, double bound)
{
    T *g = pg;
    const V high = v_splat((T)bound), low = -high;
    EACH_VECTOR (n, i, k)
        TN(update_store)(g + i, v_min(high, v_max(low, TN(update_load)(g + i, k))), k);
}

/* g *= factor */
static void TN(clip_scale)(int64_t n, void *pg, double factor)
{
    T *g = pg;
    const V by = v_splat((T)factor);
    EACH_VECTOR (n, i, k)
        TN(update_store)(g + i, TN(update_load)(g + i, k) * by, k);
}

/* The sum of g**2, in double, so that no square of a float overflows.  Element i
 * goes to sum i mod 8, whatever the width of a vector. */
static double TN(sum_squares)(int64_t n, const void *pg)
{
    const T *g = pg;
    double sum[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int lane = 0; lane < 8; lane++)
            sum[lane] += (double)g[i + lane] * (double)g[i + lane];
    for (int lane = 0; i + lane < n; lane++)
        sum[lane] += (double)g[i + lane] * (double)g[i + lane];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}
