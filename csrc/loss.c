/* loss.c: losses: checks, sums over parts, threads. */
#include <math.h>
#include <string.h>

#include "kernels.h"

int tga_loss_forward(int op, int dtype, int64_t n, const void *x, const void *t, double scale,
                     void *total)
{
    if (op < 0 || op >= LOSS_COUNT || (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64))
        return TGA_NO_KERNEL;
    const double sum = scale * tga_kernels_current()->loss_forward[dtype][op](n, x, t);
    if (dtype == TGA_FLOAT32)
        *(float *)total = (float)sum;
    else
        *(double *)total = sum;
    return TGA_OK;
}

int tga_loss_backward(int op, int dtype, int64_t n, const void *gy, const void *x, const void *t,
                      double scale, void *gx)
{
    if (op < 0 || op >= LOSS_COUNT || (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64))
        return TGA_NO_KERNEL;
    const double factor =
        scale * (dtype == TGA_FLOAT32 ? (double)*(const float *)gy : *(const double *)gy);
    tga_kernels_current()->loss_backward[dtype][op](n, factor, x, t, gx);
    return TGA_OK;
}

/* ---- cross-entropy ---------------------------------------------------------- */

static int labels_are_valid(int64_t rows, int64_t classes, const int64_t *labels)
{
    for (int64_t i = 0; i < rows; i++)
        if (labels[i] < 0 || labels[i] >= classes)
            return 0;
    return 1;
}

int tga_cross_entropy_forward(int dtype, int64_t rows, int64_t classes, const void *logits,
                              const int64_t *labels, double scale, void *log_p, void *total)
{
    if (!labels_are_valid(rows, classes, labels))
        return TGA_BAD_LABEL;
    const int status = tga_softmax_forward(dtype, 1, rows, classes, logits, log_p);
    if (status != TGA_OK)
        return status;
    double sum = 0;
    for (int64_t i = 0; i < rows; i++)
        sum -= dtype == TGA_FLOAT32 ? (double)((float *)log_p)[i * classes + labels[i]]
                                    : ((double *)log_p)[i * classes + labels[i]];
    if (dtype == TGA_FLOAT32)
        *(float *)total = (float)(scale * sum);
    else
        *(double *)total = scale * sum;
    return TGA_OK;
}

int tga_cross_entropy_backward(int dtype, int64_t rows, int64_t classes, const void *gy,
                               const void *log_p, const int64_t *labels, double scale, void *glogits)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < classes; j++) {
            const int64_t k = i * classes + j;
            if (dtype == TGA_FLOAT32)
                ((float *)glogits)[k] =
                    (float)(*(const float *)gy * scale) *
                    (expf(((const float *)log_p)[k]) - (j == labels[i]));
            else
                ((double *)glogits)[k] = *(const double *)gy * scale *
                                         (exp(((const double *)log_p)[k]) - (j == labels[i]));
        }
    return TGA_OK;
}
