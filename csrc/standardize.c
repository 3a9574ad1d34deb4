/* standardize.c: sets of numbers to mean 0 and variance 1, threads over the sets; and the
 * running statistics of batch normalisation. */
#include "kernels.h"

#define GRAIN 32768 /* elements worth a thread */

typedef struct {
    const tga_standardize_kernels *kernels;
    int64_t outer, count, inner;
    double eps;
    int64_t size; /* bytes of an element */
    const char *gy, *x;
    char *y, *mean, *variance;
} sets;

static void standardize_sets(void *context, int64_t begin, int64_t end)
{
    const sets *c = context;
    const int64_t step = c->count * c->inner;
    for (int64_t i = begin; i < end; i++) {
        const int64_t first = i * c->inner * c->size;
        if (c->gy)
            c->kernels->backward(c->outer, step, c->inner, c->eps, c->gy + first, c->x + first,
                                 c->y + first);
        else
            c->kernels->forward(c->outer, step, c->inner, c->eps, c->x + first,
                                c->y ? c->y + first : NULL,
                                c->mean ? c->mean + i * c->size : NULL,
                                c->variance ? c->variance + i * c->size : NULL);
    }
}

static int run(sets c, int dtype)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    c.kernels = &tga_kernels_current()->standardize[dtype];
    c.size = (int64_t)tga_item_size(dtype);
    if (c.outer > 0 && c.inner > 0)
        tga_parallel(c.count, 1 + GRAIN / (c.outer * c.inner), standardize_sets, &c);
    return TGA_OK;
}

int tga_standardize_forward(int dtype, int64_t outer, int64_t count, int64_t inner, double eps,
                            const void *x, void *y, void *mean, void *variance)
{
    return run((sets){.outer = outer, .count = count, .inner = inner, .eps = eps, .x = x, .y = y,
                      .mean = mean, .variance = variance}, dtype);
}

int tga_standardize_backward(int dtype, int64_t outer, int64_t count, int64_t inner, double eps,
                             const void *gy, const void *x, void *gx)
{
    return run((sets){.outer = outer, .count = count, .inner = inner, .eps = eps, .gy = gy, .x = x,
                      .y = gx}, dtype);
}

#define RUNNING(type)                                                                              \
    static void running_##type(int64_t n, type rate, type factor, const type *new, type *old)      \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            old[i] = old[i] * (1 - rate) + new[i] * factor * rate;                                 \
    }
RUNNING(float)
RUNNING(double)

int tga_running_update(int dtype, int64_t n, double rate, double factor, const void *value,
                       void *running)
{
    if (dtype == TGA_FLOAT32)
        running_float(n, (float)rate, (float)factor, value, running);
    else if (dtype == TGA_FLOAT64)
        running_double(n, rate, factor, value, running);
    else
        return TGA_NO_KERNEL;
    return TGA_OK;
}
