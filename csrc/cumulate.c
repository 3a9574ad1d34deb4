/* cumulate.c: sums and products of all elements up to each one, along one axis.
 *
 * Arrays are seen as (outer, n, inner), the axis in the middle.  An element is computed from
 * its predecessor, in order, so nothing here is a matter of instruction sets; inner elements
 * are independent, and the compiler takes several at once.
 */
#include "kernels.h"

#define GRAIN 32768 /* elements worth a thread */

typedef struct {
    int product, reverse;
    int64_t n, inner;
    const void *gy, *x;
    void *y;
} cumulation;

/* Integers wrap, so they are unsigned; `from` is the type of x, `to` that of y. */
#define CUMULATE(name, from, to)                                                                   \
    static void name(void *context, int64_t begin, int64_t end)                                    \
    {                                                                                              \
        const cumulation *c = context;                                                             \
        const int64_t block = c->n * c->inner, step = c->reverse ? -c->inner : c->inner;           \
        const int64_t first = c->reverse ? block - c->inner : 0;                                   \
        for (int64_t i = begin; i < end; i++) {                                                    \
            const from *x = (const from *)c->x + i * block + first;                                \
            to *y = (to *)c->y + i * block + first;                                                \
            if (c->inner == 1) { /* what waits for its predecessor waits in a register */          \
                to all = *x;                                                                       \
                *y = all;                                                                          \
                for (int64_t k = 1; k < c->n; k++) {                                               \
                    all = c->product ? all * (to)x[k * step] : all + (to)x[k * step];              \
                    y[k * step] = all;                                                             \
                }                                                                                  \
                continue;                                                                          \
            }                                                                                      \
            for (int64_t j = 0; j < c->inner; j++)                                                 \
                y[j] = (to)x[j];                                                                   \
            for (int64_t k = 1; k < c->n; k++) {                                                   \
                const to *before = y;                                                              \
                x += step, y += step;                                                              \
                if (c->product)                                                                    \
                    for (int64_t j = 0; j < c->inner; j++)                                         \
                        y[j] = before[j] * (to)x[j];                                               \
                else                                                                               \
                    for (int64_t j = 0; j < c->inner; j++)                                         \
                        y[j] = before[j] + (to)x[j];                                               \
            }                                                                                      \
        }                                                                                          \
    }
CUMULATE(cumulate_float32, float, float)
CUMULATE(cumulate_float64, double, double)
CUMULATE(cumulate_int64, uint64_t, uint64_t)
CUMULATE(cumulate_uint8, uint8_t, uint64_t)

static int64_t grain_of(int64_t block) { return block < GRAIN ? GRAIN / (block + 1) + 1 : 1; }

int tga_cumulate(int dtype, int product, int reverse, int64_t outer, int64_t n, int64_t inner,
                 const void *x, void *y)
{
    cumulation c = {.product = product, .reverse = reverse, .n = n, .inner = inner, .x = x, .y = y};
    if (outer * n * inner == 0)
        return TGA_OK;
    tga_parallel(outer, grain_of(n * inner),
                 dtype == TGA_FLOAT32   ? cumulate_float32
                 : dtype == TGA_FLOAT64 ? cumulate_float64
                 : dtype == TGA_INT64   ? cumulate_int64
                                        : cumulate_uint8,
                 &c);
    return TGA_OK;
}

/* gx[k] = before[k] * s[k], with the product of all before k, and
 * s[k] = gy[k] + x[k + 1] * s[k + 1]: nothing is divided, so x may be 0. */
#define PRODUCT_BACKWARD(name, type)                                                               \
    static void name(void *context, int64_t begin, int64_t end)                                    \
    {                                                                                              \
        const cumulation *c = context;                                                             \
        const int64_t n = c->n, step = c->inner;                                                   \
        for (int64_t line = begin * step; line < end * step; line++) {                             \
            const int64_t at = line / step * n * step + line % step;                               \
            const type *gy = (const type *)c->gy + at, *x = (const type *)c->x + at;               \
            type *gx = (type *)c->y + at;                                                          \
            type s = gy[(n - 1) * step], before = 1;                                               \
            gx[(n - 1) * step] = s;                                                                \
            for (int64_t k = n - 2; k >= 0; k--) {                                                 \
                s = gy[k * step] + x[(k + 1) * step] * s;                                          \
                gx[k * step] = s;                                                                  \
            }                                                                                      \
            for (int64_t k = 0; k < n; k++) {                                                      \
                gx[k * step] *= before;                                                            \
                before *= x[k * step];                                                             \
            }                                                                                      \
        }                                                                                          \
    }
PRODUCT_BACKWARD(cumprod_backward_float32, float)
PRODUCT_BACKWARD(cumprod_backward_float64, double)

int tga_cumprod_backward(int dtype, int64_t outer, int64_t n, int64_t inner, const void *gy,
                         const void *x, void *gx)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    cumulation c = {.n = n, .inner = inner, .gy = gy, .x = x, .y = gx};
    if (outer * n * inner == 0)
        return TGA_OK;
    tga_parallel(outer, grain_of(n * inner),
                 dtype == TGA_FLOAT32 ? cumprod_backward_float32 : cumprod_backward_float64, &c);
    return TGA_OK;
}
