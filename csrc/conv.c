/* conv.c: convolution in two dimensions, forward and backward: the layout of images
 * and weights, the division of the work, threads.
 *
 * Images are (n, channels, rows, columns).  A task is one group of channels of one
 * image, or, for the gradient of the weights, of a few images.  Which images belong
 * together is decided by the shape alone and their sums are added in order, so the
 * number of threads changes no bit.
 */
#include <stdbool.h>
#include <string.h>

#include "kernels.h"

/* Backward x goes through the output in bands of rows, as many as keep the gradient of
 * the patches of a channel in the L1 cache and the band of gy in the L2 cache. */
#define BAND_PATCHES_BYTES 24576
#define BAND_GY_BYTES 262144
/* Output channels whose weights' gradient is one task's. */
#define CHANNELS 64
/* The gradient of the weights is the sum of so many parts, one for a share of the
 * images; fewer where they would take more than PARTS_BYTES. */
#define PARTS 16
#define PARTS_BYTES ((int64_t)16 << 20)

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

typedef struct {
    tga_conv g; /* one group */
    const tga_window *window;
    const tga_conv_kernels *kernels;
    int64_t mr, nr; /* of the gemm's tile */
    size_t size;    /* bytes of an element */
    int64_t n, groups;
    bool in_place;                    /* the image needs no other layout */
    size_t x_group, y_group, w_group; /* bytes of a group of an image, and of its weights */
    size_t padded;                    /* bytes of an image laid out */
    int64_t *offset;
    const char *x, *w, *b, *gy;
    char *y;
    _Atomic int status; /* of the tasks */
} conv;

/* TGA_OK: c->offset, which the caller must free, and all else is set. */
static int begin(conv *c, int dtype, int64_t n, int64_t groups, int64_t ci, int64_t co,
                 const tga_window *w)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    tga_conv *g = &c->g;
    c->window = w;
    c->kernels = &tga_kernels_current()->conv[dtype];
    c->mr = tga_kernels_current()->gemm[dtype].mr;
    c->nr = tga_kernels_current()->gemm[dtype].nr;
    c->size = tga_item_size(dtype);
    c->n = n;
    c->groups = groups;
    g->ci = ci / groups;
    g->co = co / groups;
    g->columns = w->out[1];
    g->pixels = w->out[0] * w->out[1];
    g->taps = w->size[0] * w->size[1];
    g->k = g->ci * g->taps;

    /* What the windows see, from the padding on. */
    const int64_t s = w->stride[1];
    const int64_t rows = (w->out[0] - 1) * w->stride[0] + (w->size[0] - 1) * w->dilation[0] + 1;
    const int64_t columns = (w->out[1] - 1) * s + (w->size[1] - 1) * w->dilation[1] + 1;
    c->in_place = s == 1 && w->padding[0] == 0 && w->padding[1] == 0 && rows <= w->in[0] &&
                  columns <= w->in[1];
    g->rows = c->in_place ? w->in[0] : rows;
    g->width = c->in_place ? w->in[1] : div_up(columns, s);
    const int64_t row = s * g->width;
    g->plane = g->rows * row;
    g->pitch = w->stride[0] * row;

    c->x_group = (size_t)(g->ci * w->in[0] * w->in[1]) * c->size;
    c->y_group = (size_t)(g->co * g->pixels) * c->size;
    c->w_group = (size_t)(g->co * g->k) * c->size;
    c->padded = c->in_place ? 0 : (size_t)(g->ci * g->plane) * c->size;

    int64_t *offset = c->offset = tga_alloc((size_t)g->k * sizeof(int64_t));
    if (!offset)
        return TGA_NO_MEMORY;
    g->offset = offset;
    for (int64_t channel = 0; channel < g->ci; channel++)
        for (int64_t tap = 0; tap < g->taps; tap++) {
            const int64_t i = tap / w->size[1] * w->dilation[0];
            const int64_t j = tap % w->size[1] * w->dilation[1];
            *offset++ = channel * g->plane + i * row + j % s * g->width + j / s;
        }
    return TGA_OK;
}

