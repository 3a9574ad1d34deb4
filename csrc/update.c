/* update.c: parameter updates, in place, for lists of tensors in one call. */
#include "kernels.h"

int tga_sgd(int dtype, int64_t count, void **p, void **g, const int64_t *size, double lr)
{
    if (dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64)
        return TGA_NO_KERNEL;
    for (int64_t j = 0; j < count; j++)
        if (dtype == TGA_FLOAT32)
            for (int64_t i = 0; i < size[j]; i++)
                ((float *)p[j])[i] -= (float)lr * ((const float *)g[j])[i];
        else
            for (int64_t i = 0; i < size[j]; i++)
                ((double *)p[j])[i] -= lr * ((const double *)g[j])[i];
    return TGA_OK;
}
