/* depthwise.c: convolution where each channel has a window of its own: division of the work. */
#include <string.h>

#include "kernels.h"

#define GRAIN 32768 /* elements worth a thread */
#define PARTS 16    /* shares of the images, whose sums make the gradient of a window */

typedef struct {
    tga_pool g;
    const tga_depthwise_kernels *kernels;
    int64_t n, channels, in, out, size; /* elements of a plane, bytes of an element */
    int64_t taps, parts, share;
    int turned;
    const char *gy, *x, *w, *b;
    char *y, *sums; /* sums: (parts, channels, taps and the bias) */
    _Atomic int status;
} depthwise;

static int begin(depthwise *c, int dtype, int64_t n, int64_t channels, const tga_window *w)
{
    c->taps = w->size[0] * w->size[1];
    if ((dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64) || c->taps > TGA_DEPTHWISE_TAPS ||
        w->padding[0] < 0 || w->padding[1] < 0)
        return 0;
    c->g.window = w;
    tga_pool_lay_out(&c->g);
    c->kernels = &tga_kernels_current()->depthwise[dtype];
    c->n = n;
    c->channels = channels;
    c->in = w->in[0] * w->in[1];
    c->out = w->out[0] * w->out[1];
    c->size = (int64_t)tga_item_size(dtype);
    return c->g.elements > 0;
}

static void *memory_of(depthwise *c)
{
    void *memory = tga_alloc((size_t)(c->g.elements * c->size));
    if (!memory)
        c->status = TGA_NO_MEMORY;
    return memory;
}

/* ---- forward and backward x ---------------------------------------------------------------- */

static void planes_of(void *context, int64_t begin, int64_t end)
{
    depthwise *c = context;
    void *memory = memory_of(c);
    for (int64_t i = begin; memory && i < end; i++) {
        const int64_t channel = i % c->channels;
        c->kernels->forward(&c->g, c->turned, memory, c->x + i * c->in * c->size,
                            c->w + channel * c->taps * c->size,
                            c->b ? c->b + channel * c->size : NULL, c->y + i * c->out * c->size);
    }
    tga_free(memory);
}

/* The zeros of the layout would not be nothing with an infinite weight. */
static int all_finite(int dtype, int64_t n, const void *w)
{
    int finite = 1;
    for (int64_t i = 0; i < n; i++)
        finite &= dtype == TGA_FLOAT32 ? ((const float *)w)[i] * 0 == 0
                                       : ((const double *)w)[i] * 0 == 0;
    return finite;
}

static int multiply(depthwise *c, int dtype, int *status)
{
    if (!all_finite(dtype, c->channels * c->taps, c->w))
        return 0;
    tga_parallel(c->n * c->channels, 1 + GRAIN / (c->out + 1), planes_of, c);
    *status = c->status;
    return 1;
}

int tga_depthwise(int dtype, int64_t n, int64_t channels, const tga_window *window, const void *x,
                  const void *w, const void *b, void *y, int *status)
{
    depthwise c = {.x = x, .w = w, .b = b, .y = y};
    return begin(&c, dtype, n, channels, window) && multiply(&c, dtype, status);
}

/* A forward pass over gy with the window turned round. */
int tga_depthwise_backward_x(int dtype, int64_t n, int64_t channels, const tga_window *window,
                             const void *gy, const void *w, const void *b, void *gx, int *status)
{
    if (window->stride[0] != 1 || window->stride[1] != 1)
        return 0;
    tga_window turned = *window;
    for (int d = 0; d < 2; d++) {
        turned.in[d] = window->out[d];
        turned.out[d] = window->in[d];
        turned.padding[d] = (window->size[d] - 1) * window->dilation[d] - window->padding[d];
    }
    depthwise c = {.x = gy, .w = w, .b = b, .y = gx, .turned = 1};
    return begin(&c, dtype, n, channels, &turned) && multiply(&c, dtype, status);
}

/* ---- backward w ---------------------------------------------------------------------------- */

static void parts_of(void *context, int64_t begin, int64_t end)
{
    depthwise *c = context;
    void *memory = memory_of(c);
    for (int64_t i = begin; memory && i < end; i++) {
        const int64_t channel = i % c->channels, first = i / c->channels * c->share;
        const int64_t images = c->n - first < c->share ? c->n - first : c->share;
        const int64_t plane = first * c->channels + channel;
        c->kernels->backward_w(&c->g, memory, images, c->channels,
                               c->gy + plane * c->out * c->size, c->x + plane * c->in * c->size,
                               c->sums + i * (c->taps + 1) * c->size);
    }
    tga_free(memory);
}

int tga_depthwise_backward_w(int dtype, int64_t n, int64_t channels, const tga_window *window,
                             const void *gy, const void *x, void *gw, void *gb, int *status)
{
    depthwise c = {.gy = gy, .x = x};
    if (!gw || n == 0 || !begin(&c, dtype, n, channels, window))
        return 0;
    c.share = (n + PARTS - 1) / PARTS;
    c.parts = (n + c.share - 1) / c.share;
    const int64_t row = channels * (c.taps + 1);
    c.sums = tga_alloc((size_t)((c.parts + 1) * row * c.size));
    if (!c.sums) {
        *status = TGA_NO_MEMORY;
        return 1;
    }
    tga_parallel(c.parts * channels, 1 + GRAIN / (c.share * c.out + 1), parts_of, &c);
    int finite = 1;
    if (c.status == TGA_OK) {
        char *total = c.sums + c.parts * row * c.size;
        tga_kernels_current()->reduce_rows[dtype][REDUCE_sum](c.parts, row, c.sums, row, total);
        for (int64_t i = 0; i < channels; i++)
            finite &= all_finite(dtype, 1, total + (i * (c.taps + 1) + c.taps) * c.size);
    }
    /* An infinite gy meets the zeros of the layout, but not those above and below: left to the
     * general way, which has one answer for all four sides. */
    if (c.status == TGA_OK && finite) {
        const size_t size = (size_t)c.size, window_bytes = (size_t)c.taps * size;
        char *total = c.sums + c.parts * row * c.size;
        for (int64_t i = 0; i < channels; i++, total += window_bytes + size) {
            memcpy((char *)gw + (size_t)i * window_bytes, total, window_bytes);
            if (gb)
                memcpy((char *)gb + (size_t)i * size, total + window_bytes, size);
        }
    }
    tga_free(c.sums);
    *status = c.status;
    return finite;
}
