/* batch.c: rows of a data set, by their numbers, as the next batch. */
#include <string.h>

#include "kernels.h"

#define GRAIN 65536 /* elements worth a thread */

typedef struct {
    int dtype_y, dtype_x;
    int64_t width, step;
    const int64_t *index;
    const char *x;
    double scale;
    char *y;
} batch;

static void batch_rows(void *context, int64_t begin, int64_t end)
{
    const batch *b = context;
    const size_t size_x = tga_item_size(b->dtype_x), size_y = tga_item_size(b->dtype_y);
    const size_t width = (size_t)b->width;
    for (int64_t i = begin; i < end; i++) {
        const char *x = b->x + (size_t)b->index[i] * width * size_x;
        char *y = b->y + (size_t)(i * b->step) * size_y;
        if (b->dtype_x == b->dtype_y && b->scale == 1) {
            if (width * size_y > 64)
                memcpy(y, x, width * size_y);
            else if (width * size_y == 4)
                memcpy(y, x, 4);
            else if (width * size_y == 8)
                memcpy(y, x, 8);
            else if (size_y == 4)
                for (size_t j = 0; j < width; j++)
                    memcpy(y + 4 * j, x + 4 * j, 4);
            else
                for (size_t j = 0; j < width * size_y; j++)
                    y[j] = x[j];
            continue;
        }
#define SCALED(type_y, type_x)                                                                     \
    for (size_t j = 0; j < width; j++)                                                             \
        ((type_y *)(void *)y)[j] = (type_y)b->scale * (type_y)((const type_x *)(const void *)x)[j];
        if (b->dtype_y == TGA_FLOAT32 && b->dtype_x == TGA_UINT8) {
            SCALED(float, uint8_t)
        } else if (b->dtype_y == TGA_FLOAT32) {
            SCALED(float, float)
        } else if (b->dtype_x == TGA_UINT8) {
            SCALED(double, uint8_t)
        } else {
            SCALED(double, double)
        }
#undef SCALED
    }
}

int tga_batch(int dtype_y, int dtype_x, int64_t count, int64_t width, int64_t step, int64_t rows,
              const int64_t *index, const void *x, double scale, void *y)
{
    const int is_float = dtype_y == TGA_FLOAT32 || dtype_y == TGA_FLOAT64;
    if (dtype_x != dtype_y && !(is_float && dtype_x == TGA_UINT8))
        return TGA_NO_KERNEL;
    if (!is_float && scale != 1)
        return TGA_NO_KERNEL;
    int wrong = 0; /* without an early end, so that it takes vectors */
    for (int64_t i = 0; i < count; i++)
        wrong |= (uint64_t)index[i] >= (uint64_t)rows;
    if (wrong)
        return TGA_BAD_LABEL;
    batch b = {dtype_y, dtype_x, width, step, index, x, scale, y};
    tga_parallel(count, 1 + GRAIN / (width + 1), batch_rows, &b);
    return TGA_OK;
}
