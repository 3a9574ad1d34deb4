/* strided.c: visit arrays of one shape and any strides as short contiguous rows.
 *
 * First the axes are simplified: an axis of length 1 goes, the result's own order of axes is
 * taken, and two neighbours that every operand walks as if they were one become one.  What is
 * left of most layouts is a single axis, or rows against a row.  Then one of
 *   - the last axis is long and each input steps by 1 or 0 along it: the rows
 *     are handed on where they lie;
 *   - an input lies the other way round, as a transposed one does: it is gathered in tiles,
 *     of which whole cache lines are read, into a small buffer on the stack;
 *   - anything else: elements are gathered, a block at a time.
 * Each element is computed by itself, so its value does not depend on the path.
 */
#include <stdbool.h>
#include <string.h>

#include "strided.h"

#define OPERANDS 4
#define BLOCK 256   /* elements gathered at a time: 4 x 2 KiB of stack */
#define TILE 1024   /* elements of a tile: 4 x 8 KiB of stack */
#define TILE_ROW 64 /* its longest row */
#define LINE 16     /* elements read at a time from an input that is transposed: 64 or 128 bytes */
#define LONG_ROW 16 /* shorter rows cost more in calls than in copies */
#define GRAIN 32768 /* elements worth a thread */

typedef struct {
    int operands;
    int64_t ndim;
    int64_t shape[TGA_MAX_DIMS];
    int64_t stride[OPERANDS][TGA_MAX_DIMS]; /* in bytes */
    int64_t size[OPERANDS];
    char *p[OPERANDS];
    int64_t tile_rows, tile_columns;
    tga_row_fn *row;
    const void *context;
} walk;

/* Whether operand j's elements lie one after the other along the axis, or are all the same. */
static bool is_row(const walk *w, int j, int64_t axis)
{
    return w->stride[j][axis] == w->size[j] || w->stride[j][axis] == 0;
}

/* ---- axes ------------------------------------------------------------------ */

static void swap_axes(walk *w, int64_t a, int64_t b)
{
    const int64_t length = w->shape[a];
    w->shape[a] = w->shape[b];
    w->shape[b] = length;
    for (int j = 0; j < w->operands; j++) {
        const int64_t stride = w->stride[j][a];
        w->stride[j][a] = w->stride[j][b];
        w->stride[j][b] = stride;
    }
}

static int64_t distance(int64_t stride) { return stride < 0 ? -stride : stride; }

static void simplify(walk *w, const tga_layout *layout)
{
    int64_t ndim = 0;
    for (int64_t axis = 0; axis < layout->ndim; axis++) {
        if (layout->shape[axis] == 1)
            continue;
        w->shape[ndim] = layout->shape[axis];
        for (int j = 0; j < w->operands; j++)
            w->stride[j][ndim] = layout->stride[j][axis] * w->size[j];
        /* the result's farthest steps come first, as in memory */
        for (int64_t i = ndim++; i > 0; i--) {
            if (distance(w->stride[0][i]) <= distance(w->stride[0][i - 1]))
                break;
            swap_axes(w, i, i - 1);
        }
    }
    w->ndim = 0;
    for (int64_t axis = 0; axis < ndim; axis++) {
        const int64_t before = w->ndim - 1, length = w->shape[axis];
        bool joins = w->ndim > 0;
        for (int j = 0; joins && j < w->operands; j++)
            joins = w->stride[j][before] == w->stride[j][axis] * length;
        const int64_t to = joins ? before : w->ndim++;
        w->shape[to] = joins ? w->shape[to] * length : length;
        for (int j = 0; j < w->operands; j++)
            w->stride[j][to] = w->stride[j][axis];
    }
    if (w->ndim == 0) { /* a single element */
        w->ndim = 1;
        w->shape[0] = 1;
        for (int j = 0; j < w->operands; j++)
            w->stride[j][0] = w->size[j];
    }
}

/* Where element number `flat`, in this order of axes, stands. */
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

