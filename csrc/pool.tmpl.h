/* pool.tmpl.h: pooling of one plane, a channel of an image: the largest of what a window
 * sees, or the mean.
 *
 * Parameters: those of vec.h; math.tmpl.h gives v_maximum.
 *
 * The common case, windows of 2 x 2 side by side, is done by itself.  In others the windows of a
 * row of the result take the lanes, one tap after the other.  For that a plane is laid out with
 * an edge to its left and right, of what does not count, and its columns are dealt out by
 * their remainder by the stride: then neighbours see, through the same tap, neighbours.
 *
 *     edge  0 1 2 3 4 5 6  edge     stride 2:   edge 1 3 5 edge ...  0 2 4 6 edge ...
 *
 * Where there are few columns, or strides are large, windows are taken one by one.  Where
 * several elements are the largest, or nan, the first in reading order is chosen; as a value, +0
 * is larger than -0.
 */
#ifndef TGA_POOL_TMPL_H
#define TGA_POOL_TMPL_H

/* Along one axis: the taps [first, last) of the window at output place o that are inside,
 * and where the window begins. */
typedef struct {
    int64_t begin, first, last;
} pool_taps;

static inline pool_taps pool_clip(const tga_window *w, int axis, int64_t o)
{
    const int64_t gap = w->dilation[axis];
    pool_taps t = {o * w->stride[axis] - w->padding[axis], 0, w->size[axis]};
    if (t.begin < 0)
        t.first = (-t.begin + gap - 1) / gap;
    if (t.begin + (t.last - 1) * gap >= w->in[axis])
        t.last = (w->in[axis] - t.begin + gap - 1) / gap;
    return t;
}

/* How many places of a window without gaps count for the mean: those in the image, or those
 * in its padding, too. */
static inline int64_t pool_count(const tga_window *w, int axis, int64_t o, int with_padding)
{
    const int64_t pad = with_padding ? w->padding[axis] : 0;
    const int64_t begin = o * w->stride[axis] - w->padding[axis];
    const int64_t end = begin + w->size[axis], stop = w->in[axis] + pad;
    return (end < stop ? end : stop) - (begin > -pad ? begin : -pad);
}

#define POOL_TABLE(suffix)                                                                         \
    {                                                                                              \
        .max_forward = max_pool_forward_##suffix, .max_backward = max_pool_backward_##suffix,      \
        .max_index = max_pool_index_##suffix, .avg_forward = avg_pool_forward_##suffix,            \
        .avg_backward = avg_pool_backward_##suffix,                                                \
    }

#endif

/* ---- neighbours in vectors ------------------------------------------------------------- */

/* Of x and y one after the other: the elements at even places, at odd places; and the way
 * back: the first and the second half of x0 y0 x1 y1 ... */
#undef POOL_EVEN
#undef POOL_ODD
#undef POOL_LOW
#undef POOL_HIGH
#if VBYTES * 8 / T_BITS == 16
#define POOL_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define POOL_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define POOL_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define POOL_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif VBYTES * 8 / T_BITS == 8
#define POOL_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define POOL_ODD 1, 3, 5, 7, 9, 11, 13, 15
#define POOL_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define POOL_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif VBYTES * 8 / T_BITS == 4
#define POOL_EVEN 0, 2, 4, 6
#define POOL_ODD 1, 3, 5, 7
#define POOL_LOW 0, 4, 1, 5
#define POOL_HIGH 2, 6, 3, 7
#else
#define POOL_EVEN 0, 2
#define POOL_ODD 1, 3
#define POOL_LOW 0, 2
#define POOL_HIGH 1, 3
#endif
#ifdef __clang__
#define POOL_SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define POOL_SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (VI){__VA_ARGS__})
#endif

/* n > 0 elements, 0 for those beyond; of n <= 0 none is read or written. */
static ALWAYS_INLINE V TN(pool_load)(const T *p, int64_t n)
{
    return n >= VL ? v_load(p) : n > 0 ? v_load_n(p, n) : (V){0};
}
static ALWAYS_INLINE void TN(pool_store)(T *p, V x, int64_t n)
{
    if (n >= VL)
        v_store(p, x);
    else if (n > 0)
        v_store_n(p, x, n);
}

