/* index.c: elements named by arrays of integers, and by masks.
 *
 * The arrays are seen as three axes, (outer, axis, inner), of which the middle one is indexed;
 * along it, y and the index have `count` places and x has `length`:
 *
 *     gather        y[o, j, i]  = x[o, index[o, j, i], i]
 *     scatter       x[o, index[o, j, i], i]  = y[o, j, i]
 *     scatter_add   x[o, index[o, j, i], i] += y[o, j, i]
 *
 * An index with stride 0 along outer and inner takes or puts whole rows.  A negative index
 * counts from the end.  All indices are checked before anything is written.
 *
 * What meets in one place of x is written, or added, in the order of j, on any number of
 * threads: they share the places of x among them, and each passes over the whole index.
 */
#include <string.h>

#include "kernels.h"

#define GRAIN 32768 /* elements worth a thread */

typedef struct {
    int64_t outer, count, inner;
    int64_t y[3], x[3], index[3]; /* strides */
} grid;

static grid grid_of(const tga_layout *layout)
{
    grid g = {layout->shape[0], layout->shape[1], layout->shape[2], {0}, {0}, {0}};
    memcpy(g.y, layout->stride[0], sizeof g.y);
    memcpy(g.x, layout->stride[1], sizeof g.x);
    memcpy(g.index, layout->stride[2], sizeof g.index);
    return g;
}

static int64_t elements(const grid *g) { return g->outer * g->count * g->inner; }

/* lowest <= i < length, in one comparison: below lowest the difference wraps */
static int is_legal(int64_t i, int64_t lowest, int64_t length)
{
    return (uint64_t)i - (uint64_t)lowest < (uint64_t)length - (uint64_t)lowest;
}

/* The same without a comparison, for which old vectors have no instruction: the highest bit is
 * set if i is not legal.  lowest <= 0 <= length, so of the two differences one is negative. */
static uint64_t is_wrong(int64_t i, int64_t lowest, int64_t length)
{
    return ((uint64_t)i - (uint64_t)lowest) | ((uint64_t)length - 1 - (uint64_t)i);
}

static int64_t from_front(int64_t i, int64_t length) { return i < 0 ? i + length : i; }

/* Whether n indices, `step` apart, are legal. */
static int run_is_legal(int64_t n, const int64_t *index, int64_t step, int64_t lowest,
                        int64_t length)
{
    uint64_t wrong = 0;
    if (step == 1)
        for (int64_t k = 0; k < n; k++)
            wrong |= is_wrong(index[k], lowest, length);
    else
        for (int64_t k = 0; k < n; k++)
            wrong |= is_wrong(index[k * step], lowest, length);
    return wrong >> 63 == 0;
}

/* Whether every index is legal; those that repeat, with stride 0, are looked at once. */
static int all_legal(const grid *g, const int64_t *index, int64_t lowest, int64_t length)
{
    const int64_t outer = g->index[0] ? g->outer : 1, inner = g->index[2] ? g->inner : 1;
    int legal = 1;
    if (elements(g) == 0)
        return 1;
    if (inner == 1 && g->index[0] == g->count * g->index[1]) /* one after the other */
        return run_is_legal(outer * g->count, index, g->index[1], lowest, length);
    for (int64_t o = 0; o < outer; o++)
        if (inner == 1)
            legal &= run_is_legal(g->count, index + o * g->index[0], g->index[1], lowest, length);
        else
            for (int64_t j = 0; j < g->count; j++)
                legal &= run_is_legal(inner, index + o * g->index[0] + j * g->index[1],
                                      g->index[2], lowest, length);
    return legal;
}

typedef struct {
    grid g;
    int64_t length;
    const int64_t *index;
    const void *from;
    void *to;
} job;

/* ---- gather ------------------------------------------------------------------------- */

/* Elements as wide as `bits`: a run along one axis, each from its own place; and rows number
 * begin ... end - 1 of y, where a row is all that has the same o and j. */
