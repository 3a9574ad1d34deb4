/* random.c: the entry points for random numbers.
 *
 * The sequence under a key is made of numbered blocks (random.tmpl.h).  A call takes
 * the blocks from `offset` on and says how many it used; its parts begin at whole
 * blocks, so any thread can draw any part of them.
 */
#include "kernels.h"

#define GRAIN 4096 /* blocks worth a thread */

typedef struct {
    tga_random_fn *draw;
    uint64_t key, offset;
    int64_t n, per_block, item_size;
    double a, b;
    char *y;
} drawing;

static void draw_part(void *context, int64_t begin, int64_t end)
{
    const drawing *d = context;
    const int64_t first = begin * d->per_block, last = end * d->per_block;
    d->draw(d->key, d->offset + (uint64_t)begin, (last < d->n ? last : d->n) - first, d->a, d->b,
            d->y + first * d->item_size);
}

/* dtype: TGA_FLOAT32 or TGA_FLOAT64; draw: the kernels for the two. */
static int draw(int dtype, tga_random_fn *const *kernels, uint64_t key, uint64_t offset, int64_t n,
                double a, double b, void *y, uint64_t *used)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    const int64_t item_size = (int64_t)tga_item_size(dtype), per_block = 16 / item_size;
    const int64_t blocks = n / per_block + (n % per_block != 0);
    drawing d = {kernels[dtype == TGA_FLOAT64], key, offset, n, per_block, item_size, a, b, y};
    tga_parallel(blocks, GRAIN, draw_part, &d);
    *used = (uint64_t)blocks;
    return TGA_OK;
}

int tga_random_uniform(int dtype, uint64_t key, uint64_t offset, int64_t n, double low, double high,
                       void *y, uint64_t *used)
{
    return draw(dtype, tga_kernels_current()->random_uniform, key, offset, n, low, high, y, used);
}

int tga_random_normal(int dtype, uint64_t key, uint64_t offset, int64_t n, double mean, double std,
                      void *y, uint64_t *used)
{
    return draw(dtype, tga_kernels_current()->random_normal, key, offset, n, mean, std, y, used);
}