/* ---- forward ---------------------------------------------------------------------------- */

static void forward_images(void *context, int64_t begin, int64_t end)
{
    conv *c = context;
    const size_t panel = (size_t)(TGA_GEMM_KC * c->nr) * c->size;
    char *patches = tga_alloc(panel + c->padded);
    if (!patches) {
        c->status = TGA_NO_MEMORY;
        return;
    }
    memset(patches, 0, panel); /* columns that nobody fills are computed with, but not kept */
    for (int64_t task = begin; task < end; task++) {
        const size_t item = (size_t)task, group = (size_t)(task % c->groups);
        const char *image = c->x + item * c->x_group;
        if (!c->in_place) {
            c->kernels->pad(&c->g, c->window, image, patches + panel);
            image = patches + panel;
        }
        c->kernels->forward(&c->g, image, c->w + group * c->w_group, c->b != NULL,
                            c->y + item * c->y_group, patches);
    }
    tga_free(patches);
}

/* The weights with the bias as one more column. */
static char *with_bias(const conv *c)
{
    const size_t row = (size_t)c->g.k * c->size, rows = (size_t)(c->groups * c->g.co);
    char *w = tga_alloc(rows * (row + c->size));
    for (size_t i = 0; w && i < rows; i++) {
        memcpy(w + i * (row + c->size), c->w + i * row, row);
        memcpy(w + i * (row + c->size) + row, c->b + i * c->size, c->size);
    }
    return w;
}

int tga_conv_forward(int dtype, int64_t n, int64_t groups, int64_t ci, int64_t co,
                     const tga_window *window, const void *x, const void *w, const void *b, void *y)
{
    conv c = {.x = x, .w = w, .b = b, .y = y};
    const int status = begin(&c, dtype, n, groups, ci, co, window);
    if (status)
        return status;
    char *joined = b ? with_bias(&c) : NULL;
    if (joined) {
        c.w = joined;
        c.w_group += (size_t)c.g.co * c.size;
    }
    if (b && !joined)
        c.status = TGA_NO_MEMORY;
    else
        tga_parallel(n * groups, 1, forward_images, &c);
    tga_free(joined);
    tga_free(c.offset);
    return c.status;
}

/* ---- backward x ------------------------------------------------------------------------- */

/* Which rows of the image get what from each band; returns memory to be freed, or NULL. */
static void *plan_rows(conv *c)
{
    tga_conv *g = &c->g;
    const tga_window *w = c->window;
    const int64_t size = (int64_t)c->size, s = w->stride[1], line = 64 / size;
    g->channels = min64(g->ci, max64(1, c->mr / g->taps));
    const int64_t k = g->channels * g->taps, row_bytes = g->columns * size;
    const int64_t rows = max64(1, min64(w->out[0], min64(BAND_PATCHES_BYTES / (k * row_bytes),
                                                         BAND_GY_BYTES / (g->co * row_bytes))));
    const int64_t bands = div_up(w->out[0], rows), reach = (w->size[0] - 1) * w->dilation[0] + 1;
    g->band = rows * g->columns;
    g->ld = (div_up(div_up(g->band, c->nr) * c->nr, line) | 1) * line; /* odd: see gemm_pack_a */

    const int64_t mask_ld = div_up(g->width, line) * line;
    const size_t mask_bytes = (size_t)(w->size[1] * mask_ld * size);
    const size_t rows_bytes =
        (size_t)(s * (g->rows + bands * reach) + 1) * sizeof(tga_conv_row);
    const size_t taps_bytes = (size_t)(w->out[0] * g->taps) * sizeof(tga_conv_tap);
    char *memory = tga_alloc(mask_bytes + rows_bytes + taps_bytes);
    if (!memory)
        return NULL;

    /* Of tap column q a row's elements from q * dilation / stride on are seen. */
    memset(memory, 0, mask_bytes);
    for (int64_t q = 0; q < w->size[1]; q++)
        memset(memory + (q * mask_ld + q * w->dilation[1] / s) * size, 0xff, (size_t)row_bytes);
    g->mask = memory;

    tga_conv_row *row = (tga_conv_row *)(memory + mask_bytes);
    tga_conv_tap *tap = (tga_conv_tap *)(memory + mask_bytes + rows_bytes);
    g->row = row;
    for (int64_t band = 0, begun = 0; band < bands; band++) {
        const int64_t first = band * rows, last = min64(first + rows, w->out[0]);
        const int64_t end = last == w->out[0] ? g->rows : (last - 1) * w->stride[0] + reach;
        for (int64_t i = min64(begun, first * w->stride[0]); i < end; i++)
            for (int64_t r = 0; r < s; r++, row++) {
                *row = (tga_conv_row){band, (i * s + r) * g->width, i < begun, tap, tap};
                for (int64_t t = 0; t < g->taps; t++) {
                    const int64_t below = i - t / w->size[1] * w->dilation[0];
                    const int64_t q = t % w->size[1], across = q * w->dilation[1];
                    const int64_t out = below / w->stride[0];
                    if (below < 0 || below % w->stride[0] || out < first || out >= last ||
                        across % s != r)
                        continue;
                    *tap++ = (tga_conv_tap){t * g->ld + (out - first) * g->columns - across / s,
                                            q * mask_ld};
                }
                row->last = tap;
            }
        begun = max64(begun, end);
    }
    row->band = -1;
    return memory;
}

