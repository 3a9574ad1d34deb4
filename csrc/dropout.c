/* dropout.c: which elements to drop, drawn at random, and dropping them. */
#include <string.h>

#include "kernels.h"

#define GRAIN 4096  /* blocks of random numbers worth a thread */
#define APPLY_GRAIN 32768 /* elements worth a thread */
#define PER_BLOCK 4 /* numbers in a block: see random.tmpl.h */
#define CHUNK 1024  /* numbers that are drawn at a time */

typedef struct {
    tga_random_fn *uniform;
    uint64_t key, offset;
    int64_t n;
    float p;
    uint8_t *mask;
} masking;

static void mask_blocks(void *context, int64_t begin, int64_t end)
{
    const masking *m = context;
    float u[CHUNK];
    for (int64_t block = begin; block < end; block += CHUNK / PER_BLOCK) {
        const int64_t first = block * PER_BLOCK;
        int64_t n = end * PER_BLOCK < m->n ? end * PER_BLOCK : m->n;
        n = n - first < CHUNK ? n - first : CHUNK;
        m->uniform(m->key, m->offset + (uint64_t)block, n, 0, 1, u);
        const float p = m->p; /* a byte might be part of it, for all the compiler knows */
        uint8_t *mask = m->mask + first;
        for (int64_t i = 0; i < n; i++)
            mask[i] = u[i] >= p;
    }
}

int tga_dropout_mask(void *state, int64_t n, double p, uint8_t *mask)
{
    uint64_t words[2]; /* key, blocks drawn */
    memcpy(words, state, sizeof words);
    const int64_t blocks = (n + PER_BLOCK - 1) / PER_BLOCK;
    masking m = {tga_kernels_current()->random_uniform[0], words[0], words[1], n, (float)p, mask};
    tga_parallel(blocks, GRAIN, mask_blocks, &m);
    words[1] += (uint64_t)blocks;
    memcpy(state, words, sizeof words);
    return TGA_OK;
}

typedef struct {
    int dtype;
    int64_t inner;
    const uint8_t *mask;
    const void *x;
    double scale, shift, fill;
    void *y;
} dropping;

/* Elements [begin, end), which begin at a whole element of the mask. */
#define DROP(type)                                                                                 \
    static void drop_##type(const dropping *d, int64_t begin, int64_t end)                         \
    {                                                                                              \
        const type *x = d->x;                                                                      \
        type *y = d->y;                                                                            \
        const uint8_t *restrict mask = d->mask;                                                    \
        const type scale = (type)d->scale, shift = (type)d->shift, fill = (type)d->fill;           \
        if (d->inner == 1) {                                                                       \
            for (int64_t i = begin; i < end; i++) {                                                \
                const type kept = x[i] * scale + shift;                                            \
                y[i] = mask[i] ? kept : fill;                                                      \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        for (int64_t i = begin; i < end; i += d->inner) {                                          \
            const int keep = mask[i / d->inner];                                                   \
            for (int64_t j = i; j < i + d->inner; j++)                                             \
                y[j] = keep ? x[j] * scale + shift : fill;                                         \
        }                                                                                          \
    }
DROP(float)
DROP(double)

static void drop_part(void *context, int64_t begin, int64_t end)
{
    const dropping *d = context;
    (d->dtype == TGA_FLOAT32 ? drop_float : drop_double)(d, begin * d->inner, end * d->inner);
}

int tga_dropout_apply(int dtype, int64_t n, int64_t inner, const uint8_t *mask, const void *x,
                      double scale, double shift, double fill, void *y)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    dropping d = {dtype, inner, mask, x, scale, shift, fill, y};
    tga_parallel(n, 1 + APPLY_GRAIN / (inner + 1), drop_part, &d);
    return TGA_OK;
}
