/* rows.c: variance, length, logsumexp and the place of the largest, row by row, and the backward
 * of reductions along any one axis: checks and threads. */
#include <math.h>
#include <string.h>

#include "kernels.h"

#define GRAIN 32768 /* elements worth a thread */

static int64_t rows_worth_a_thread(int64_t n) { return n < GRAIN ? GRAIN / (n + 1) + 1 : 1; }

typedef struct {
    int64_t n;
    size_t size; /* bytes of an element */
    double number;
    const char *x;
    char *result;
    tga_rows_fn *forward;
} rows_of;

static void forward_part(void *context, int64_t begin, int64_t end)
{
    const rows_of *r = context;
    const size_t row = (size_t)begin * r->size;
    r->forward(end - begin, r->n, r->number, r->x + row * (size_t)r->n, r->result + row);
}

static int forward(int dtype, int64_t rows, int64_t n, double number, const void *x, void *y,
                   tga_rows_fn *const *kernels)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    rows_of r = {.n = n, .size = tga_item_size(dtype), .number = number, .x = x, .result = y,
                 .forward = kernels[dtype]};
    if (rows > 0)
        tga_parallel(rows, rows_worth_a_thread(n), forward_part, &r);
    return TGA_OK;
}

int tga_var_forward(int dtype, int64_t rows, int64_t n, double divisor, const void *x, void *y)
{
    return forward(dtype, rows, n, divisor, x, y, tga_kernels_current()->var_forward);
}

int tga_norm_forward(int dtype, int64_t rows, int64_t n, const void *x, void *y)
{
    return forward(dtype, rows, n, 0, x, y, tga_kernels_current()->norm_forward);
}

int tga_logsumexp_forward(int dtype, int64_t rows, int64_t n, const void *x, void *y)
{
    return forward(dtype, rows, n, 0, x, y, tga_kernels_current()->logsumexp_forward);
}

/* ---- along lines ------------------------------------------------------------ */

typedef struct {
    tga_lines_fn *kernel;
    int64_t n, inner, width, blocks; /* blocks of up to `width` columns, side by side */
    int64_t size;                    /* bytes of an element */
    double number;
    const char *gy, *y, *x, *t;
    char *z;
} lines;

static const char *at(const char *p, int64_t bytes) { return p ? p + bytes : NULL; }

static void lines_part(void *context, int64_t begin, int64_t end)
{
    const lines *l = context;
    /* Matrices of one block follow each other, and are one call. */
    const int64_t together = l->blocks == 1 ? end - begin : 1;
    for (; begin < end; begin += together) {
        const int64_t outer = begin / l->blocks, column = begin % l->blocks * l->width;
        const int64_t left = l->inner - column, columns = left < l->width ? left : l->width;
        const int64_t one = (outer * l->inner + column) * l->size;
        const int64_t all = (outer * l->n * l->inner + column) * l->size;
        l->kernel(together, l->n, columns, l->inner, l->number, at(l->gy, one), at(l->y, one),
                  at(l->x, all), at(l->t, all), l->z + all);
    }
}

int tga_along_lines(tga_lines_fn *const *kernel, int dtype, int64_t outer, int64_t n,
                    int64_t inner, double number, const void *gy, const void *y, const void *x,
                    const void *t, void *z)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    if (outer * n * inner == 0)
        return TGA_OK;
    lines l = {.kernel = kernel[dtype], .n = n, .inner = inner, .number = number, .gy = gy,
               .y = y, .x = x, .t = t, .z = z, .size = (int64_t)tga_item_size(dtype)};
    const int64_t most = TGA_COLUMN_BYTES / l.size;
    l.width = inner < most ? inner : most;
    l.blocks = (inner + l.width - 1) / l.width;
    tga_parallel(outer * l.blocks, rows_worth_a_thread(n * l.width), lines_part, &l);
    return TGA_OK;
}

