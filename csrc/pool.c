/* pool.c: pooling: each plane, a channel of an image, by itself; threads over the planes. */
#include "kernels.h"

#define GRAIN 32768     /* elements worth a thread */
#define MOST_STRIDE 8   /* of windows that are taken in vectors */
#define LEAST_COLUMNS 4 /* of their result */

enum pooling { MAX_FORWARD, MAX_BACKWARD, MAX_INDEX, AVG_FORWARD, AVG_BACKWARD };

typedef struct {
    enum pooling what;
    tga_pool g;
    const tga_pool_kernels *kernels;
    int64_t in, out, size; /* elements of a plane, bytes of an element */
    const char *gy, *x;
    char *y;
    _Atomic int status;
} pool;

static void planes_of(void *context, int64_t begin, int64_t end)
{
    pool *c = context;
    const int64_t in = c->in * c->size, out = c->out * c->size;
    const int64_t elements = 2 * (c->g.elements + c->g.window->out[1] + TGA_MOST_LANES);
    void *memory = c->g.elements ? tga_alloc((size_t)(elements * c->size)) : NULL;
    if (c->g.elements && !memory) {
        c->status = TGA_NO_MEMORY;
        return;
    }
    for (int64_t i = begin; i < end; i++)
        switch (c->what) {
        case MAX_FORWARD:
            c->kernels->max_forward(&c->g, memory, c->x + i * in, c->y + i * out);
            break;
        case MAX_BACKWARD:
            c->kernels->max_backward(&c->g, memory, c->gy + i * out, c->x + i * in, c->y + i * in);
            break;
        case MAX_INDEX:
            c->kernels->max_index(c->g.window, c->x + i * in, (int64_t *)c->y + i * c->out);
            break;
        case AVG_FORWARD:
            c->kernels->avg_forward(&c->g, memory, c->x + i * in, c->y + i * out);
            break;
        case AVG_BACKWARD:
            c->kernels->avg_backward(&c->g, memory, c->gy + i * out, c->y + i * in);
            break;
        }
    tga_free(memory);
}

static int is_two_by_two(const tga_window *w)
{
    for (int axis = 0; axis < 2; axis++)
        if (w->size[axis] != 2 || w->stride[axis] != 2 || w->padding[axis] != 0 ||
            w->dilation[axis] != 1 || 2 * w->out[axis] > w->in[axis])
            return 0;
    return 1;
}

/* If it is laid out at all: see pool.tmpl.h. */
void tga_pool_lay_out(tga_pool *g)
{
    const tga_window *w = g->window;
    const int64_t stride = w->stride[1], padded = w->in[1] + w->padding[1];
    if (w->size[0] > TGA_POOL_TAPS || w->size[1] > TGA_POOL_TAPS || stride > MOST_STRIDE ||
        w->out[1] < LEAST_COLUMNS)
        return;
    const int64_t seen = w->out[1] + (w->size[1] - 1) * w->dilation[1] / stride;
    const int64_t there = (padded + stride - 1) / stride;
    g->width = (seen > there ? seen : there) + TGA_MOST_LANES;
    g->elements = w->in[0] * stride * g->width;
    for (int64_t q = 0; q < w->size[1]; q++) {
        const int64_t column = q * w->dilation[1];
        g->offset[q] = column % stride * g->width + column / stride;
    }
}

static int run(pool c, int dtype, int64_t planes)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    const tga_window *w = c.g.window;
    c.kernels = &tga_kernels_current()->pool[dtype];
    c.in = w->in[0] * w->in[1];
    c.out = w->out[0] * w->out[1];
    c.size = (int64_t)tga_item_size(dtype);
    c.g.two_by_two = is_two_by_two(w);
    if (c.what != MAX_INDEX && (!c.g.two_by_two || c.what == AVG_BACKWARD))
        tga_pool_lay_out(&c.g);
    tga_parallel(planes, 1 + GRAIN / (c.in + 1), planes_of, &c);
    return c.status;
}

int tga_max_pool_forward(int dtype, int64_t planes, const tga_window *window, const void *x,
                         void *y)
{
    return run((pool){.what = MAX_FORWARD, .g.window = window, .x = x, .y = y}, dtype, planes);
}

int tga_max_pool_backward(int dtype, int64_t planes, const tga_window *window, const void *gy,
                          const void *x, void *gx)
{
    return run((pool){.what = MAX_BACKWARD, .g.window = window, .gy = gy, .x = x, .y = gx}, dtype,
               planes);
}

int tga_max_pool_index(int dtype, int64_t planes, const tga_window *window, const void *x,
                       int64_t *index)
{
    return run((pool){.what = MAX_INDEX, .g.window = window, .x = x, .y = (char *)index}, dtype,
               planes);
}

int tga_avg_pool_forward(int dtype, int64_t planes, const tga_window *window, int with_padding,
                         const void *x, void *y)
{
    return run((pool){.what = AVG_FORWARD, .g = {.window = window, .with_padding = with_padding},
                      .x = x, .y = y}, dtype, planes);
}

int tga_avg_pool_backward(int dtype, int64_t planes, const tga_window *window, int with_padding,
                          const void *gy, void *gx)
{
    return run((pool){.what = AVG_BACKWARD, .g = {.window = window, .with_padding = with_padding},
                      .gy = gy, .y = gx}, dtype, planes);
}
