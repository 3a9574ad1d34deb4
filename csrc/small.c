/* small.c: the entry points for small matrices in rows of TGA_ROW elements (small.tmpl.h). */
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
    const tga_word v[] = {
        {.i = op},         {.i = dtype},       {.i = m}, {.i = k}, {.p = (void *)x},
        {.p = (void *)wt}, {.p = (void *)b},   {.p = z}, {.p = y}, {.d = a1},
        {.d = a2},
    };
    return tga_kernels_current()->rows_forward[dtype][op](v);
}

int tga_rows_backward(int op, int dtype, int64_t m, int64_t n, int64_t k, const void *gy,
                      const void *saved, const void *x, const void *w, void *gx, void *gw, void *gwt,
                      void *gb, double a1, double a2)
{
    if (!is_known(op, dtype) || m < 1 || m > TGA_ROWS_MOST)
        return TGA_NO_KERNEL;
    const tga_word v[] = {
        {.i = op},         {.i = dtype},         {.i = m},           {.i = n},           {.i = k},
        {.p = (void *)gy}, {.p = (void *)saved}, {.p = (void *)x},   {.p = (void *)w},   {.p = gx},
        {.p = gw},         {.p = gwt},           {.p = gb},          {.d = a1},          {.d = a2},
    };
    return tga_kernels_current()->rows_backward[dtype][op](v);
}

/* Elements of a matrix, from rows of one length to rows of another. */
static void copy_rows(int dtype, int64_t rows, int64_t columns, const void *x, int64_t step_x,
                      void *y, int64_t step_y)
{
    if (dtype == TGA_FLOAT32) {
        const float *from = x;
        float *to = y;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++)
                to[i * step_y + j] = from[i * step_x + j];
    } else {
        const double *from = x;
        double *to = y;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++)
                to[i * step_y + j] = from[i * step_x + j];
    }
}

/* x: (rows, columns); y: (rows, TGA_ROW), of which the rest stays as it is */
int tga_rows_pack(int dtype, int64_t rows, int64_t columns, const void *x, void *y)
{
    copy_rows(dtype, rows, columns, x, columns, y, TGA_ROW);
    return TGA_OK;
}

/* x: (rows, TGA_ROW); y: (rows, columns) */
int tga_rows_unpack(int dtype, int64_t rows, int64_t columns, const void *x, void *y)
{
    copy_rows(dtype, rows, columns, x, TGA_ROW, y, columns);
    return TGA_OK;
}

int tga_rows_loss(int op, int dtype, int64_t rows, int64_t columns, const void *x, const void *t,
                  double a, double scale, const void *gy, void *total, void *gx)
{
    const int is_float = dtype == TGA_FLOAT32 || dtype == TGA_FLOAT64;
    if (op < 0 || op >= LOSS_COUNT || !is_float || rows > TGA_ROWS_MOST || columns > TGA_ROW)
        return TGA_NO_KERNEL;
    const tga_word v[] = {
        {.i = op},         {.i = dtype}, {.i = rows},  {.i = columns},     {.p = (void *)x},
        {.p = (void *)t},  {.d = a},     {.d = scale}, {.p = (void *)gy},  {.p = total},
        {.p = gx},
    };
    return tga_kernels_current()->rows_loss[dtype][op](v);
}
