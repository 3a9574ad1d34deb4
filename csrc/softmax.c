/* softmax.c: softmax, log-softmax and maxout: checks and threads. */
#include "kernels.h"

#define GRAIN 32768 /* elements worth a thread */

static int64_t rows_worth_a_thread(int64_t n) { return n < GRAIN ? GRAIN / (n + 1) + 1 : 1; }

typedef struct {
    int64_t n;
    size_t row; /* bytes */
    const char *gy, *x;
    char *y;
    tga_softmax_fn *forward;
    tga_softmax_backward_fn *backward;
} softmax;

static void forward_rows(void *context, int64_t begin, int64_t end)
{
    const softmax *s = context;
    const size_t offset = (size_t)begin * s->row;
    s->forward(end - begin, s->n, s->x + offset, s->y + offset);
}

static void backward_rows(void *context, int64_t begin, int64_t end)
{
    const softmax *s = context;
    const size_t offset = (size_t)begin * s->row;
    s->backward(end - begin, s->n, s->gy + offset, s->x + offset, s->y + offset);
}

int tga_softmax_forward(int dtype, int log, int64_t rows, int64_t n, const void *x, void *y)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    if (rows == 0 || n == 0)
        return TGA_OK;
    softmax s = {n, (size_t)n * tga_item_size(dtype), NULL, x, y,
                 tga_kernels_current()->softmax_forward[dtype][log != 0], NULL};
    tga_parallel(rows, rows_worth_a_thread(n), forward_rows, &s);
    return TGA_OK;
}

int tga_softmax_backward(int dtype, int log, int64_t rows, int64_t n, const void *gy, const void *y,
                         void *gx)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    if (rows == 0 || n == 0)
        return TGA_OK;
    softmax s = {n, (size_t)n * tga_item_size(dtype), gy, y, gx,
                 NULL, tga_kernels_current()->softmax_backward[dtype][log != 0]};
    tga_parallel(rows, rows_worth_a_thread(n), backward_rows, &s);
    return TGA_OK;
}

int tga_softmax_columns_forward(int dtype, int log, int64_t outer, int64_t n, int64_t inner,
                                const void *x, void *y)
{
    tga_lines_fn *const kernel[2] = {tga_kernels_current()->softmax_columns[0][log != 0],
                                     tga_kernels_current()->softmax_columns[1][log != 0]};
    return tga_along_lines(kernel, dtype, outer, n, inner, 0, NULL, NULL, x, NULL, y);
}

int tga_softmax_columns_backward(int dtype, int log, int64_t outer, int64_t n, int64_t inner,
                                 const void *gy, const void *y, void *gx)
{
    tga_lines_fn *const kernel[2] = {tga_kernels_current()->softmax_columns_backward[0][log != 0],
                                     tga_kernels_current()->softmax_columns_backward[1][log != 0]};
    return tga_along_lines(kernel, dtype, outer, n, inner, 0, NULL, NULL, gy, y, gx);
}

/* ---- maxout ------------------------------------------------------------------ */

typedef struct {
    int64_t pieces;
    const void *gy, *x;
    void *y;
} maxout;

/* The first largest piece; the first nan, if there is one.  A nan found is never
 * left: no piece is greater, and `found` says that another nan is too late. */
#define MAXOUT(type)                                                                               \
    static inline int64_t largest_##type(int64_t pieces, const type *x)                            \
    {                                                                                              \
        type best = x[0];                                                                          \
        int64_t index = 0;                                                                         \
        for (int64_t k = 1; k < pieces; k++) {                                                     \
            const int better = (x[k] > best) | ((x[k] != x[k]) & (best == best));                  \
            best = better ? x[k] : best;                                                           \
            index = better ? k : index;                                                            \
        }                                                                                          \
        return index;                                                                              \
    }                                                                                              \
    static void maxout_forward_##type(void *context, int64_t begin, int64_t end)                   \
    {                                                                                              \
        const maxout *m = context;                                                                 \
        const int64_t pieces = m->pieces;                                                          \
        const type *x = m->x;                                                                      \
        type *y = m->y;                                                                            \
        for (int64_t i = begin; i < end; i++)                                                      \
            y[i] = x[i * pieces + largest_##type(pieces, x + i * pieces)];                         \
    }                                                                                              \
    static void maxout_backward_##type(void *context, int64_t begin, int64_t end)                  \
    {                                                                                              \
        const maxout *m = context;                                                                 \
        const int64_t pieces = m->pieces;                                                          \
        const type *gy = m->gy, *x = m->x;                                                         \
        type *gx = m->y;                                                                           \
        for (int64_t i = begin; i < end; i++) {                                                    \
            const int64_t largest = largest_##type(pieces, x + i * pieces);                        \
            for (int64_t k = 0; k < pieces; k++)                                                   \
                gx[i * pieces + k] = k == largest ? gy[i] : 0;                                     \
        }                                                                                          \
    }
MAXOUT(float)
MAXOUT(double)

int tga_maxout_forward(int dtype, int64_t n, int64_t pieces, const void *x, void *y)
{
    maxout m = {pieces, NULL, x, y};
    if (dtype == TGA_FLOAT32)
        tga_parallel(n, rows_worth_a_thread(pieces), maxout_forward_float, &m);
    else if (dtype == TGA_FLOAT64)
        tga_parallel(n, rows_worth_a_thread(pieces), maxout_forward_double, &m);
    else
        return TGA_NO_KERNEL;
    return TGA_OK;
}

int tga_maxout_backward(int dtype, int64_t n, int64_t pieces, const void *gy, const void *x,
                        void *gx)
{
    maxout m = {pieces, gy, x, gx};
    if (dtype == TGA_FLOAT32)
        tga_parallel(n, rows_worth_a_thread(pieces), maxout_backward_float, &m);
    else if (dtype == TGA_FLOAT64)
        tga_parallel(n, rows_worth_a_thread(pieces), maxout_backward_double, &m);
    else
        return TGA_NO_KERNEL;
    return TGA_OK;
}
