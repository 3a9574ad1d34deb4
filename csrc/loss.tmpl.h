/* loss.tmpl.h: losses; the rows of loss.def, and cross-entropy.
 *
 * Parameters: those of vec.h.  For each row and dtype this makes
 *   name_forward    the sum of n losses, in the order of reduce.tmpl.h
 *   name_backward   factor times the derivative
 */

/* ---- rows of loss.def ---------------------------------------------------------- */

/* x, t, gx: (n) */
static ALWAYS_INLINE void TN(loss_backward_loop)(V (*row)(V, V, V), int64_t n, T factor,
                                                 const T *x, const T *t, V a, T *gx)
{
    const V f = v_splat(factor);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(gx + i, f * row(v_load(x + i), v_load(t + i), a));
    if (i < n)
        v_store_n(gx + i, f * row(v_load_n(x + i, n - i), v_load_n(t + i, n - i), a), n - i);
}

#ifndef LOSS_ROW
#define LOSS_ROW(name, value, derivative)                                                          \
    static inline V TN(name##_value)(V x, V t, V a) { return value; }                              \
    static inline V TN(name##_derivative)(V x, V t, V a) { return derivative; }                    \
    static void TN(name##_forward)(int64_t n, const void *x, const void *t, double a, void *sum)   \
    {                                                                                              \
        const T result = TN(sum_of)(TN(name##_value), n, x, t, v_splat((T)a), NULL)[0];            \
        memcpy(sum, &result, sizeof result);                                                       \
    }                                                                                              \
    static void TN(name##_backward)(int64_t n, double factor, const void *x, const void *t,        \
                                    double a, void *gx)                                            \
    {                                                                                              \
        TN(loss_backward_loop)(TN(name##_derivative), n, (T)factor, x, t, v_splat((T)a), gx);      \
    }
#endif

#define LOSS LOSS_ROW
#include "loss.def"

/* ---- the loss of a class: nll and cross-entropy -------------------------------------- */
/* Of each row of log-probabilities, with w the classes' weights (1 where there are none), s the
 * smoothing and l the row's label:
 *
 *     value = -sum over c of target[c] * log_p[c],
 *     target[c] = s / classes * w[c], and at l in addition (1 - s) * w[l]
 *
 * and of cross-entropy's logits, whose log_softmax is log_p, the derivative
 *
 *     sum(target) * exp(log_p) - target.
 *
 * Both are 0 in a row whose label is `ignored`. */

static inline V TN(product)(V x, V y, V unused) { return x * y; }
static inline V TN(itself)(V x, V unused, V none) { return x; }

static inline T TN(class_weight)(const tga_classes *c, int64_t label)
{
    return c->weight == NULL ? 1 : ((const T *)c->weight)[label];
}

/* log_p: (classes) */
static inline T TN(class_value)(const tga_classes *c, const T *log_p, int64_t label)
{
    if (label == c->ignored)
        return 0;
    const T hit = (T)(1 - c->smoothing) * TN(class_weight)(c, label) * log_p[label];
    if (c->smoothing == 0)
        return -hit;
    const T all = c->weight == NULL ? TN(sum_of)(TN(itself), c->n, log_p, log_p, K(0), NULL)[0]
                                    : TN(sum_of)(TN(product), c->n, log_p, c->weight, K(0), NULL)[0];
    return -hit - (T)(c->smoothing / (double)c->n) * all;
}

/* log_p: (rows, classes), labels: (rows); value: (rows) or NULL; sum: that of all rows, or NULL */
static void TN(class_forward)(const tga_classes *c, int64_t rows, const void *log_p,
                              const int64_t *labels, void *value, void *sum)
{
    T here[REDUCE_CHUNK * VBYTES / sizeof(T)], *y = value;
    const int64_t chunk = REDUCE_CHUNK * VL;
    TN(pairwise) p;
    TN(pairwise_begin)(&p);
    for (int64_t begin = 0; begin < rows; begin += chunk) {
        const int64_t count = rows - begin < chunk ? rows - begin : chunk;
        for (int64_t i = 0; i < count; i++)
            here[i] = TN(class_value)(c, (const T *)log_p + (begin + i) * c->n, labels[begin + i]);
        if (y != NULL)
            memcpy(y + begin, here, (size_t)count * sizeof(T));
        TN(pairwise_add)(TN(sum_combine), &p, TN(reduce_chunk)(TN(sum_combine), 0, count, here));
    }
    if (sum != NULL) {
        const T result = TN(pairwise_end)(TN(sum_combine), 0, &p)[0];
        memcpy(sum, &result, sizeof result);
    }
}

/* One row of cross-entropy's gradient, of any target.  gx: log_p, which is replaced. */
static inline void TN(cross_entropy_backward_row)(const tga_classes *c, int64_t label, T factor,
                                                  T *gx)
{
    if (label == c->ignored) {
        memset(gx, 0, (size_t)c->n * sizeof(T));
        return;
    }
    const T own = TN(class_weight)(c, label), each = (T)(c->smoothing / (double)c->n);
    const T hit = (T)(1 - c->smoothing) * own;
    const T sum = c->weight == NULL ? 1 : hit + each * (T)c->total_weight;
    const T at_label = gx[label];
    const V f = v_splat(factor), s = v_splat(sum), e = v_splat(each);
    for (int64_t i = 0; i < c->n; i += VL) {
        const int64_t left = c->n - i;
        V x, w = K(1);
        if (left >= VL) {
            x = v_load(gx + i);
            if (c->weight != NULL)
                w = v_load((const T *)c->weight + i);
            v_store(gx + i, f * (s * v_exp(x) - e * w));
        } else {
            x = v_load_n(gx + i, left);
            if (c->weight != NULL)
                w = v_load_n((const T *)c->weight + i, left);
            v_store_n(gx + i, f * (s * v_exp(x) - e * w), left);
        }
    }
    gx[label] = factor * (sum * v_exp(v_splat(at_label))[0] - (hit + each * own));
}

/* gx: (rows, classes), in which log_p is replaced by the gradient; factor: (rows), or one number
 * for all of them, with step 0. */
static void TN(cross_entropy_backward)(const tga_classes *c, int64_t rows, const int64_t *labels,
                                       const void *pfactor, int64_t step, void *pgx)
{
    const T *factor = pfactor;
    T *gx = pgx;
    if (step != 0 || c->weight != NULL || c->smoothing != 0) {
        for (int64_t i = 0; i < rows; i++)
            TN(cross_entropy_backward_row)(c, labels[i], factor[step * i], gx + i * c->n);
        return;
    }
    /* factor * (exp(log_p) - (1 at the label, 0 elsewhere)), VL rows at a time: first as if
     * there were no labels, then the labels' own elements. */
    const V f = v_splat(factor[0]);
    for (; rows > 0; rows -= VL, labels += VL, gx += VL * c->n) {
        const int64_t here = rows < VL ? rows : VL, n = here * c->n;
        T value[VBYTES / sizeof(T)] = {0};
        for (int64_t k = 0; k < here; k++)
            if (labels[k] != c->ignored)
                value[k] = gx[k * c->n + labels[k]];
        int64_t i = 0;
        for (; i + VL <= n; i += VL)
            v_store(gx + i, f * v_exp(v_load(gx + i)));
        if (i < n)
            v_store_n(gx + i, f * v_exp(v_load_n(gx + i, n - i)), n - i);
        v_store(value, f * (v_exp(v_load(value)) - K(1)));
        for (int64_t k = 0; k < here; k++) {
            if (labels[k] == c->ignored)
                memset(gx + k * c->n, 0, (size_t)c->n * sizeof(T));
            else
                gx[k * c->n + labels[k]] = value[k];
        }
    }
}

/* gx: (rows, classes); -factor * target, of log-probabilities that were given as such */
static void TN(nll_backward)(const tga_classes *c, int64_t rows, const int64_t *labels,
                             const void *pfactor, int64_t step, void *pgx)
{
    const T *factor = pfactor;
    T *gx = pgx;
    memset(gx, 0, (size_t)(rows * c->n) * sizeof(T));
    for (int64_t i = 0; i < rows; i++)
        if (labels[i] != c->ignored)
            gx[i * c->n + labels[i]] = -factor[step * i] * TN(class_weight)(c, labels[i]);
}