/* Move on by n steps along an axis, which ends after them or later; then the next begins. */
static void advance(const walk *w, int64_t axis, int64_t n, int64_t *index, int64_t *offset)
{
    for (;; axis--, n = 1) {
        index[axis] += n;
        for (int j = 0; j < w->operands; j++)
            offset[j] += n * w->stride[j][axis];
        if (index[axis] < w->shape[axis] || axis == 0)
            return;
        for (int j = 0; j < w->operands; j++)
            offset[j] -= index[axis] * w->stride[j][axis];
        index[axis] = 0;
    }
}

/* Element i of a row of n goes from `from + i * from_step` to `to + i * to_step`, and so do
 * `rows` rows; steps in bytes. */
static void copy_elements(int64_t size, int64_t rows, int64_t n, char *to, int64_t to_row,
                          int64_t to_step, const char *from, int64_t from_row, int64_t from_step)
{
#define COPY(type)                                                                                 \
    for (int64_t r = 0; r < rows; r++)                                                             \
        for (int64_t i = 0; i < n; i++) {                                                          \
            type element;                                                                          \
            memcpy(&element, from + r * from_row + i * from_step, sizeof element);                 \
            memcpy(to + r * to_row + i * to_step, &element, sizeof element);                       \
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

/* ---- rows where they lie ----------------------------------------------------- */

static void walk_rows(void *context, int64_t begin, int64_t end)
{
    const walk *w = context;
    const int64_t last = w->ndim - 1;
    int64_t index[TGA_MAX_DIMS], offset[OPERANDS], step[OPERANDS];
    void *p[OPERANDS];
    for (int j = 0; j < w->operands; j++)
        step[j] = w->stride[j][last] != 0;
    seek(w, begin, index, offset);
    while (begin < end) {
        const int64_t left = w->shape[last] - index[last];
        const int64_t n = left < end - begin ? left : end - begin;
        /* whole rows, as many as there are before the next axis but one moves */
        int64_t rows = 1;
        if (last > 0 && n == w->shape[last]) {
            rows = (end - begin) / n;
            if (rows > w->shape[last - 1] - index[last - 1])
                rows = w->shape[last - 1] - index[last - 1];
        }
        for (int64_t r = 0; r < rows; r++) {
            for (int j = 0; j < w->operands; j++)
                p[j] = w->p[j] + offset[j] + (rows > 1 ? r * w->stride[j][last - 1] : 0);
            w->row(w->context, n, p, step);
        }
        begin += rows * n;
        if (rows > 1)
            advance(w, last - 1, rows, index, offset);
        else
            advance(w, last, n, index, offset);
    }
}

/* ---- tiles ------------------------------------------------------------------- */

/* If an input lies the other way round, bring the axis along which its elements are neighbours
 * next to the last one; tiles are of these two. */
static bool choose_tiles(walk *w)
{
    const int64_t last = w->ndim - 1;
    if (w->stride[0][last] != w->size[0])
        return false;
    for (int j = 1; j < w->operands; j++) {
        if (is_row(w, j, last))
            continue;
        for (int64_t axis = 0; axis < last; axis++) {
            if (w->stride[j][axis] != w->size[j] || w->shape[axis] < LINE / 2)
                continue;
            for (; axis < last - 1; axis++)
                swap_axes(w, axis, axis + 1);
            w->tile_columns = w->shape[last] < TILE_ROW ? w->shape[last] : TILE_ROW;
            w->tile_rows = TILE / w->tile_columns / LINE * LINE;
            return true;
        }
    }
    return false;
}

static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static int64_t tiles(const walk *w, int64_t *down, int64_t *across)
{
    *down = div_up(w->shape[w->ndim - 2], w->tile_rows);
    *across = div_up(w->shape[w->ndim - 1], w->tile_columns);
    int64_t planes = 1;
    for (int64_t axis = 0; axis < w->ndim - 2; axis++)
        planes *= w->shape[axis];
    return planes * *down * *across;
}

static void walk_tile(const walk *w, const int64_t *offset, int64_t rows, int64_t columns)
{
    const int64_t last = w->ndim - 1;
    uint64_t buffer[OPERANDS][TILE];
    char *first[OPERANDS];
    int64_t to_next[OPERANDS], step[OPERANDS];
    for (int j = 0; j < w->operands; j++) {
        const int64_t size = w->size[j];
        first[j] = w->p[j] + offset[j];
        to_next[j] = w->stride[j][last - 1];
        step[j] = w->stride[j][last] != 0;
        if (is_row(w, j, last))
            continue;
        copy_elements(size, columns, rows, (char *)buffer[j], size, columns * size, first[j],
                      w->stride[j][last], w->stride[j][last - 1]);
        first[j] = (char *)buffer[j];
        to_next[j] = columns * size;
    }
    /* Rows that follow each other in every operand are one. */
    bool join = true;
    for (int j = 0; j < w->operands; j++)
        join = join && to_next[j] == step[j] * columns * w->size[j];
    const int64_t n = join ? rows * columns : columns;
    for (int64_t r = 0; r < (join ? 1 : rows); r++) {
        void *p[OPERANDS];
        for (int j = 0; j < w->operands; j++)
            p[j] = first[j] + r * to_next[j];
        w->row(w->context, n, p, step);
    }
}

static void walk_tiles(void *context, int64_t begin, int64_t end)
{
    const walk *w = context;
    const int64_t last = w->ndim - 1, height = w->shape[last - 1], width = w->shape[last];
    int64_t down, across, index[TGA_MAX_DIMS], offset[OPERANDS];
    tiles(w, &down, &across);
    for (int64_t i = begin; i < end; i++) {
        const int64_t plane = i / (down * across);
        const int64_t row = i / across % down * w->tile_rows, column = i % across * w->tile_columns;
        seek(w, (plane * height + row) * width + column, index, offset);
        walk_tile(w, offset, height - row < w->tile_rows ? height - row : w->tile_rows,
                  width - column < w->tile_columns ? width - column : w->tile_columns);
    }
}

/* ---- anything else ------------------------------------------------------------- */

/* Whether the result is one row, however many axes the inputs have. */
static bool is_contiguous(const walk *w)
{
    int64_t stride = w->size[0];
    for (int64_t axis = w->ndim - 1; axis >= 0; axis--) {
        if (w->stride[0][axis] != stride)
            return false;
        stride *= w->shape[axis];
    }
    return true;
}

static void walk_blocks(void *context, int64_t begin, int64_t end)
{
    const walk *w = context;
    const bool in_place = is_contiguous(w);
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
                copy_elements(w->size[j], 1, run, (char *)buffer[j] + i * w->size[j], 0, w->size[j],
                              w->p[j] + offset[j], 0, w->stride[j][last]);
            i += run;
            advance(w, last, run, index, offset);
        }
        if (in_place)
            p[0] = w->p[0] + begin * w->size[0];
        w->row(w->context, n, p, step);
        for (int64_t i = 0; i < n && !in_place;) {
            const int64_t left = w->shape[last] - start_index[last];
            const int64_t run = left < n - i ? left : n - i;
            copy_elements(w->size[0], 1, run, w->p[0] + start_offset[0], 0, w->stride[0][last],
                          (char *)buffer[0] + i * w->size[0], 0, w->size[0]);
            i += run;
            advance(w, last, run, start_index, start_offset);
        }
        begin += n;
    }
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
        w.size[j] = (int64_t)size[j];
        w.p[j] = p[j];
    }
    simplify(&w, layout);
    const int64_t last = w.ndim - 1;
    bool rows = (w.ndim == 1 || w.shape[last] >= LONG_ROW) && w.stride[0][last] == w.size[0];
    for (int j = 1; j < operands; j++)
        rows = rows && is_row(&w, j, last);
    int64_t down, across;
    if (rows)
        tga_parallel(total, GRAIN, walk_rows, &w);
    else if (choose_tiles(&w))
        tga_parallel(tiles(&w, &down, &across), GRAIN / TILE, walk_tiles, &w);
    else
        tga_parallel(total, GRAIN, walk_blocks, &w);
}
