/* pool.c: pooling: each plane, a channel of an image, by itself; threads over the planes. */
#include "kernels.h"

#define GRAIN 32768 /* elements worth a thread */

enum pooling { MAX_FORWARD, MAX_BACKWARD, MAX_INDEX, AVG_FORWARD, AVG_BACKWARD };

typedef struct {
    enum pooling what;
    const tga_pool_kernels *kernels;
    const tga_window *window;
    int with_padding;
    int64_t in, out, size; /* elements of a plane, bytes of an element */
    const char *gy, *x;
    char *y;
} pool;

static void planes_of(void *context, int64_t begin, int64_t end)
{
    const pool *c = context;
    const int64_t in = c->in * c->size, out = c->out * c->size;
    for (int64_t i = begin; i < end; i++)
        switch (c->what) {
        case MAX_FORWARD:
            c->kernels->max_forward(c->window, c->x + i * in, c->y + i * out);
            break;
        case MAX_BACKWARD:
            c->kernels->max_backward(c->window, c->gy + i * out, c->x + i * in, c->y + i * in);
            break;
        case MAX_INDEX:
            c->kernels->max_index(c->window, c->x + i * in, (int64_t *)c->y + i * c->out);
            break;
        case AVG_FORWARD:
            c->kernels->avg_forward(c->window, c->with_padding, c->x + i * in, c->y + i * out);
            break;
        case AVG_BACKWARD:
            c->kernels->avg_backward(c->window, c->with_padding, c->gy + i * out, c->y + i * in);
            break;
        }
}

static int run(pool c, int dtype, int64_t planes)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    c.kernels = &tga_kernels_current()->pool[dtype];
    c.in = c.window->in[0] * c.window->in[1];
    c.out = c.window->out[0] * c.window->out[1];
    c.size = (int64_t)tga_item_size(dtype);
    tga_parallel(planes, 1 + GRAIN / (c.in + 1), planes_of, &c);
    return TGA_OK;
}

int tga_max_pool_forward(int dtype, int64_t planes, const tga_window *window, const void *x,
                         void *y)
{
    return run((pool){.what = MAX_FORWARD, .window = window, .x = x, .y = y}, dtype, planes);
}

int tga_max_pool_backward(int dtype, int64_t planes, const tga_window *window, const void *gy,
                          const void *x, void *gx)
{
    return run((pool){.what = MAX_BACKWARD, .window = window, .gy = gy, .x = x, .y = gx}, dtype,
               planes);
}

int tga_max_pool_index(int dtype, int64_t planes, const tga_window *window, const void *x,
                       int64_t *index)
{
    return run((pool){.what = MAX_INDEX, .window = window, .x = x, .y = (char *)index}, dtype,
               planes);
}

int tga_avg_pool_forward(int dtype, int64_t planes, const tga_window *window, int with_padding,
                         const void *x, void *y)
{
    return run((pool){.what = AVG_FORWARD, .window = window, .with_padding = with_padding, .x = x,
                      .y = y}, dtype, planes);
}

int tga_avg_pool_backward(int dtype, int64_t planes, const tga_window *window, int with_padding,
                          const void *gy, void *gx)
{
    return run((pool){.what = AVG_BACKWARD, .window = window, .with_padding = with_padding,
                      .gy = gy, .y = gx}, dtype, planes);
}