/* Two rows' elements of n windows: [row * 2 + column] */
static ALWAYS_INLINE void TN(pool_split)(const T *x, int64_t row, int64_t n, V *part)
{
    for (int i = 0; i < 2; i++, x += row) {
        const V low = TN(pool_load)(x, 2 * n), high = TN(pool_load)(x + VL, 2 * n - VL);
        part[2 * i] = POOL_SHUFFLE(low, high, POOL_EVEN);
        part[2 * i + 1] = POOL_SHUFFLE(low, high, POOL_ODD);
    }
}

/* ---- a plane laid out ------------------------------------------------------------------- */

/* Tap (p, q) of window (i, 0) is here; that of the next window is the next element. */
static ALWAYS_INLINE int64_t TN(pool_tap)(const tga_pool *g, pool_taps down, int64_t p, int64_t q)
{
    const tga_window *w = g->window;
    return (down.begin + p * w->dilation[0]) * w->stride[1] * g->width + g->offset[q];
}

static void TN(pool_fill)(int64_t n, T value, T *to)
{
    for (int64_t i = 0; i < n; i += VL)
        TN(store_some)(to + i, v_splat(value), n - i);
}

/* Column k of row i of a plane that is laid out is where this begins, and every stride-th
 * after it follows. */
static inline int64_t TN(pool_column)(const tga_pool *g, int64_t i, int64_t k)
{
    const int64_t stride = g->window->stride[1], place = k + g->window->padding[1];
    return (i * stride + place % stride) * g->width + place / stride;
}

/* A row and its edges, where the stride is 1.  Whole vectors may be stored: the width has room
 * for one beyond the columns, and what comes later writes over it. */
static ALWAYS_INLINE void TN(pool_lay_row)(const tga_pool *g, V edge, const T *x, T *to)
{
    const int64_t columns = g->window->in[1], padding = g->window->padding[1];
    for (int64_t k = 0; k < padding; k += VL)
        v_store(to + k, edge);
    to += padding;
    int64_t k = 0;
    for (; k + VL <= columns; k += VL)
        v_store(to + k, v_load(x + k));
    if (k < columns) {
        v_store(to + k, v_load_or(x + k, columns - k, edge));
        k += VL;
    }
    for (; k < g->width - padding; k += VL)
        TN(store_some)(to + k, edge, g->width - padding - k);
}

/* x: (in) -> laid: (in[0], stride, width) */
static void TN(pool_lay_out)(const tga_pool *g, T edge, const T *x, T *laid)
{
    const int64_t stride = g->window->stride[1], columns = g->window->in[1];
    if (stride == 1) {
        for (int64_t i = 0; i < g->window->in[0]; i++, x += columns, laid += g->width)
            TN(pool_lay_row)(g, v_splat(edge), x, laid);
        return;
    }
    TN(pool_fill)(g->elements, edge, laid);
    for (int64_t i = 0; i < g->window->in[0]; i++, x += columns)
        for (int64_t first = 0; first < stride && first < columns; first++) {
            T *to = laid + TN(pool_column)(g, i, first);
            for (int64_t k = first; k < columns; k += stride)
                *to++ = x[k];
        }
}

/* The way back. */
static void TN(pool_collect)(const tga_pool *g, const T *laid, T *x)
{
    const int64_t stride = g->window->stride[1], columns = g->window->in[1];
    for (int64_t i = 0; i < g->window->in[0]; i++, x += columns)
        for (int64_t first = 0; first < stride && first < columns; first++) {
            const T *from = laid + TN(pool_column)(g, i, first);
            if (stride == 1)
                memcpy(x, from, (size_t)columns * sizeof(T));
            else
                for (int64_t k = first; k < columns; k += stride)
                    x[k] = *from++;
        }
}

/* ---- the largest ------------------------------------------------------------------------- */

/* Where in the plane the largest element is that the window at (i, j) sees; -1 if none. */
static inline int64_t TN(max_pool_place)(const tga_window *w, const T *x, pool_taps down, int64_t j)
{
    const pool_taps across = pool_clip(w, 1, j);
    int64_t place = -1;
    for (int64_t p = down.first; p < down.last; p++)
        for (int64_t q = across.first; q < across.last; q++) {
            const int64_t at = (down.begin + p * w->dilation[0]) * w->in[1] + across.begin +
                               q * w->dilation[1];
            if (place < 0 || x[at] > x[place] || (x[at] != x[at] && x[place] == x[place]))
                place = at;
        }
    return place;
}

