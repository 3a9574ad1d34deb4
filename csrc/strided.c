/* strided.c: visit arrays of one shape and any strides as short contiguous rows.
 *
 * First the axes are simplified: an axis of length 1 goes, and two neighbours
 * that every operand walks as if they were one become one.  What is left of
 * most layouts is a single axis, or rows against a row.  Then either
 *   - the last axis is long and each input steps by 1 or 0 along it: the rows
 *     are handed on where they lie; or
 *   - elements are gathered, a block at a time, into small buffers on the
 *     stack: a transposed or sliced input needs no copy of the whole.
 * The order of elements is the result's, so a value never depends on the path.
 */
#include <string.h>

#include "strided.h"

#define OPERANDS 4
#define BLOCK 256      /* elements gathered at a time: 4 x 2 KiB of stack */
#define LONG_ROW 16    /* shorter rows cost more in calls than in copies */
#define GRAIN 32768    /* elements worth a thread */

typedef struct {
    int operands;
    int64_t ndim;
    int64_t shape[TGA_MAX_DIMS];
    int64_t stride[OPERANDS][TGA_MAX_DIMS];
    size_t size[OPERANDS];
    char *p[OPERANDS];
    int direct; /* rows can be handed on where they lie */
    tga_row_fn *row;
    const void *context;
} walk;

static void simplify(walk *w, const tga_layout *layout)
{
    w->ndim = 0;
    for (int64_t axis = 0; axis < layout->ndim; axis++) {
        const int64_t length = layout->shape[axis];
        if (length == 1)
            continue;
        int joins = w->ndim > 0;
        for (int j = 0; joins && j < w->operands; j++)
            joins = w->stride[j][w->ndim - 1] == layout->stride[j][axis] * length;
        const int64_t to = joins ? w->ndim - 1 : w->ndim++;
        w->shape[to] = joins ? w->shape[to] * length : length;
        for (int j = 0; j < w->operands; j++)
            w->stride[j][to] = layout->stride[j][axis];
    }
    if (w->ndim == 0) { /* a single element */
        w->ndim = 1;
        w->shape[0] = 1;
        for (int j = 0; j < w->operands; j++)
            w->stride[j][0] = 1;
    }
}

/* Where element number `flat`, in the result's order, stands. */
static void seek(const walk *w, int64_t flat, int64_t *index, int64_t *offset)
{
    memset(offset, 0, OPERANDS * sizeof *offset);
    for (int64_t axis = w->ndim - 1; axis >= 0; axis--) {
        index[axis] = flat % w->shape[axis];
        flat /= w->shape[axis];
        for (int j = 0; j < w->operands; j++)
            offset[j] += index[axis] * w->stride[j][axis];
    }
}

/* Move on by n elements along the last axis, which ends after them or later. */
static void advance(const walk *w, int64_t n, int64_t *index, int64_t *offset)
{
    int64_t axis = w->ndim - 1, step = n;
    for (;;) {
        index[axis] += step;
        for (int j = 0; j < w->operands; j++)
            offset[j] += step * w->stride[j][axis];
        if (index[axis] < w->shape[axis] || axis == 0)
            return;
        for (int j = 0; j < w->operands; j++)
            offset[j] -= index[axis] * w->stride[j][axis];
        index[axis] = 0;
        axis--;
        step = 1;
    }
}

/* to[i * to_step] = from[i * from_step], i < n, elements of 1, 4 or 8 bytes */
static void copy_elements(size_t size, int64_t n, char *to, int64_t to_step, const char *from,
                          int64_t from_step)
{
#define COPY(type)                                                                                 \
    for (int64_t i = 0; i < n; i++) {                                                              \
        type element;                                                                              \
        memcpy(&element, from + i * from_step * (int64_t)sizeof element, sizeof element);          \
        memcpy(to + i * to_step * (int64_t)sizeof element, &element, sizeof element);              \
    }
    if (size == 4) {
        COPY(uint32_t)
    } else if (size == 8) {
        COPY(uint64_t)
    } else {
        COPY(uint8_t)
    }
#undef COPY
}

static void walk_rows(const walk *w, int64_t begin, int64_t end)
{
    const int64_t last = w->ndim - 1;
    int64_t index[TGA_MAX_DIMS], offset[OPERANDS], step[OPERANDS];
    void *p[OPERANDS];
    for (int j = 0; j < w->operands; j++)
        step[j] = w->stride[j][last];
    seek(w, begin, index, offset);
    while (begin < end) {
        int64_t n = w->shape[last] - index[last];
        if (n > end - begin)
            n = end - begin;
        for (int j = 0; j < w->operands; j++)
            p[j] = w->p[j] + offset[j] * (int64_t)w->size[j];
        w->row(w->context, n, p, step);
        begin += n;
        advance(w, n, index, offset);
    }
}

static void walk_blocks(const walk *w, int64_t begin, int64_t end)
{
    static const int64_t step[OPERANDS] = {1, 1, 1, 1};
    const int64_t last = w->ndim - 1;
    int64_t index[TGA_MAX_DIMS], offset[OPERANDS];
    uint64_t buffer[OPERANDS][BLOCK];
    void *p[OPERANDS];
    for (int j = 0; j < w->operands; j++)
        p[j] = buffer[j];
    seek(w, begin, index, offset);
    while (begin < end) {
        const int64_t n = end - begin < BLOCK ? end - begin : BLOCK;
        int64_t start_index[TGA_MAX_DIMS], start_offset[OPERANDS];
        memcpy(start_index, index, (size_t)w->ndim * sizeof *index);
        memcpy(start_offset, offset, sizeof offset);
        for (int64_t i = 0; i < n;) {
            const int64_t left = w->shape[last] - index[last];
            const int64_t run = left < n - i ? left : n - i;
            for (int j = 1; j < w->operands; j++)
                copy_elements(w->size[j], run, (char *)buffer[j] + i * (int64_t)w->size[j], 1,
                              w->p[j] + offset[j] * (int64_t)w->size[j], w->stride[j][last]);
            i += run;
            advance(w, run, index, offset);
        }
        w->row(w->context, n, p, step);
        for (int64_t i = 0; i < n;) {
            const int64_t left = w->shape[last] - start_index[last];
            const int64_t run = left < n - i ? left : n - i;
            copy_elements(w->size[0], run, w->p[0] + start_offset[0] * (int64_t)w->size[0],
                          w->stride[0][last], (char *)buffer[0] + i * (int64_t)w->size[0], 1);
            i += run;
            advance(w, run, start_index, start_offset);
        }
        begin += n;
    }
}

static void walk_part(void *context, int64_t begin, int64_t end)
{
    const walk *w = context;
    if (w->direct)
        walk_rows(w, begin, end);
    else
        walk_blocks(w, begin, end);
}

void tga_walk(const tga_layout *layout, int operands, const size_t *size, void *const *p,
              tga_row_fn *row, const void *context)
{
    walk w = {.operands = operands, .row = row, .context = context};
    int64_t total = 1;
    for (int64_t axis = 0; axis < layout->ndim; axis++)
        total *= layout->shape[axis];
    if (total == 0)
        return;
    for (int j = 0; j < operands; j++) {
        w.size[j] = size[j];
        w.p[j] = p[j];
    }
    simplify(&w, layout);
    const int64_t last = w.ndim - 1;
    w.direct = (w.ndim == 1 || w.shape[last] >= LONG_ROW) && w.stride[0][last] == 1;
    for (int j = 1; j < operands; j++)
        w.direct = w.direct && (w.stride[j][last] == 1 || w.stride[j][last] == 0);
    tga_parallel(total, GRAIN, walk_part, &w);
}
