/* random.c: the entry points for random numbers.
 *
 * The sequence under a key is made of numbered blocks (random.tmpl.h).  A call takes the
 * blocks from the state's number on, and leaves there that of the first it did not use;
 * its parts begin at whole blocks, so any thread can draw any part of them.
 */
#include <string.h>

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
static int draw(int dtype, tga_random_fn *const *kernels, void *state, int64_t n, double a, double b,
                void *y)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    const int64_t item_size = (int64_t)tga_item_size(dtype), per_block = 16 / item_size;
    const int64_t blocks = n / per_block + (n % per_block != 0);
    uint64_t words[2]; /* key, blocks drawn */
    memcpy(words, state, sizeof words);
    drawing d = {kernels[dtype == TGA_FLOAT64], words[0], words[1], n, per_block, item_size, a, b, y};
    tga_parallel(blocks, GRAIN, draw_part, &d);
    words[1] += (uint64_t)blocks;
    memcpy(state, words, sizeof words);
    return TGA_OK;
}

int tga_random_uniform(int dtype, void *state, int64_t n, double low, double high, void *y)
{
    return draw(dtype, tga_kernels_current()->random_uniform, state, n, low, high, y);
}

int tga_random_normal(int dtype, void *state, int64_t n, double mean, double std, void *y)
{
    return draw(dtype, tga_kernels_current()->random_normal, state, n, mean, std, y);
}