static void backward_x_images(void *context, int64_t begin, int64_t end)
{
    conv *c = context;
    const tga_conv *g = &c->g;
    const int64_t margin = div_up(g->width, 64) * 64 + 64; /* elements */
    const size_t gy_bytes = (size_t)(div_up(g->band, c->nr) * c->nr * g->co) * c->size;
    const size_t patches_bytes = (size_t)(g->channels * g->taps * g->ld + 2 * margin) * c->size;
    char *gy_pack = tga_alloc(gy_bytes + patches_bytes + c->padded);
    if (!gy_pack) {
        c->status = TGA_NO_MEMORY;
        return;
    }
    char *patches = gy_pack + gy_bytes, *padded = patches + patches_bytes;
    for (int64_t task = begin; task < end; task++) {
        const size_t item = (size_t)task, group = (size_t)(task % c->groups);
        const char *b = c->b ? c->b + group * (size_t)g->ci * c->size : NULL;
        char *gx = c->y + item * c->x_group;
        c->kernels->backward_x(g, c->gy + item * c->y_group, c->w + group * c->w_group, b,
                               c->in_place ? gx : padded, gy_pack,
                               patches + (size_t)margin * c->size);
        if (!c->in_place)
            c->kernels->crop(g, c->window, padded, b, gx);
    }
    tga_free(gy_pack);
}

int tga_conv_backward_x(int dtype, int64_t n, int64_t groups, int64_t ci, int64_t co,
                        const tga_window *window, const void *gy, const void *w, const void *b,
                        void *gx)
{
    conv c = {.gy = gy, .w = w, .b = b, .y = gx};
    const int status = begin(&c, dtype, n, groups, ci, co, window);
    if (status)
        return status;
    void *plan = plan_rows(&c);
    if (plan)
        tga_parallel(n * groups, 1, backward_x_images, &c);
    else
        c.status = TGA_NO_MEMORY;
    tga_free(plan);
    tga_free(c.offset);
    return c.status;
}

/* ---- backward w ------------------------------------------------------------------------- */

typedef struct {
    conv *c;
    int64_t rows;                    /* k, and one of the bias */
    int64_t parts, share;            /* the sum's parts, and images in each */
    int64_t blocks;                  /* of output channels, in a group */
    size_t block_bytes, part_bytes;  /* of sums */
    char *sums;                      /* (parts, groups, blocks, rows, channels) */
    char *gw, *gb;
} weights;

