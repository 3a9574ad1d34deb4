/* reduce.tmpl.h: sums, products, maxima and minima; the rows of reduce.def.
 *
 * Parameters: those of vec.h.  For each row and dtype this makes
 *   name_reduce        n neighbours to one number
 *   name_reduce_rows   the rows of a matrix to one row
 *
 * The order in which elements meet depends on their number alone, and is one
 * and the same whether they are a row, a column, or were gathered:
 *
 *   lanes    element i of a chunk, 64 vectors, belongs to lane i mod VL; a lane
 *            is combined in groups of 8, one after the other, and each group
 *            pairwise; what is left, less than a group, element by element
 *   chunk    its lanes pairwise
 *   all      the chunks pairwise
 *
 * Pairwise is: neighbours, then neighbouring results, and so on, an odd one out
 * waits for the next round.
 *
 *     round 0   0 1 2 3 4 5 6
 *           1   0+1  2+3  4+5  6
 *           2   0..3      4..6
 *           3   0..6
 *
 * So a sum's error grows with log(n), not with n.
 */

#ifndef REDUCE_GROUP
#define REDUCE_GROUP 8              /* vectors */
#define REDUCE_CHUNK 64             /* vectors */
#define REDUCE_LEVELS 48            /* a chunk is 1 KiB or more: enough for any memory */
#define REDUCE_WIDTH (TGA_COLUMN_BYTES / VBYTES) /* vectors of columns that are worked on together */
#endif

/* ---- a chunk of a row ---------------------------------------------------------- */

/* Eight vectors, pairwise; vector k begins at x + k * step.  Each has `lanes`
 * elements. */
static ALWAYS_INLINE V TN(reduce_load)(const T *x, int64_t lanes)
{
    return lanes == VL ? v_load(x) : v_load_n(x, lanes);
}
static ALWAYS_INLINE V TN(reduce_2)(V (*combine)(V, V), const T *x, int64_t step, int64_t lanes)
{
    return combine(TN(reduce_load)(x, lanes), TN(reduce_load)(x + step, lanes));
}
static ALWAYS_INLINE V TN(reduce_4)(V (*combine)(V, V), const T *x, int64_t step, int64_t lanes)
{
    return combine(TN(reduce_2)(combine, x, step, lanes),
                   TN(reduce_2)(combine, x + 2 * step, step, lanes));
}
static ALWAYS_INLINE V TN(reduce_8)(V (*combine)(V, V), const T *x, int64_t step, int64_t lanes)
{
    return combine(TN(reduce_4)(combine, x, step, lanes),
                   TN(reduce_4)(combine, x + 4 * step, step, lanes));
}

/* The same where there are n > 0 elements, of which the first VL are meant. */
static ALWAYS_INLINE V TN(load_some)(const T *p, int64_t n)
{
    return n >= VL ? v_load(p) : v_load_n(p, n);
}
static ALWAYS_INLINE void TN(store_some)(T *p, V x, int64_t n)
{
    if (n >= VL)
        v_store(p, x);
    else
        v_store_n(p, x, n);
}

/* Every lane gets the result, so that it can meet other vectors as it is. */
static ALWAYS_INLINE V TN(reduce_lanes)(V (*combine)(V, V), V x)
{
    for (int d = 1; d < VL; d *= 2)
        x = combine(x, v_swap(x, d));
    return x;
}

/* x: (n), 0 <= n <= REDUCE_CHUNK * VL */
static ALWAYS_INLINE V TN(reduce_chunk)(V (*combine)(V, V), T identity, int64_t n, const T *x)
{
    const V nothing = v_splat(identity);
    V lanes = nothing;
    int64_t i = 0;
    for (; i + REDUCE_GROUP * VL <= n; i += REDUCE_GROUP * VL)
        lanes = combine(lanes, TN(reduce_8)(combine, x + i, VL, VL));
    for (; i + VL <= n; i += VL)
        lanes = combine(lanes, v_load(x + i));
    if (i < n)
        lanes = combine(lanes, v_load_or(x + i, n - i, nothing));
    return TN(reduce_lanes)(combine, lanes);
}

/* ---- chunks ---------------------------------------------------------------------- */

/* Results that wait for a neighbour of their own size: of 1, 2, 4 ... chunks, the
 * largest first, one for each bit that is set in `chunks`. */
typedef struct {
    int64_t chunks, levels;
    V waiting[REDUCE_LEVELS];
} TN(pairwise);