int tga_var_backward(int dtype, int64_t outer, int64_t n, int64_t inner, double factor,
                     const void *gy, const void *x, void *gx)
{
    return tga_along_lines(tga_kernels_current()->var_backward, dtype, outer, n, inner, factor, gy,
                           NULL, x, NULL, gx);
}

int tga_norm_backward(int dtype, int64_t outer, int64_t n, int64_t inner, const void *gy,
                      const void *y, const void *x, void *gx)
{
    return tga_along_lines(tga_kernels_current()->norm_backward, dtype, outer, n, inner, 0, gy, y,
                           x, NULL, gx);
}

int tga_logsumexp_backward(int dtype, int64_t outer, int64_t n, int64_t inner, const void *gy,
                           const void *y, const void *x, void *gx)
{
    return tga_along_lines(tga_kernels_current()->logsumexp_backward, dtype, outer, n, inner, 0, gy,
                           y, x, NULL, gx);
}

int tga_extreme_backward(int dtype, int64_t outer, int64_t n, int64_t inner, const void *gy,
                         const void *y, const void *x, void *gx)
{
    return tga_along_lines(tga_kernels_current()->extreme_backward, dtype, outer, n, inner, 0, gy,
                           y, x, NULL, gx);
}

int tga_prod_backward(int dtype, int64_t outer, int64_t n, int64_t inner, const void *gy,
                      const void *x, void *gx)
{
    return tga_along_lines(tga_kernels_current()->prod_backward, dtype, outer, n, inner, 0, gy,
                           NULL, x, NULL, gx);
}

/* ---- the place of the largest ------------------------------------------------ */

typedef struct {
    int dtype, smallest;
    int64_t n;
    size_t size;
    const char *x;
    int64_t *y;
    tga_reduce_fn *extreme;
} places;

/* Which of n floats, the first of them, is `best`; nan is found by being none. */
#define FIRST(type)                                                                                \
    static int64_t first_##type(int64_t n, const type *x, type best)                               \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            if (x[i] == best || (x[i] != x[i] && best != best))                                    \
                return i;                                                                          \
        return 0;                                                                                  \
    }
FIRST(float)
FIRST(double)

#define PLACE(type)                                                                                \
    static int64_t place_##type(int64_t n, const type *x, int smallest)                            \
    {                                                                                              \
        int64_t best = 0;                                                                          \
        for (int64_t i = 1; i < n; i++)                                                            \
            if (smallest ? x[i] < x[best] : x[i] > x[best])                                        \
                best = i;                                                                          \
        return best;                                                                               \
    }
PLACE(int64_t)
PLACE(uint8_t)

static void places_part(void *context, int64_t begin, int64_t end)
{
    const places *p = context;
    for (int64_t i = begin; i < end; i++) {
        const void *x = p->x + (size_t)i * (size_t)p->n * p->size;
        if (p->dtype == TGA_FLOAT32) {
            float best;
            p->extreme(p->n, x, &best);
            p->y[i] = first_float(p->n, x, best);
        } else if (p->dtype == TGA_FLOAT64) {
            double best;
            p->extreme(p->n, x, &best);
            p->y[i] = first_double(p->n, x, best);
        } else if (p->dtype == TGA_INT64) {
            p->y[i] = place_int64_t(p->n, x, p->smallest);
        } else {
            p->y[i] = place_uint8_t(p->n, x, p->smallest);
        }
    }
}

int tga_argmax(int dtype, int smallest, int64_t rows, int64_t n, const void *x, int64_t *y)
{
    places p = {.dtype = dtype, .smallest = smallest, .n = n, .size = tga_item_size(dtype),
                .x = x, .y = y};
    if (dtype == TGA_FLOAT32 || dtype == TGA_FLOAT64)
        p.extreme = tga_kernels_current()->reduce[dtype][smallest ? REDUCE_min : REDUCE_max];
    if (rows > 0)
        tga_parallel(rows, rows_worth_a_thread(n), places_part, &p);
    return TGA_OK;
}