/* The value of the largest element, as v_maximum has it. */
static inline T TN(max_pool_value)(const tga_window *w, const T *x, pool_taps down, int64_t j)
{
    const pool_taps across = pool_clip(w, 1, j);
    T best = (T)-INFINITY;
    for (int64_t p = down.first; p < down.last; p++)
        for (int64_t q = across.first; q < across.last; q++) {
            const T seen = x[(down.begin + p * w->dilation[0]) * w->in[1] + across.begin +
                             q * w->dilation[1]];
            if (seen > best || seen != seen || (seen == best && !signbit(seen)))
                best = seen;
        }
    return best;
}

/* x: (in), y: (out) */
static void TN(max_pool_forward)(const tga_pool *g, void *memory, const void *px, void *py)
{
    const tga_window *w = g->window;
    const T *x = px;
    T *y = py;
    if (g->two_by_two) {
        for (int64_t i = 0; i < w->out[0]; i++, x += 2 * w->in[1], y += w->out[1])
            for (int64_t j = 0; j < w->out[1]; j += VL) {
                V part[4];
                TN(pool_split)(x + 2 * j, w->in[1], w->out[1] - j, part);
                TN(pool_store)(y + j, v_maximum(v_maximum(part[0], part[1]),
                                                v_maximum(part[2], part[3])), w->out[1] - j);
            }
        return;
    }
    if (g->elements) {
        T *laid = memory;
        TN(pool_lay_out)(g, (T)-INFINITY, x, laid);
        for (int64_t i = 0; i < w->out[0]; i++, y += w->out[1]) {
            const pool_taps down = pool_clip(w, 0, i);
            for (int64_t j = 0; j < w->out[1]; j += VL) {
                V least = K(INFINITY); /* of -x: v_maximum is made of v_minimum */
                for (int64_t p = down.first; p < down.last; p++)
                    for (int64_t q = 0; q < w->size[1]; q++)
                        least = v_minimum(least, -v_load(laid + TN(pool_tap)(g, down, p, q) + j));
                TN(store_some)(y + j, -least, w->out[1] - j);
            }
        }
        return;
    }
    for (int64_t i = 0; i < w->out[0]; i++) {
        const pool_taps down = pool_clip(w, 0, i);
        for (int64_t j = 0; j < w->out[1]; j++)
            *y++ = TN(max_pool_value)(w, x, down, j);
    }
}

/* index: (out), places in the plane */
static void TN(max_pool_index)(const tga_window *w, const void *x, int64_t *index)
{
    for (int64_t i = 0; i < w->out[0]; i++) {
        const pool_taps down = pool_clip(w, 0, i);
        for (int64_t j = 0; j < w->out[1]; j++)
            *index++ = TN(max_pool_place)(w, x, down, j);
    }
}

/* Of row i of the windows, the tap that sees the largest: its number p * size[1] + q. */
static inline void TN(max_pool_chosen)(const tga_pool *g, pool_taps down, const T *x,
                                       const T *first_inside, T *chosen)
{
    const int64_t size = g->window->size[1];
    for (int64_t j = 0; j < g->window->out[1]; j += VL) {
        V best = K(-INFINITY);
        V tap = v_load(first_inside + j) + v_splat((T)(down.first * size));
        for (int64_t p = down.first; p < down.last; p++)
            for (int64_t q = 0; q < size; q++) {
                const V seen = v_load(x + TN(pool_tap)(g, down, p, q) + j);
                tap = v_select(v_gt(seen, best), v_splat((T)(p * size + q)), tap);
                best = v_max(seen, best);
            }
        v_store(chosen + j, tap);
    }
}

/* Without nan.  An element gets what windows bring to it in their order: those of a row that
 * see it through later taps come first. */
static void TN(max_pool_backward_lanes)(const tga_pool *g, T *memory, const T *gy, const T *x,
                                        T *gx)
{
    const tga_window *w = g->window;
    T *laid = memory, *sums = laid + g->elements, *chosen = sums + g->elements;
    T *first_inside = chosen + w->out[1] + VL;
    TN(pool_lay_out)(g, (T)-INFINITY, x, laid);
    TN(pool_fill)(g->elements, 0, sums);
    TN(pool_fill)(w->out[1] + VL, 0, first_inside);
    for (int64_t j = 0; j < w->out[1]; j++)
        first_inside[j] = (T)pool_clip(w, 1, j).first;
    for (int64_t i = 0; i < w->out[0]; i++, gy += w->out[1]) {
        const pool_taps down = pool_clip(w, 0, i);
        TN(max_pool_chosen)(g, down, laid, first_inside, chosen);
        for (int64_t q = w->size[1] - 1; q >= 0; q--)
            for (int64_t p = down.first; p < down.last; p++) {
                const V number = v_splat((T)(p * w->size[1] + q));
                T *to = sums + TN(pool_tap)(g, down, p, q);
                for (int64_t j = 0; j < w->out[1]; j += VL) {
                    const V here = v_select(v_eq(v_load(chosen + j), number),
                                            TN(pool_load)(gy + j, w->out[1] - j), K(0));
                    v_store(to + j, v_load(to + j) + here);
                }
            }
    }
    TN(pool_collect)(g, sums, gx);
}

