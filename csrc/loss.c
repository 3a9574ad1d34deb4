/* loss.c: losses: checks, scale, threads. */
#include <string.h>

#include "kernels.h"

#define GRAIN 32768  /* elements worth a thread: whole chunks of every kernel */
#define MAX_PARTS 64 /* into which a sum is split; each is a branch of its pairwise order */

static int is_float(int dtype) { return dtype == TGA_FLOAT32 || dtype == TGA_FLOAT64; }

static double load(int dtype, const void *x)
{
    float single;
    double wide;
    if (dtype == TGA_FLOAT64) {
        memcpy(&wide, x, sizeof wide);
        return wide;
    }
    memcpy(&single, x, sizeof single);
    return (double)single;
}

static void store(int dtype, double value, void *y)
{
    const float single = (float)value;
    if (dtype == TGA_FLOAT64)
        memcpy(y, &value, sizeof value);
    else
        memcpy(y, &single, sizeof single);
}

/* ---- rows of loss.def -------------------------------------------------------------- */

typedef struct {
    int64_t n, part;
    size_t size;
    double factor;
    const char *x, *t;
    char *y; /* a sum for each part, or gx */
    tga_loss_fn *forward;
    tga_loss_backward_fn *backward;
} loss;

static void forward_parts(void *context, int64_t begin, int64_t end)
{
    const loss *l = context;
    for (int64_t p = begin; p < end; p++) {
        const int64_t i = p * l->part, left = l->n - i;
        l->forward(left < l->part ? left : l->part, l->x + (size_t)i * l->size,
                   l->t + (size_t)i * l->size, l->y + (size_t)p * l->size);
    }
}

int tga_loss_forward(int op, int dtype, int64_t n, const void *x, const void *t, double scale,
                     void *total)
{
    if (op < 0 || op >= LOSS_COUNT || !is_float(dtype))
        return TGA_NO_KERNEL;
    const tga_kernels *kernels = tga_kernels_current();
    double sums[MAX_PARTS];
    loss l = {.n = n,
              .part = GRAIN,
              .size = tga_item_size(dtype),
              .x = x,
              .t = t,
              .y = (char *)sums,
              .forward = kernels->loss_forward[dtype][op]};
    if (n <= GRAIN) {
        l.forward(n, x, t, sums);
    } else {
        while (n > l.part * MAX_PARTS)
            l.part *= 2;
        const int64_t parts = (n + l.part - 1) / l.part;
        tga_parallel(parts, 1, forward_parts, &l);
        tga_combine_parts(kernels->reduce_rows[dtype][REDUCE_sum], l.size, parts, 1, sums);
    }
    store(dtype, scale * load(dtype, sums), total);
    return TGA_OK;
}

static void backward_some(void *context, int64_t begin, int64_t end)
{
    const loss *l = context;
    const size_t offset = (size_t)begin * l->size;
    l->backward(end - begin, l->factor, l->x + offset, l->t + offset, l->y + offset);
}

int tga_loss_backward(int op, int dtype, int64_t n, const void *gy, const void *x, const void *t,
                      double scale, void *gx)
{
    if (op < 0 || op >= LOSS_COUNT || !is_float(dtype))
        return TGA_NO_KERNEL;
    loss l = {.size = tga_item_size(dtype),
              .factor = scale * load(dtype, gy),
              .x = x,
              .t = t,
              .y = gx,
              .backward = tga_kernels_current()->loss_backward[dtype][op]};
    tga_parallel(n, GRAIN, backward_some, &l);
    return TGA_OK;
}

/* ---- cross-entropy ---------------------------------------------------------------- */

typedef struct {
    int64_t classes;
    size_t row; /* bytes */
    double factor;
    const char *log_p;
    const int64_t *labels;
    char *gx;
    tga_cross_entropy_backward_fn *backward;
} cross_entropy;

int tga_cross_entropy_forward(int dtype, int64_t rows, int64_t classes, const void *logits,
                              const int64_t *labels, double scale, void *log_p, void *total)
{
    if (!is_float(dtype))
        return TGA_NO_KERNEL;
    int bad = 0;
    for (int64_t i = 0; i < rows; i++)
        bad |= labels[i] < 0 || labels[i] >= classes;
    if (bad)
        return TGA_BAD_LABEL;
    tga_softmax_forward(dtype, 1, rows, classes, logits, log_p);
    double sum;
    tga_kernels_current()->cross_entropy_forward[dtype](rows, classes, log_p, labels, &sum);
    store(dtype, scale * load(dtype, &sum), total);
    return TGA_OK;
}

static void cross_entropy_backward_some(void *context, int64_t begin, int64_t end)
{
    const cross_entropy *c = context;
    const size_t offset = (size_t)begin * c->row;
    c->backward(end - begin, c->classes, c->factor, c->log_p + offset, c->labels + begin,
                c->gx + offset);
}

int tga_cross_entropy_backward(int dtype, int64_t rows, int64_t classes, const void *gy,
                               const void *log_p, const int64_t *labels, double scale,
                               void *glogits)
{
    if (!is_float(dtype))
        return TGA_NO_KERNEL;
    cross_entropy c = {.classes = classes,
                       .row = (size_t)classes * tga_item_size(dtype),
                       .factor = scale * load(dtype, gy),
                       .log_p = log_p,
                       .labels = labels,
                       .gx = glogits,
                       .backward = tga_kernels_current()->cross_entropy_backward[dtype]};
    tga_parallel(rows, GRAIN / (classes + 1) + 1, cross_entropy_backward_some, &c);
    return TGA_OK;
}
