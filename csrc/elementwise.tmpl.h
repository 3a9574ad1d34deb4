/* elementwise.tmpl.h: loops over the rows of activations.def and arithmetic.def.
 *
 * Parameters: those of vec.h.  For each row and dtype this makes
 *   name_forward, name_backward   of an activation or another UNARY row
 *   name_forward                  of a BINARY row
 *   name                          of a COMPARE row
 * The loops take the row's function as a constant, so it is inlined, and a tail
 * runs the very same function on a partly filled vector: the value of an
 * element depends on nothing but the element.
 *
 * With `stream`, which is for results that no cache holds, vectors are stored round the caches,
 * and inputs are fetched ahead of the loop; the numbers are the same.
 */

#ifndef AHEAD
#define AHEAD 16384 /* bytes: far enough for memory to answer */

/* as a number: a pointer must not leave its array, not even to ask for memory */
static inline void fetch_ahead(const void *p)
{
    __builtin_prefetch((const void *)((uintptr_t)p + AHEAD));
}
#endif

/* Store a vector of the result; x1 and x2 are where the inputs stand, or both the same. */
static ALWAYS_INLINE void TN(store)(int stream, T *y, V vy, const T *x1, const T *x2)
{
    if (stream) {
        fetch_ahead(x1);
        if (x2 != x1)
            fetch_ahead(x2);
        v_stream(y, vy);
    } else {
        v_store(y, vy);
    }
}

/* ---- one input ------------------------------------------------------------ */

/* x, y: (n) */
static ALWAYS_INLINE void TN(unary_loop)(V (*row)(V, V, V), int64_t n, const T *x, T *y, T a, T b,
                                         int stream)
{
    const V va = v_splat(a), vb = v_splat(b);
    int64_t i = 0;
    /* Two at a time: while one waits for its sums, the processor works on the other. */
    for (; i + 2 * VL <= n; i += 2 * VL) {
        const V first = row(v_load(x + i), va, vb), second = row(v_load(x + i + VL), va, vb);
        TN(store)(stream, y + i, first, x + i, x + i);
        TN(store)(stream, y + i + VL, second, x + i + VL, x + i + VL);
    }
    for (; i + VL <= n; i += VL)
        TN(store)(stream, y + i, row(v_load(x + i), va, vb), x + i, x + i);
    if (i < n)
        v_store_n(y + i, row(v_load_n(x + i, n - i), va, vb), n - i);
    if (stream)
        v_stream_end();
}

/* gy, s (what was saved: x or y), gx: (n) */
static ALWAYS_INLINE void TN(unary_backward_loop)(V (*row)(V, V, V, V), int64_t n, const T *gy,
                                                  const T *s, T *gx, T a, T b, int stream)
{
    const V va = v_splat(a), vb = v_splat(b);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        TN(store)(stream, gx + i, row(v_load(gy + i), v_load(s + i), va, vb), gy + i, s + i);
    if (i < n)
        v_store_n(gx + i, row(v_load_n(gy + i, n - i), v_load_n(s + i, n - i), va, vb), n - i);
    if (stream)
        v_stream_end();
}

#ifndef NO_ATTR
#define NO_ATTR V unused_a, V unused_b
#define ATTR(a) V a, V unused_b
#define ATTR2(a, b) V a, V b
#define SAVED_X x
#define SAVED_Y y
#define SAVED_NONE unused_saved

#define UNARY_ROW(name, saves, attributes, forward, backward)                                      \
    static inline V TN(name##_row)(V x, attributes) { return forward; }                            \
    static inline V TN(name##_backward_row)(V gy, V SAVED_##saves, attributes)                     \
    {                                                                                              \
        return backward;                                                                           \
    }                                                                                              \
    static void TN(name##_forward)(int64_t n, const void *x, void *y, double a, double b,          \
                                   int stream)                                                     \
    {                                                                                              \
        TN(unary_loop)(TN(name##_row), n, x, y, (T)a, (T)b, stream);                               \
    }                                                                                              \
    static void TN(name##_backward)(int64_t n, const void *gy, const void *saved, void *gx,        \
                                    double a, double b, int stream)                                \
    {                                                                                              \
        TN(unary_backward_loop)(TN(name##_backward_row), n, gy, saved, gx, (T)a, (T)b, stream);    \
    }
#endif

/* ---- two inputs ----------------------------------------------------------- */

/* x, y: (n), or one element where the step is 0; z: (n) */
static ALWAYS_INLINE void TN(binary_loop)(V (*row)(V, V), int64_t n, const T *x, int64_t step_x,
                                          const T *y, int64_t step_y, T *z, int stream)
{
    if (n == 0)
        return;
    int64_t i = 0;
    if (step_x && step_y) {
        for (; i + VL <= n; i += VL)
            TN(store)(stream, z + i, row(v_load(x + i), v_load(y + i)), x + i, y + i);
        if (i < n)
            v_store_n(z + i, row(v_load_n(x + i, n - i), v_load_n(y + i, n - i)), n - i);
    } else if (step_x) {
        const V vy = v_splat(*y);
        for (; i + VL <= n; i += VL)
            TN(store)(stream, z + i, row(v_load(x + i), vy), x + i, x + i);
        if (i < n)
            v_store_n(z + i, row(v_load_n(x + i, n - i), vy), n - i);
    } else if (step_y) {
        const V vx = v_splat(*x);
        for (; i + VL <= n; i += VL)
            TN(store)(stream, z + i, row(vx, v_load(y + i)), y + i, y + i);
        if (i < n)
            v_store_n(z + i, row(vx, v_load_n(y + i, n - i)), n - i);
    } else {
        const V vz = row(v_splat(*x), v_splat(*y));
        for (; i + VL <= n; i += VL)
            v_store(z + i, vz);
        if (i < n)
            v_store_n(z + i, vz, n - i);
    }
    if (stream)
        v_stream_end();
}

#ifndef BINARY_ROW
#define BINARY_ROW(name, forward, on_int64)                                                        \
    static inline V TN(name##_row)(V x, V y) { return forward; }                                   \
    static void TN(name##_forward)(int64_t n, const void *x, int64_t step_x, const void *y,        \
                                   int64_t step_y, void *z, int stream)                            \
    {                                                                                              \
        TN(binary_loop)(TN(name##_row), n, x, step_x, y, step_y, z, stream);                       \
    }

/* Comparisons are left to the compiler's own vectoriser: the result is bytes. */
#define COMPARE_LOOP(scalar, from_x, from_y)                                                       \
    for (int64_t i = 0; i < n; i++) {                                                              \
        const T x = from_x, y = from_y;                                                            \
        z[i] = scalar;                                                                             \
    }
#define COMPARE_ROW(name, scalar)                                                                  \
    static void TN(name)(int64_t n, const void *px, int64_t step_x, const void *py,                \
                         int64_t step_y, uint8_t *z)                                               \
    {                                                                                              \
        const T *xs = px, *ys = py;                                                                \
        const T x0 = *xs, y0 = *ys;                                                                \
        if (step_x && step_y)                                                                      \
            COMPARE_LOOP(scalar, xs[i], ys[i])                                                     \
        else if (step_x)                                                                           \
            COMPARE_LOOP(scalar, xs[i], y0)                                                        \
        else if (step_y)                                                                           \
            COMPARE_LOOP(scalar, x0, ys[i])                                                        \
        else                                                                                       \
            COMPARE_LOOP(scalar, x0, y0)                                                           \
    }
#endif

#define ACT UNARY_ROW
#include "activations.def"
#define UNARY UNARY_ROW
#define BINARY BINARY_ROW
#define COMPARE COMPARE_ROW
#include "arithmetic.def"