static inline int TN(has_nan)(int64_t n, const T *x)
{
    V some = K(0);
    for (int64_t i = 0; i < n; i += VL) {
        const V here = TN(load_some)(x + i, n - i);
        some = v_select(v_ne(here, here), K(1), some);
    }
    return v_any(v_gt(some, K(0)));
}

/* gy: (out), x: (in), gx: (in) */
static void TN(max_pool_backward)(const tga_pool *g, void *memory, const void *pgy, const void *px,
                                  void *pgx)
{
    const tga_window *w = g->window;
    const T *gy = pgy, *x = px;
    T *gx = pgx;
    if (!g->two_by_two) {
        if (g->elements && !TN(has_nan)(w->in[0] * w->in[1], x)) {
            TN(max_pool_backward_lanes)(g, memory, gy, x, gx);
            return;
        }
        memset(gx, 0, (size_t)(w->in[0] * w->in[1]) * sizeof(T));
        for (int64_t i = 0; i < w->out[0]; i++) {
            const pool_taps down = pool_clip(w, 0, i);
            for (int64_t j = 0; j < w->out[1]; j++)
                gx[TN(max_pool_place)(w, x, down, j)] += *gy++;
        }
        return;
    }
    const int64_t columns = w->out[1], row = w->in[1];
    for (int64_t i = 0; i < w->out[0]; i++, x += 2 * row, gx += 2 * row, gy += columns) {
        for (int64_t j = 0; j < columns; j += VL) {
            const int64_t n = columns - j;
            V part[4], share[4];
            TN(pool_split)(x + 2 * j, row, n, part);
            const V y = v_maximum(v_maximum(part[0], part[1]), v_maximum(part[2], part[3]));
            V rest = TN(pool_load)(gy + j, n); /* what no element has taken yet */
            for (int p = 0; p < 4; p++) {
                const V is = v_select(v_eq(part[p], y), K(1), v_select(v_ne(part[p], part[p]),
                                                                     K(1), K(0)));
                share[p] = v_select(v_gt(is, K(0)), rest, K(0));
                rest = v_select(v_gt(is, K(0)), K(0), rest);
            }
            for (int p = 0; p < 2; p++) {
                T *to = gx + p * row + 2 * j;
                TN(pool_store)(to, POOL_SHUFFLE(share[2 * p], share[2 * p + 1], POOL_LOW),
                               2 * n);
                TN(pool_store)(to + VL, POOL_SHUFFLE(share[2 * p], share[2 * p + 1], POOL_HIGH),
                               2 * n - VL);
            }
        }
        for (int p = 0; p < 2; p++) /* no window sees an odd last column */
            for (int64_t j = 2 * columns; j < row; j++)
                gx[p * row + j] = 0;
    }
    memset(gx, 0, (size_t)((w->in[0] - 2 * w->out[0]) * row) * sizeof(T));
}

/* ---- the mean ---------------------------------------------------------------------------- */

/* Of the windows of a row, how many columns count: (out[1]) and a vector, never 0 */
static inline void TN(avg_pool_columns)(const tga_pool *g, T *columns)
{
    const int64_t out = g->window->out[1];
    TN(pool_fill)(out + VL, 1, columns);
    for (int64_t j = 0; j < out; j++)
        columns[j] = (T)pool_count(g->window, 1, j, g->with_padding);
}

