/* small.c: the entry points for small matrices in rows of TGA_ROW elements (small.tmpl.h). */
#include <string.h>

#include "kernels.h"

static int is_known(int op, int dtype)
{
    return op >= 0 && op < ACT_COUNT && (dtype == TGA_FLOAT32 || dtype == TGA_FLOAT64);
}

int tga_activation_rows(void) { return ACT_COUNT; }

int tga_rows_forward(int op, int dtype, int64_t m, int64_t k, const void *x, const void *wt,
                     const void *b, void *z, void *y, double a1, double a2)
{
    if (!is_known(op, dtype))
        return TGA_NO_KERNEL;
    tga_kernels_current()->rows_forward[dtype][op](m, k, x, wt, b, z, y, a1, a2);
    return TGA_OK;
}

int tga_rows_backward(int op, int dtype, int64_t m, int64_t n, int64_t k, const void *gy,
                      const void *saved, const void *x, const void *w, void *gx, void *gw, void *gwt,
                      void *gb, double a1, double a2)
{
    if (!is_known(op, dtype) || m < 1 || m > TGA_ROWS_MOST)
        return TGA_NO_KERNEL;
    tga_kernels_current()->rows_backward[dtype][op](m, n, k, gy, saved, x, w, gx, gw, gwt, gb, a1,
                                                    a2);
    return TGA_OK;
}

/* x: (rows, columns); y: (rows, TGA_ROW), of which the rest stays as it is */
int tga_rows_pack(int dtype, int64_t rows, int64_t columns, const void *x, void *y)
{
    const size_t size = tga_item_size(dtype);
    for (int64_t i = 0; i < rows; i++)
        memcpy((char *)y + (size_t)(i * TGA_ROW) * size,
               (const char *)x + (size_t)(i * columns) * size, (size_t)columns * size);
    return TGA_OK;
}

/* x: (rows, TGA_ROW); y: (rows, columns) */
int tga_rows_unpack(int dtype, int64_t rows, int64_t columns, const void *x, void *y)
{
    const size_t size = tga_item_size(dtype);
    for (int64_t i = 0; i < rows; i++)
        memcpy((char *)y + (size_t)(i * columns) * size,
               (const char *)x + (size_t)(i * TGA_ROW) * size, (size_t)columns * size);
    return TGA_OK;
}