#define GATHER(bits)                                                                               \
    static inline __attribute__((always_inline)) void gather_run_##bits(                           \
        int64_t n, int64_t length, const int64_t *index, int64_t index_step, const char *x,        \
        int64_t place_step, int64_t x_step, char *y, int64_t y_step)                               \
    {                                                                                              \
        const int64_t size = bits / 8;                                                             \
        if (index_step == 1 && place_step == 1 && x_step == 0 && y_step == 1) { /* mostly */       \
            for (int64_t k = 0; k < n; k++)                                                        \
                memcpy(y + k * size, x + from_front(index[k], length) * size, bits / 8);           \
            return;                                                                                \
        }                                                                                          \
        for (int64_t k = 0; k < n; k++) {                                                          \
            const int64_t place = from_front(index[k * index_step], length);                       \
            memcpy(y + k * y_step * size, x + (place * place_step + k * x_step) * size, bits / 8); \
        }                                                                                          \
    }                                                                                              \
    static void gather_##bits(void *context, int64_t begin, int64_t end)                           \
    {                                                                                              \
        const job *job = context;                                                                  \
        const grid *g = &job->g;                                                                   \
        const int64_t size = bits / 8;                                                             \
        int64_t o = begin / g->count, j = begin % g->count;                                        \
        while (begin < end) {                                                                      \
            const int64_t rest = end - begin < g->count - j ? end - begin : g->count - j;          \
            const int64_t run = g->inner == 1 ? rest : 1; /* rows of one element go together */    \
            const int64_t *index = job->index + o * g->index[0] + j * g->index[1];                 \
            const char *x = (const char *)job->from + o * g->x[0] * size;                          \
            char *y = (char *)job->to + (o * g->y[0] + j * g->y[1]) * size;                        \
            if (g->inner == 1)                                                                     \
                gather_run_##bits(run, job->length, index, g->index[1], x, g->x[1], 0, y,          \
                                  g->y[1]);                                                        \
            else if (g->index[2] == 0 && g->x[2] == 1 && g->y[2] == 1)                             \
                memcpy(y, x + from_front(*index, job->length) * g->x[1] * size,                    \
                       (size_t)(g->inner * size));                                                 \
            else                                                                                   \
                gather_run_##bits(g->inner, job->length, index, g->index[2], x, g->x[1], g->x[2],  \
                                  y, g->y[2]);                                                     \
            begin += run;                                                                          \
            j += run;                                                                              \
            if (j == g->count) {                                                                   \
                j = 0;                                                                             \
                o++;                                                                               \
            }                                                                                      \
        }                                                                                          \
    }
GATHER(8)
GATHER(32)
GATHER(64)

int tga_gather(int dtype, const tga_layout *layout, int64_t lowest, int64_t length, const void *x,
               const int64_t *index, void *y)
{
    job job = {grid_of(layout), length, index, x, y};
    if (!all_legal(&job.g, index, lowest, length))
        return TGA_BAD_INDEX;
    const int64_t rows = job.g.outer * job.g.count, grain = GRAIN / (job.g.inner + 1) + 1;
    switch (tga_item_size(dtype)) {
    case 1:
        tga_parallel(rows, grain, gather_8, &job);
        break;
    case 4:
        tga_parallel(rows, grain, gather_32, &job);
        break;
    default:
        tga_parallel(rows, grain, gather_64, &job);
    }
    return TGA_OK;
}

/* ---- scatter: gather's transpose ---------------------------------------------------- */

/* A run of y along one axis, each element to its own place, if that lies in [begin, end); and
 * all of y that goes to places begin ... end - 1.  PUT says what happens there. */
#define SCATTER(name, type, PUT)                                                                   \
    static void name##_run(int64_t n, int64_t begin, int64_t end, int64_t length,                  \
                           const int64_t *index, int64_t index_step, const type *y,                \
                           int64_t y_step, type *x, int64_t place_step, int64_t x_step)            \
    {                                                                                              \
        for (int64_t k = 0; k < n; k++) {                                                          \
            const int64_t place = from_front(index[k * index_step], length);                       \
            type *to = x + place * place_step + k * x_step;                                        \
            if (begin <= place && place < end)                                                     \
                *to = PUT(*to, y[k * y_step]);                                                     \
        }                                                                                          \
    }                                                                                              \
    static void name(void *context, int64_t begin, int64_t end)                                    \
    {                                                                                              \
        const job *job = context;                                                                  \
        const grid *g = &job->g;                                                                   \
        for (int64_t o = 0; o < g->outer; o++) {                                                   \
            const int64_t *index = job->index + o * g->index[0];                                   \
            const type *y = (const type *)job->from + o * g->y[0];                                 \
            type *x = (type *)job->to + o * g->x[0];                                               \
            if (g->inner == 1) {                                                                   \
                name##_run(g->count, begin, end, job->length, index, g->index[1], y, g->y[1], x,   \
                           g->x[1], 0);                                                            \
                continue;                                                                          \
            }                                                                                      \
            for (int64_t j = 0; j < g->count; j++, index += g->index[1], y += g->y[1]) {           \
                if (g->index[2] != 0 || g->x[2] != 1 || g->y[2] != 1) {                            \
                    name##_run(g->inner, begin, end, job->length, index, g->index[2], y, g->y[2],  \
                               x, g->x[1], g->x[2]);                                               \
                    continue;                                                                      \
                }                                                                                  \
                const int64_t place = from_front(*index, job->length);                             \
                type *to = x + place * g->x[1];                                                    \
                if (begin <= place && place < end)                                                 \
                    for (int64_t i = 0; i < g->inner; i++)                                         \
                        to[i] = PUT(to[i], y[i]);                                                  \
            }                                                                                      \
        }                                                                                          \
    }
