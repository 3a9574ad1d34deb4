/* rows.c: variance, length, logsumexp and the place of the largest, row by row: checks and
 * threads. */
#include <math.h>
#include <string.h>

#include "kernels.h"

#define GRAIN 32768 /* elements worth a thread */

static int64_t rows_worth_a_thread(int64_t n) { return n < GRAIN ? GRAIN / (n + 1) + 1 : 1; }

typedef struct {
    int64_t n;
    size_t size; /* bytes of an element */
    double number;
    const char *gy, *y, *x;
    char *result;
    tga_rows_fn *forward;
    tga_var_backward_fn *var_backward;
    tga_logsumexp_backward_fn *logsumexp_backward;
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

static void var_backward_part(void *context, int64_t begin, int64_t end)
{
    const rows_of *r = context;
    const size_t row = (size_t)begin * r->size, all = row * (size_t)r->n;
    r->var_backward(end - begin, r->n, r->number, r->gy + row, r->x + all, r->result + all);
}

int tga_var_backward(int dtype, int64_t rows, int64_t n, double factor, const void *gy,
                     const void *x, void *gx)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    rows_of r = {.n = n, .size = tga_item_size(dtype), .number = factor, .gy = gy, .x = x,
                 .result = gx, .var_backward = tga_kernels_current()->var_backward[dtype]};
    if (rows > 0)
        tga_parallel(rows, rows_worth_a_thread(n), var_backward_part, &r);
    return TGA_OK;
}

static void logsumexp_backward_part(void *context, int64_t begin, int64_t end)
{
    const rows_of *r = context;
    const size_t row = (size_t)begin * r->size, all = row * (size_t)r->n;
    r->logsumexp_backward(end - begin, r->n, r->gy + row, r->y + row, r->x + all, r->result + all);
}

int tga_logsumexp_backward(int dtype, int64_t rows, int64_t n, const void *gy, const void *y,
                           const void *x, void *gx)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    rows_of r = {.n = n, .size = tga_item_size(dtype), .gy = gy, .y = y, .x = x, .result = gx,
                 .logsumexp_backward = tga_kernels_current()->logsumexp_backward[dtype]};
    if (rows > 0)
        tga_parallel(rows, rows_worth_a_thread(n), logsumexp_backward_part, &r);
    return TGA_OK;
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