static ALWAYS_INLINE void TN(pairwise_begin)(TN(pairwise) * p) { p->chunks = p->levels = 0; }

static ALWAYS_INLINE void TN(pairwise_add)(V (*combine)(V, V), TN(pairwise) * p, V next)
{
    for (int64_t bits = p->chunks++; bits & 1; bits >>= 1)
        next = combine(p->waiting[--p->levels], next);
    p->waiting[p->levels++] = next;
}

static ALWAYS_INLINE V TN(pairwise_end)(V (*combine)(V, V), T identity, TN(pairwise) * p)
{
    V rest = v_splat(identity);
    while (p->levels > 0)
        rest = combine(p->waiting[--p->levels], rest);
    return rest;
}

/* ---- a row to a number ------------------------------------------------------------ */

/* x: (n) */
static ALWAYS_INLINE T TN(reduce_row)(V (*combine)(V, V), T identity, int64_t n, const T *x)
{
    const int64_t chunk = REDUCE_CHUNK * VL;
    if (n <= chunk)
        return TN(reduce_chunk)(combine, identity, n, x)[0];
    TN(pairwise) p;
    TN(pairwise_begin)(&p);
    for (; n > 0; n -= chunk, x += chunk) {
        const V next = TN(reduce_chunk)(combine, identity, n < chunk ? n : chunk, x);
        TN(pairwise_add)(combine, &p, next);
    }
    return TN(pairwise_end)(combine, identity, &p)[0];
}

/* ---- rows to a row ------------------------------------------------------------------ */
/* A vector is a piece of a row here, and what is a lane above is every VL-th row. */

/* Vector j of n columns begins here; the last may overlap the one before it. */
static ALWAYS_INLINE int64_t TN(column)(int64_t j, int64_t n, int64_t lanes)
{
    return j * VL < n - lanes ? j * VL : n - lanes;
}

/* VL vectors, pairwise; vector k is x[k * REDUCE_WIDTH]. */
static ALWAYS_INLINE V TN(reduce_all_lanes)(V (*combine)(V, V), const V *x)
{
    const int64_t step = REDUCE_WIDTH * VL;
    const T *p = (const T *)x;
    return VL == 2   ? TN(reduce_2)(combine, p, step, VL)
           : VL == 4 ? TN(reduce_4)(combine, p, step, VL)
           : VL == 8 ? TN(reduce_8)(combine, p, step, VL)
                     : combine(TN(reduce_8)(combine, p, step, VL),
                               TN(reduce_8)(combine, p + 8 * step, step, VL));
}

/* x: (rows, n), a row every `step` elements; y: (n); n <= REDUCE_WIDTH * VL, and
 * `lanes` is the smaller of n and VL */
static ALWAYS_INLINE void TN(reduce_columns)(V (*combine)(V, V), T identity, int64_t rows,
                                             int64_t n, const T *x, int64_t step, T *y,
                                             int64_t lanes)
{
    const int64_t width = (n + VL - 1) / VL, group = REDUCE_GROUP * VL;
    V lane[VBYTES / sizeof(T)][REDUCE_WIDTH];
    TN(pairwise) p[REDUCE_WIDTH];
    for (int64_t j = 0; j < width; j++)
        TN(pairwise_begin)(&p[j]);
    while (rows > 0) {
        const int64_t here = rows < REDUCE_CHUNK * VL ? rows : REDUCE_CHUNK * VL;
        const int64_t used = here < VL ? here : VL;
        int64_t row = 0;
        for (; row + group <= here; row += group, x += group * step)
            for (int64_t i = 0; i < VL; i++)
                for (int64_t j = 0; j < width; j++) {
                    const T *from = x + i * step + TN(column)(j, n, lanes);
                    const V next = TN(reduce_8)(combine, from, VL * step, lanes);
                    lane[i][j] = row == 0 ? next : combine(lane[i][j], next);
                }
        for (; row < here; row++, x += step)
            for (int64_t j = 0; j < width; j++) {
                const V next = TN(reduce_load)(x + TN(column)(j, n, lanes), lanes);
                V *to = &lane[row % VL][j];
                *to = row < VL ? next : combine(*to, next);
            }
        for (int64_t span = 1; used < VL && span < used; span *= 2)
            for (int64_t i = 0; i + span < used; i += 2 * span)
                for (int64_t j = 0; j < width; j++)
                    lane[i][j] = combine(lane[i][j], lane[i + span][j]);
        for (int64_t j = 0; j < width; j++) {
            const V *first = &lane[0][j];
            const V next = used < VL ? *first : TN(reduce_all_lanes)(combine, first);
            TN(pairwise_add)(combine, &p[j], next);
        }
        rows -= here;
    }
    for (int64_t j = 0; j < width; j++) {
        const V result = TN(pairwise_end)(combine, identity, &p[j]);
        if (lanes == VL)
            v_store(y + TN(column)(j, n, lanes), result);
        else
            v_store_n(y, result, lanes);
    }
}