static void TN(avg_pool_forward_lanes)(const tga_pool *g, T *memory, const T *x, T *y)
{
    const tga_window *w = g->window;
    T *laid = memory, *columns = laid + g->elements;
    TN(pool_lay_out)(g, 0, x, laid);
    TN(avg_pool_columns)(g, columns);
    for (int64_t i = 0; i < w->out[0]; i++, y += w->out[1]) {
        const pool_taps down = pool_clip(w, 0, i);
        const V rows = v_splat((T)pool_count(w, 0, i, g->with_padding));
        for (int64_t j = 0; j < w->out[1]; j += VL) {
            V sum = K(0);
            for (int64_t p = down.first; p < down.last; p++)
                for (int64_t q = 0; q < w->size[1]; q++)
                    sum = sum + v_load(laid + TN(pool_tap)(g, down, p, q) + j);
            TN(store_some)(y + j, sum / (rows * v_load(columns + j)), w->out[1] - j);
        }
    }
}

/* x: (in), y: (out) */
static void TN(avg_pool_forward)(const tga_pool *g, void *memory, const void *px, void *py)
{
    const tga_window *w = g->window;
    const T *x = px;
    T *y = py;
    const int quick = g->two_by_two;
    if (!quick && g->elements) {
        TN(avg_pool_forward_lanes)(g, memory, x, y);
        return;
    }
    for (int64_t i = 0; i < w->out[0]; i++) {
        if (quick) {
            for (int64_t j = 0; j < w->out[1]; j += VL) {
                V part[4];
                TN(pool_split)(x + 2 * (i * w->in[1] + j), w->in[1], w->out[1] - j, part);
                TN(pool_store)(y + j, (part[0] + part[1] + part[2] + part[3]) * K(0.25),
                               w->out[1] - j);
            }
            y += w->out[1];
            continue;
        }
        const pool_taps down = pool_clip(w, 0, i);
        const int64_t rows = pool_count(w, 0, i, g->with_padding);
        for (int64_t j = 0; j < w->out[1]; j++) {
            const pool_taps across = pool_clip(w, 1, j);
            T sum = 0;
            for (int64_t p = down.first; p < down.last; p++)
                for (int64_t q = across.first; q < across.last; q++)
                    sum += x[(down.begin + p) * w->in[1] + across.begin + q];
            *y++ = sum / (T)(rows * pool_count(w, 1, j, g->with_padding));
        }
    }
}

/* An element gets its sum in the order that max_pool_backward_lanes has. */
static void TN(avg_pool_backward_lanes)(const tga_pool *g, T *memory, const T *gy, T *gx)
{
    const tga_window *w = g->window;
    T *sums = memory, *columns = sums + g->elements, *share = columns + w->out[1] + VL;
    TN(pool_fill)(g->elements, 0, sums);
    TN(avg_pool_columns)(g, columns);
    for (int64_t i = 0; i < w->out[0]; i++, gy += w->out[1]) {
        const pool_taps down = pool_clip(w, 0, i);
        const V rows = v_splat((T)pool_count(w, 0, i, g->with_padding));
        for (int64_t j = 0; j < w->out[1]; j += VL)
            v_store(share + j, TN(pool_load)(gy + j, w->out[1] - j) / (rows * v_load(columns + j)));
        for (int64_t q = w->size[1] - 1; q >= 0; q--)
            for (int64_t p = down.first; p < down.last; p++) {
                T *to = sums + TN(pool_tap)(g, down, p, q);
                for (int64_t j = 0; j < w->out[1]; j += VL)
                    v_store(to + j, v_load(to + j) + v_load(share + j));
            }
    }
    TN(pool_collect)(g, sums, gx);
}

/* gy: (out), gx: (in) */
static void TN(avg_pool_backward)(const tga_pool *g, void *memory, const void *pgy, void *pgx)
{
    const tga_window *w = g->window;
    const T *gy = pgy;
    T *gx = pgx;
    if (g->elements) {
        TN(avg_pool_backward_lanes)(g, memory, gy, gx);
        return;
    }
    memset(gx, 0, (size_t)(w->in[0] * w->in[1]) * sizeof(T));
    for (int64_t i = 0; i < w->out[0]; i++) {
        const pool_taps down = pool_clip(w, 0, i);
        const int64_t rows = pool_count(w, 0, i, g->with_padding);
        for (int64_t j = 0; j < w->out[1]; j++) {
            const pool_taps across = pool_clip(w, 1, j);
            const T share = *gy++ / (T)(rows * pool_count(w, 1, j, g->with_padding));
            for (int64_t p = down.first; p < down.last; p++)
                for (int64_t q = across.first; q < across.last; q++)
                    gx[(down.begin + p) * w->in[1] + across.begin + q] += share;
        }
    }
}
