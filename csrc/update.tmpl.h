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

/* row: the new p, from p and g; *s and *t are what is remembered, to be replaced.  s and t are
 * NULL where a row remembers less. */
static ALWAYS_INLINE void TN(update_loop)(V (*row)(V, V, V *, V *, const tga_update_rates *),
                                          int64_t n, T *p, const T *g, T *s, T *t,
                                          const tga_update_rates *rates)
{
    const tga_update_rates r = *rates; /* a copy: the compiler sees that no store changes it */
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        V vs = s ? v_load(s + i) : K(0), vt = t ? v_load(t + i) : K(0);
        v_store(p + i, row(v_load(p + i), v_load(g + i), &vs, &vt, &r));
        if (s)
            v_store(s + i, vs);
        if (t)
            v_store(t + i, vt);
    }
    if (i < n) {
        const int64_t k = n - i;
        V vs = s ? v_load_n(s + i, k) : K(0), vt = t ? v_load_n(t + i, k) : K(0);
        v_store_n(p + i, row(v_load_n(p + i, k), v_load_n(g + i, k), &vs, &vt, &r), k);
        if (s)
            v_store_n(s + i, vs, k);
        if (t)
            v_store_n(t + i, vt, k);
    }
}

/* The gradient with weight decay as the gradient of weight_decay / 2 * p**2. */
static ALWAYS_INLINE V TN(decayed)(V g, V p, const tga_update_rates *r)
{
    return r->weight_decay != 0 ? g + v_splat((T)r->weight_decay) * p : g;
}

/* p -= lr * g */
static inline V TN(sgd_row)(V p, V g, V *unused_s, V *unused_t, const tga_update_rates *r)
{
    return p - v_splat((T)r->lr) * TN(decayed)(g, p, r);
}

/* v = momentum * v + g;  p -= lr * v, or lr * (g + momentum * v) with nesterov */
static inline V TN(momentum_row)(V p, V g, V *v, V *unused_t, const tga_update_rates *r)
{
    const V momentum = v_splat((T)r->momentum), gp = TN(decayed)(g, p, r);
    *v = momentum * *v + gp;
    return p - v_splat((T)r->lr) * (r->nesterov ? gp + momentum * *v : *v);
}

/* m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g**2;
 * p = keep * p - lr * m / (sqrt(v) * scale + eps); lr and scale hold the corrections
 * for the zeros that m and v began with, keep the decay of AdamW */
static inline V TN(adam_row)(V p, V g, V *m, V *v, const tga_update_rates *r)
{
    const V beta1 = v_splat((T)r->beta1), rest1 = v_splat((T)(1 - r->beta1));
    const V beta2 = v_splat((T)r->beta2), rest2 = v_splat((T)(1 - r->beta2));
    const V gp = TN(decayed)(g, p, r);
    *m = beta1 * *m + rest1 * gp;
    *v = beta2 * *v + rest2 * (gp * gp);
    const V root = v_sqrt(*v) * v_splat((T)r->scale) + v_splat((T)r->eps);
    return v_splat((T)r->keep) * p - v_splat((T)r->lr) * *m / root;
}

/* s = alpha * s + (1 - alpha) * g**2;  p -= lr * g / (sqrt(s) + eps) */
static inline V TN(rmsprop_row)(V p, V g, V *s, V *unused_t, const tga_update_rates *r)
{
    const V alpha = v_splat((T)r->alpha), rest = v_splat((T)(1 - r->alpha));
    const V gp = TN(decayed)(g, p, r);
    *s = alpha * *s + rest * (gp * gp);
    return p - v_splat((T)r->lr) * gp / (v_sqrt(*s) + v_splat((T)r->eps));
}

/* s += g**2;  p -= lr * g / (sqrt(s) + eps) */
static inline V TN(adagrad_row)(V p, V g, V *s, V *unused_t, const tga_update_rates *r)
{
    const V gp = TN(decayed)(g, p, r);
    *s = *s + gp * gp;
    return p - v_splat((T)r->lr) * gp / (v_sqrt(*s) + v_splat((T)r->eps));
}

/* s and t are what the rows remember, or NULL */
#ifndef UPDATE
#define UPDATE(name, s, t)                                                                         \
    static void TN(name)(int64_t n, void *p, const void *g, void *ps, void *pt,                    \
                         const tga_update_rates *r)                                                \
    {                                                                                              \
        (void)ps, (void)pt;                                                                        \
        TN(update_loop)(TN(name##_row), n, p, g, s, t, r);                                         \
    }
#endif
UPDATE(sgd, NULL, NULL)
UPDATE(momentum, ps, NULL)
UPDATE(adam, ps, pt)
UPDATE(rmsprop, ps, NULL)
UPDATE(adagrad, ps, NULL)

/* ---- clipping -------------------------------------------------------------- */

/* g = min(max(g, -bound), bound); nan stays nan */
static void TN(clip_value)(int64_t n, void *pg, double bound)
{
    T *g = pg;
    const V high = v_splat((T)bound), low = -high;
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(g + i, v_min(high, v_max(low, v_load(g + i))));
    if (i < n)
        v_store_n(g + i, v_min(high, v_max(low, v_load_n(g + i, n - i))), n - i);
}

/* g *= factor */
static void TN(clip_scale)(int64_t n, void *pg, double factor)
{
    T *g = pg;
    const V by = v_splat((T)factor);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(g + i, v_load(g + i) * by);
    if (i < n)
        v_store_n(g + i, v_load_n(g + i, n - i) * by, n - i);
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