#define ADD(x, y) (x) + (y)
#define REPLACE(x, y) (y)
SCATTER(add_float32, float, ADD)
SCATTER(add_float64, double, ADD)
SCATTER(add_int64, uint64_t, ADD) /* wraps */
SCATTER(replace_float32, float, REPLACE)
SCATTER(replace_float64, double, REPLACE)
SCATTER(replace_int64, int64_t, REPLACE)
SCATTER(replace_uint8, uint8_t, REPLACE)

typedef void scatter_fn(void *context, int64_t begin, int64_t end);

static int scatter(scatter_fn *put, const tga_layout *layout, int64_t lowest, int64_t length,
                   const void *y, const int64_t *index, void *x)
{
    if (put == NULL)
        return TGA_NO_KERNEL;
    job job = {grid_of(layout), length, index, y, x};
    if (!all_legal(&job.g, index, lowest, length))
        return TGA_BAD_INDEX;
    if (elements(&job.g) <= GRAIN)
        put(&job, 0, length);
    else /* few parts, since each reads the whole index */
        tga_parallel(length, length / tga_threads_get() + 1, put, &job);
    return TGA_OK;
}

int tga_scatter(int dtype, const tga_layout *layout, int64_t lowest, int64_t length, const void *y,
                const int64_t *index, void *x)
{
    scatter_fn *const put[] = {[TGA_FLOAT32] = replace_float32,
                               [TGA_FLOAT64] = replace_float64,
                               [TGA_INT64] = replace_int64,
                               [TGA_BOOL] = replace_uint8,
                               [TGA_UINT8] = replace_uint8};
    return scatter(put[dtype], layout, lowest, length, y, index, x);
}

int tga_scatter_add(int dtype, const tga_layout *layout, int64_t lowest, int64_t length,
                    const void *y, const int64_t *index, void *x)
{
    scatter_fn *const put[] = {[TGA_FLOAT32] = add_float32,
                               [TGA_FLOAT64] = add_float64,
                               [TGA_INT64] = add_int64,
                               [TGA_UINT8] = NULL};
    return scatter(put[dtype], layout, lowest, length, y, index, x);
}

/* ---- several indices, or a mask, as one index ---------------------------------------- */

int tga_index_join(const tga_layout *layout, int first, int64_t length, const int64_t *index,
                   int64_t *joined)
{
    int64_t total = 1, place[TGA_MAX_DIMS] = {0};
    for (int64_t axis = 0; axis < layout->ndim; axis++)
        total *= layout->shape[axis];
    int legal = 1;
    int64_t offset = 0;
    for (int64_t k = 0; k < total; k++) {
        const int64_t i = index[offset];
        legal &= is_legal(i, -length, length);
        const uint64_t before = first ? 0 : (uint64_t)joined[k] * (uint64_t)length;
        joined[k] = (int64_t)(before + (uint64_t)from_front(i, length)); /* no overflow if legal */
        for (int64_t axis = layout->ndim - 1; axis >= 0; axis--) { /* on to the next place */
            offset += layout->stride[1][axis];
            if (++place[axis] < layout->shape[axis])
                break;
            offset -= layout->stride[1][axis] * layout->shape[axis];
            place[axis] = 0;
        }
    }
    return legal ? TGA_OK : TGA_BAD_INDEX;
}

int tga_mask_count(int64_t n, const uint8_t *mask, int64_t *count)
{
    int64_t found = 0;
    for (int64_t i = 0; i < n; i++)
        found += mask[i] != 0;
    *count = found;
    return TGA_OK;
}

int tga_mask_places(int64_t n, const uint8_t *mask, int64_t count, int64_t *places)
{
    int64_t found = 0;
    for (int64_t i = 0; i < n && found < count; i++) {
        places[found] = i; /* kept if the next one comes behind it: no branch to mispredict */
        found += mask[i] != 0;
    }
    return found == count ? TGA_OK : TGA_BAD_INDEX;
}