/* Sums of one part, group and block of channels. */
static void backward_w_tasks(void *context, int64_t begin, int64_t end)
{
    weights *s = context;
    conv *c = s->c;
    const tga_conv *g = &c->g;
    const size_t patches_bytes = (size_t)((TGA_GEMM_KC + 32) * c->mr) * c->size;
    const size_t gy_bytes = (CHANNELS * TGA_GEMM_KC) * c->size;
    char *patches = tga_alloc(patches_bytes + gy_bytes + c->padded);
    if (!patches) {
        c->status = TGA_NO_MEMORY;
        return;
    }
    char *padded = patches + patches_bytes + gy_bytes;
    for (int64_t task = begin; task < end; task++) {
        const int64_t block = task % s->blocks, part = task / s->blocks / c->groups;
        const size_t group = (size_t)(task / s->blocks % c->groups);
        const int64_t channel = block * CHANNELS;
        char *sums = s->sums + (size_t)task * s->block_bytes;
        if (c->n == 0)
            memset(sums, 0, s->block_bytes);
        for (int64_t i = part * s->share; i < min64(c->n, (part + 1) * s->share); i++) {
            const size_t item = (size_t)i * (size_t)c->groups + group;
            const char *image = s->gw ? c->x + item * c->x_group : NULL;
            if (image && !c->in_place) {
                c->kernels->pad(g, c->window, image, padded);
                image = padded;
            }
            c->kernels->backward_w(
                g, s->gb != NULL, image, min64(CHANNELS, g->co - channel),
                c->gy + item * c->y_group + (size_t)(channel * g->pixels) * c->size,
                sums, i > part * s->share, patches, patches + patches_bytes);
        }
    }
    tga_free(patches);
}

/* The parts added up and turned round, of groups and blocks [begin, end). */
static void collect_blocks(void *context, int64_t begin, int64_t end)
{
    const weights *s = context;
    conv *c = s->c;
    const tga_conv *g = &c->g;
    for (int64_t i = begin; i < end; i++) {
        const int64_t channel = i % s->blocks * CHANNELS;
        const size_t first = (size_t)(i / s->blocks * g->co + channel) * c->size;
        c->kernels->collect(s->parts, s->part_bytes, s->gw ? g->k : 0,
                            min64(CHANNELS, g->co - channel),
                            s->sums + (size_t)i * s->block_bytes,
                            s->gw ? s->gw + first * (size_t)g->k : NULL,
                            s->gb ? s->gb + first : NULL);
    }
}

int tga_conv_backward_w(int dtype, int64_t n, int64_t groups, int64_t ci, int64_t co,
                        const tga_window *window, const void *gy, const void *x, void *gw, void *gb)
{
    conv c = {.gy = gy, .x = x};
    const int status = begin(&c, dtype, n, groups, ci, co, window);
    if (status)
        return status;
    weights s = {.c = &c, .gw = gw, .gb = gb};
    s.rows = (gw ? c.g.k : 0) + (gb != NULL);
    s.blocks = div_up(c.g.co, CHANNELS);
    s.block_bytes = (size_t)(s.rows * CHANNELS) * c.size;
    s.part_bytes = (size_t)(groups * s.blocks) * s.block_bytes;
    s.parts = max64(1, min64(min64(PARTS, n), PARTS_BYTES / (int64_t)(s.part_bytes + 1)));
    s.share = div_up(n, s.parts);
    s.parts = n ? div_up(n, s.share) : 1;
    s.sums = tga_alloc((size_t)s.parts * s.part_bytes);
    if (!s.sums) {
        tga_free(c.offset);
        return TGA_NO_MEMORY;
    }
    if (s.rows > 0) {
        tga_parallel(s.parts * groups * s.blocks, 1, backward_w_tasks, &s);
        if (c.status == TGA_OK)
            tga_parallel(groups * s.blocks, 1, collect_blocks, &s);
    }
    tga_free(s.sums);
    tga_free(c.offset);
    return c.status;
}
