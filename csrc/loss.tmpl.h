/* loss.tmpl.h: losses; the rows of loss.def, and cross-entropy.
 *
 * Parameters: those of vec.h.  For each row and dtype this makes
 *   name_forward    the sum of n losses, in the order of reduce.tmpl.h
 *   name_backward   factor times the derivative
 */

#ifndef LOSS_BLOCK
#define LOSS_BLOCK 64 /* vectors: a chunk of reduce.tmpl.h */
#endif

/* x, t: (n) */
static ALWAYS_INLINE double TN(loss_sum)(V (*row)(V, V), int64_t n, const T *x, const T *t)
{
    T block[LOSS_BLOCK * VBYTES / sizeof(T)], part[REDUCE_LEVELS];
    int64_t levels = 0;
    for (int64_t blocks = 0; n > 0; blocks++) {
        const int64_t here = n < LOSS_BLOCK * VL ? n : LOSS_BLOCK * VL;
        int64_t i = 0;
        for (; i + VL <= here; i += VL)
            v_store(block + i, row(v_load(x + i), v_load(t + i)));
        if (i < here)
            v_store(block + i, row(v_load_n(x + i, here - i), v_load_n(t + i, here - i)));
        T next;
        TN(sum_reduce)(here, block, &next);
        for (int64_t bits = blocks; bits & 1; bits >>= 1)
            next = part[--levels] + next;
        part[levels++] = next;
        n -= here;
        x += here;
        t += here;
    }
    T sum = 0;
    while (levels > 0)
        sum = part[--levels] + sum;
    return (double)sum;
}

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
    static inline V TN(name##_value)(V x, V t) { return value; }                                   \
    static inline V TN(name##_derivative)(V x, V t) { return derivative; }                         \
    static double TN(name##_forward)(int64_t n, const void *x, const void *t)                      \
    {                                                                                              \
        return TN(loss_sum)(TN(name##_value), n, x, t);                                            \
    }                                                                                              \
    static void TN(name##_backward)(int64_t n, double factor, const void *x, const void *t,        \
                                    void *gx)                                                      \
    {                                                                                              \
        TN(loss_backward_loop)(TN(name##_derivative), n, (T)factor, x, t, gx);                     \
    }
#endif

#define LOSS LOSS_ROW
#include "loss.def"
