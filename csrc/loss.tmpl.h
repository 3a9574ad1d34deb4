/* loss.tmpl.h: losses; the rows of loss.def, and cross-entropy.
 *
 * Parameters: those of vec.h.  For each row and dtype this makes
 *   name_forward    the sum of n losses, in the order of reduce.tmpl.h
 *   name_backward   factor times the derivative
 */

/* ---- rows of loss.def ---------------------------------------------------------- */

/* x, t, gx: (n) */
static ALWAYS_INLINE void TN(loss_backward_loop)(V (*row)(V, V), int64_t n, T factor, const T *x,
                                                 const T *t, T *gx)
{
    const V f = v_splat(factor);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(gx + i, f * row(v_load(x + i), v_load(t + i)));
    if (i < n)
        v_store_n(gx + i, f * row(v_load_n(x + i, n - i), v_load_n(t + i, n - i)), n - i);
}

#ifndef LOSS_ROW
#define LOSS_ROW(name, value, derivative)                                                          \
    static inline V TN(name##_value)(V x, V t, V unused) { return value; }                         \
    static inline V TN(name##_derivative)(V x, V t) { return derivative; }                         \
    static void TN(name##_forward)(int64_t n, const void *x, const void *t, void *sum)             \
    {                                                                                              \
        const T result = TN(sum_of)(TN(name##_value), n, x, t, K(0), NULL)[0];                     \
        memcpy(sum, &result, sizeof result);                                                       \
    }                                                                                              \
    static void TN(name##_backward)(int64_t n, double factor, const void *x, const void *t,        \
                                    void *gx)                                                      \
    {                                                                                              \
        TN(loss_backward_loop)(TN(name##_derivative), n, (T)factor, x, t, gx);                     \
    }
#endif

#define LOSS LOSS_ROW
#include "loss.def"

/* ---- cross-entropy --------------------------------------------------------------- */
/* log_p: (rows, classes), what log_softmax made of the logits; labels: (rows) */

/* sum = -sum over rows of log_p[row, label] */
static void TN(cross_entropy_forward)(int64_t rows, int64_t classes, const void *log_p,
                                      const int64_t *labels, void *sum)
{
    T value[REDUCE_CHUNK * VBYTES / sizeof(T)];
    const int64_t chunk = REDUCE_CHUNK * VL;
    TN(pairwise) p;
    TN(pairwise_begin)(&p);
    for (const T *row = log_p; rows > 0; rows -= chunk, labels += chunk) {
        const int64_t here = rows < chunk ? rows : chunk;
        for (int64_t i = 0; i < here; i++, row += classes)
            value[i] = -row[labels[i]];
        TN(pairwise_add)(TN(sum_combine), &p, TN(reduce_chunk)(TN(sum_combine), 0, here, value));
    }
    const T result = TN(pairwise_end)(TN(sum_combine), 0, &p)[0];
    memcpy(sum, &result, sizeof result);
}

/* gx = factor * (exp(log_p) - (1 at the label, 0 elsewhere)): first as if there
 * were no labels, then the labels' own elements, VL rows at a time. */
static void TN(cross_entropy_backward)(int64_t rows, int64_t classes, double factor,
                                       const void *plog_p, const int64_t *labels, void *pgx)
{
    const T *log_p = plog_p;
    T *gx = pgx;
    const V f = v_splat((T)factor);
    const int64_t n = rows * classes;
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        v_store(gx + i, f * v_exp(v_load(log_p + i)));
    if (i < n)
        v_store_n(gx + i, f * v_exp(v_load_n(log_p + i, n - i)), n - i);
    for (int64_t row = 0; row < rows; row += VL) {
        const int64_t here = rows - row < VL ? rows - row : VL;
        int64_t at[VBYTES / sizeof(T)];
        T value[VBYTES / sizeof(T)] = {0};
        for (int64_t k = 0; k < here; k++) {
            at[k] = (row + k) * classes + labels[row + k];
            value[k] = log_p[at[k]];
        }
        v_store(value, f * (v_exp(v_load(value)) - K(1)));
        for (int64_t k = 0; k < here; k++)
            gx[at[k]] = value[k];
    }
}