/* x: (rows, n), a row every `step` elements; y: (n) */
static ALWAYS_INLINE void TN(reduce_rows_loop)(V (*combine)(V, V), T identity, int64_t rows,
                                               int64_t n, const T *x, int64_t step, T *y)
{
    const int64_t block = REDUCE_WIDTH * VL;
    if (n > 0 && n < VL) {
        TN(reduce_columns)(combine, identity, rows, n, x, step, y, n);
    } else {
        for (int64_t j = 0; j < n; j += block) {
            if (n - j < VL)
                j = n - VL;
            TN(reduce_columns)
            (combine, identity, rows, n - j < block ? n - j : block, x + j, step, y + j, VL);
        }
    }
}

#ifndef REDUCE_ROW
#define REDUCE_ROW(name, identity, combination)                                                    \
    static inline V TN(name##_combine)(V x, V y) { return combination; }                           \
    static void TN(name##_reduce)(int64_t n, const void *x, void *y)                               \
    {                                                                                              \
        const T result = TN(reduce_row)(TN(name##_combine), (T)(identity), n, x);                  \
        memcpy(y, &result, sizeof result);                                                         \
    }                                                                                              \
    static void TN(name##_reduce_rows)(int64_t rows, int64_t n, const void *x, int64_t step,       \
                                       void *y)                                                    \
    {                                                                                              \
        TN(reduce_rows_loop)(TN(name##_combine), (T)(identity), rows, n, x, step, y);              \
    }
#endif

#define REDUCE REDUCE_ROW
#include "reduce.def"

/* ---- the sum of a function ------------------------------------------------------------ */
/* f(x[i], t[i], c) summed over i, in the order of any other sum; its values are
 * stored in `keep` too, if that is not NULL.  Every lane gets the sum. */

static ALWAYS_INLINE V TN(sum_of_chunk)(V (*f)(V, V, V), int64_t n, const T *x, const T *t, V c,
                                        T *keep)
{
    V lanes = K(0);
    int64_t i = 0;
    while (i + REDUCE_GROUP * VL <= n) {
        V value[REDUCE_GROUP];
        for (int k = 0; k < REDUCE_GROUP; k++, i += VL) {
            value[k] = f(v_load(x + i), v_load(t + i), c);
            if (keep)
                v_store(keep + i, value[k]);
        }
        lanes = lanes + TN(reduce_8)(TN(sum_combine), (const T *)value, VL, VL);
    }
    for (; i < n; i += VL) {
        const int64_t here = n - i < VL ? n - i : VL;
        if (here == VL) {
            const V value = f(v_load(x + i), v_load(t + i), c);
            if (keep)
                v_store(keep + i, value);
            lanes = lanes + value;
        } else {
            const V value = f(v_load_n(x + i, here), v_load_n(t + i, here), c);
            if (keep)
                v_store_n(keep + i, value, here);
            lanes = lanes + v_first_n(value, here);
        }
    }
    return TN(reduce_lanes)(TN(sum_combine), lanes);
}

static ALWAYS_INLINE V TN(sum_of)(V (*f)(V, V, V), int64_t n, const T *x, const T *t, V c, T *keep)
{
    const int64_t chunk = REDUCE_CHUNK * VL;
    if (n <= chunk)
        return TN(sum_of_chunk)(f, n, x, t, c, keep);
    TN(pairwise) p;
    TN(pairwise_begin)(&p);
    for (int64_t i = 0; i < n; i += chunk) {
        const int64_t here = n - i < chunk ? n - i : chunk;
        const V next = TN(sum_of_chunk)(f, here, x + i, t + i, c, keep ? keep + i : NULL);
        TN(pairwise_add)(TN(sum_combine), &p, next);
    }
    return TN(pairwise_end)(TN(sum_combine), 0, &p);
}
