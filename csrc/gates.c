/* gates.c: prelu and glu: checks and threads. */
#include "kernels.h"

#define GRAIN 32768 /* elements worth a thread */

typedef struct {
    int64_t channels, inner;
    int64_t size; /* bytes of an element */
    const char *gy, *x, *w;
    char *y, *terms;
    tga_prelu_fn *forward;
    tga_prelu_backward_fn *backward;
} prelu;

/* Elements begin to end in runs: of one channel, or, where a channel is one element after the
 * other, of all channels. */
static void prelu_part(void *context, int64_t begin, int64_t end)
{
    const prelu *p = context;
    const int across = p->inner == 1 && p->channels > 1;
    for (int64_t i = begin; i < end;) {
        const int64_t channel = i / p->inner % p->channels;
        const int64_t left = p->channels == 1 ? end - i
                             : across         ? p->channels - channel
                                              : p->inner - i % p->inner;
        const int64_t n = left < end - i ? left : end - i, at = i * p->size;
        const char *w = p->w + channel * p->size;
        if (p->forward)
            p->forward(n, p->x + at, w, across, p->y + at);
        else
            p->backward(n, p->gy + at, p->x + at, w, across, p->y + at, p->terms + at);
        i += n;
    }
}

int tga_prelu_forward(int dtype, int64_t outer, int64_t channels, int64_t inner, const void *x,
                      const void *w, void *y)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    prelu p = {.channels = channels, .inner = inner, .size = (int64_t)tga_item_size(dtype),
               .x = x, .w = w, .y = y, .forward = tga_kernels_current()->prelu_forward[dtype]};
    tga_parallel(outer * channels * inner, GRAIN, prelu_part, &p);
    return TGA_OK;
}

int tga_prelu_backward(int dtype, int64_t outer, int64_t channels, int64_t inner, const void *gy,
                       const void *x, const void *w, void *gx, void *terms)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    prelu p = {.channels = channels, .inner = inner, .size = (int64_t)tga_item_size(dtype),
               .gy = gy, .x = x, .w = w, .y = gx, .terms = terms,
               .backward = tga_kernels_current()->prelu_backward[dtype]};
    tga_parallel(outer * channels * inner, GRAIN, prelu_part, &p);
    return TGA_OK;
}

typedef struct {
    int64_t n;    /* elements of half a row */
    int64_t size; /* bytes of an element */
    const char *gy, *x;
    char *y;
    tga_glu_fn *forward;
    tga_glu_backward_fn *backward;
    tga_glu_backward_rows_fn *backward_rows;
    int stream;
} glu;

/* Where in x element i of the result is made from. */
static int64_t glu_place(const glu *g, int64_t i) { return (i + i / g->n * g->n) * g->size; }

static void glu_part(void *context, int64_t begin, int64_t end)
{
    const glu *g = context;
    g->forward(end - begin, g->n, g->n - begin % g->n, g->x + glu_place(g, begin),
               g->y + begin * g->size, g->stream);
}

int tga_glu_forward(int dtype, int64_t outer, int64_t n, const void *x, void *y)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    glu g = {.n = n, .size = (int64_t)tga_item_size(dtype), .x = x, .y = y,
             .forward = tga_kernels_current()->glu_forward[dtype]};
    g.stream = tga_streams(outer * n * g.size, y, x, x);
    tga_parallel(outer * n, GRAIN, glu_part, &g);
    return TGA_OK;
}

/* Elements begin to end in runs of one row. */
static void glu_backward_part(void *context, int64_t begin, int64_t end)
{
    const glu *g = context;
    for (int64_t i = begin; i < end;) {
        const int64_t left = g->n - i % g->n, n = left < end - i ? left : end - i;
        const int64_t half = g->n * g->size, a = glu_place(g, i);
        g->backward(n, g->gy + i * g->size, g->x + a, g->x + a + half, g->y + a, g->y + a + half,
                    g->stream);
        i += n;
    }
}

static void glu_backward_rows_part(void *context, int64_t begin, int64_t end)
{
    const glu *g = context;
    const int64_t at = begin * g->n * g->size;
    g->backward_rows(end - begin, g->n, g->gy + at, g->x + 2 * at, g->y + 2 * at, g->stream);
}

int tga_glu_backward(int dtype, int64_t outer, int64_t n, const void *gy, const void *x, void *gx)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    glu g = {.n = n, .size = (int64_t)tga_item_size(dtype), .gy = gy, .x = x, .y = gx,
             .backward = tga_kernels_current()->glu_backward[dtype],
             .backward_rows = tga_kernels_current()->glu_backward_rows[dtype]};
    g.stream = tga_streams(2 * outer * n * g.size, gx, gy, x);
    if (n > GLU_BLOCK) {
        g.stream = g.stream && n * g.size % 64 == 0; /* then every run begins at such a place */
        tga_parallel(outer * n, GRAIN, glu_backward_part, &g);
    } else {
        tga_parallel(outer, GRAIN / n, glu_backward_rows_part, &g);
    }
    return TGA_OK;
}
