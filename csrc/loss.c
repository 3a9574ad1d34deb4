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
    double factor, a;
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
                   l->t + (size_t)i * l->size, l->a, l->y + (size_t)p * l->size);
    }
}

int tga_loss_forward(int op, int dtype, int64_t n, const void *x, const void *t, double a,
                     double scale, void *total)
{
    if (op < 0 || op >= LOSS_COUNT || !is_float(dtype))
        return TGA_NO_KERNEL;
    const tga_kernels *kernels = tga_kernels_current();
    double sums[MAX_PARTS];
    loss l = {.n = n,
              .part = GRAIN,
              .size = tga_item_size(dtype),
              .a = a,
              .x = x,
              .t = t,
              .y = (char *)sums,
              .forward = kernels->loss_forward[dtype][op]};
    if (n <= GRAIN) {
        l.forward(n, x, t, a, sums);
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
    l->backward(end - begin, l->factor, l->x + offset, l->t + offset, l->a, l->y + offset);
}

int tga_loss_backward(int op, int dtype, int64_t n, const void *gy, const void *x, const void *t,
                      double a, double scale, void *gx)
{
    if (op < 0 || op >= LOSS_COUNT || !is_float(dtype))
        return TGA_NO_KERNEL;
    loss l = {.size = tga_item_size(dtype),
              .factor = scale * load(dtype, gy),
              .a = a,
              .x = x,
              .t = t,
              .y = gx,
              .backward = tga_kernels_current()->loss_backward[dtype][op]};
    tga_parallel(n, GRAIN, backward_some, &l);
    return TGA_OK;
}

/* ---- the loss of a class ------------------------------------------------------------ */

#define LOCAL_BYTES 16384 /* of log-probabilities that find room on the stack */

/* Checks the labels; *counted is the sum of the weights of the rows' labels, by which a mean
 * divides, without the ignored. */
static int examine(int dtype, const tga_classes *c, int64_t rows, const int64_t *labels,
                   double *counted)
{
    const size_t size = tga_item_size(dtype);
    double sum = 0;
    int bad = 0;
    for (int64_t i = 0; i < rows; i++) {
        const int64_t label = labels[i];
        if (label == c->ignored)
            continue;
        if (label < 0 || label >= c->n)
            bad = 1;
        else
            sum += c->weight ? load(dtype, (const char *)c->weight + (size_t)label * size) : 1;
    }
    *counted = sum;
    return bad ? TGA_BAD_LABEL : TGA_OK;
}

static tga_classes classes_of(int dtype, int64_t n, const void *weight, int64_t ignored,
                              double smoothing)
{
    tga_classes c = {.n = n,
                     .ignored = ignored,
                     .smoothing = smoothing,
                     .weight = weight,
                     .total_weight = (double)n};
    if (weight != NULL) {
        c.total_weight = 0;
        for (int64_t i = 0; i < n; i++)
            c.total_weight += load(dtype, (const char *)weight + (size_t)i * tga_item_size(dtype));
    }
    return c;
}

/* y of `reduction`, from log-probabilities */
static void reduce_classes(int dtype, int reduction, const tga_classes *c, int64_t rows,
                           const void *log_p, const int64_t *labels, double counted, void *y)
{
    double sum = 0; /* room for either dtype */
    tga_kernels_current()->class_forward[dtype](c, rows, log_p, labels,
                                                reduction == TGA_EACH ? y : NULL, &sum);
    if (reduction != TGA_EACH)
        store(dtype, load(dtype, &sum) / (reduction == TGA_MEAN ? counted : 1), y);
}

int tga_nll_forward(int dtype, int reduction, int64_t rows, int64_t classes, const void *log_p,
                    const int64_t *labels, const void *weight, int64_t ignored, void *y)
{
    if (!is_float(dtype))
        return TGA_NO_KERNEL;
    const tga_classes c = classes_of(dtype, classes, weight, ignored, 0);
    double counted;
    const int status = examine(dtype, &c, rows, labels, &counted);
    if (status == TGA_OK)
        reduce_classes(dtype, reduction, &c, rows, log_p, labels, counted, y);
    return status;
}

int tga_cross_entropy_forward(int dtype, int reduction, int64_t rows, int64_t classes,
                              const void *logits, const int64_t *labels, const void *weight,
                              int64_t ignored, double smoothing, void *y)
{
    if (!is_float(dtype))
        return TGA_NO_KERNEL;
    const tga_classes c = classes_of(dtype, classes, weight, ignored, smoothing);
    double counted, local[LOCAL_BYTES / sizeof(double)];
    const int status = examine(dtype, &c, rows, labels, &counted);
    if (status != TGA_OK)
        return status;
    const size_t bytes = (size_t)(rows * classes) * tga_item_size(dtype);
    void *log_p = bytes <= LOCAL_BYTES ? local : tga_alloc(bytes);
    if (log_p == NULL)
        return TGA_NO_MEMORY;
    tga_softmax_forward(dtype, 1, rows, classes, logits, log_p);
    reduce_classes(dtype, reduction, &c, rows, log_p, labels, counted, y);
    if (log_p != local)
        tga_free(log_p);
    return TGA_OK;
}

typedef struct {
    const tga_classes *c;
    size_t size;
    const char *factor;
    int64_t step;
    const int64_t *labels;
    char *gx;
    tga_class_backward_fn *backward;
} class_backward;

static void class_backward_some(void *context, int64_t begin, int64_t end)
{
    const class_backward *b = context;
    b->backward(b->c, end - begin, b->labels + begin,
                b->factor + (size_t)(b->step * begin) * b->size, b->step,
                b->gx + (size_t)(begin * b->c->n) * b->size);
}

static int run_class_backward(int dtype, int reduction, const tga_classes *c, int64_t rows,
                              const void *gy, const int64_t *labels, void *gx,
                              tga_class_backward_fn *backward)
{
    double counted, factor;
    const int status = examine(dtype, c, rows, labels, &counted);
    if (status != TGA_OK)
        return status;
    class_backward b = {c, tga_item_size(dtype), gy, 1, labels, gx, backward};
    if (reduction != TGA_EACH) {
        store(dtype, load(dtype, gy) / (reduction == TGA_MEAN ? counted : 1), &factor);
        b.factor = (const char *)&factor;
        b.step = 0;
    }
    tga_parallel(rows, GRAIN / (c->n + 1) + 1, class_backward_some, &b);
    return TGA_OK;
}

int tga_nll_backward(int dtype, int reduction, int64_t rows, int64_t classes, const void *gy,
                     const int64_t *labels, const void *weight, int64_t ignored, void *gx)
{
    if (!is_float(dtype))
        return TGA_NO_KERNEL;
    const tga_classes c = classes_of(dtype, classes, weight, ignored, 0);
    return run_class_backward(dtype, reduction, &c, rows, gy, labels, gx,
                              tga_kernels_current()->nll_backward[dtype]);
}

int tga_cross_entropy_backward(int dtype, int reduction, int64_t rows, int64_t classes,
                               const void *gy, const void *logits, const int64_t *labels,
                               const void *weight, int64_t ignored, double smoothing, void *gx)
{
    if (!is_float(dtype))
        return TGA_NO_KERNEL;
    const tga_classes c = classes_of(dtype, classes, weight, ignored, smoothing);
    tga_softmax_forward(dtype, 1, rows, classes, logits, gx);
    return run_class_backward(dtype, reduction, &c, rows, gy, labels, gx,
                              tga_kernels_current()->cross_entropy_backward[dtype]);
}
