/* linear.c: a linear layer, forward and backward, in one call each.
 *
 * A small net spends its time between the kernels: one call from Python in place
 * of three is worth more there than any arithmetic.
 */
#include "kernels.h"

int tga_linear_forward(int dtype, int64_t m, int64_t n, int64_t k, const void *x /* (m, k) */,
                       const void *w /* (n, k) */, const void *b /* (n) */, void *y /* (m, n) */)
{
    return tga_gemm(dtype, 0, 1, m, n, k, 1.0, x, k ? k : 1, w, k ? k : 1, 0.0, y, n ? n : 1, b);
}

int tga_linear_activation_forward(int op, int dtype, int64_t m, int64_t n, int64_t k,
                                  const void *x /* (m, k) */, const void *w /* (n, k) */,
                                  const void *b /* (n) */, void *z /* (m, n) or NULL */,
                                  void *y /* (m, n) */, double attr_a, double attr_b)
{
    if ((dtype != TGA_FLOAT32 && dtype != TGA_FLOAT64) || op < 0 || op >= UNARY_COUNT)
        return TGA_NO_KERNEL;
    const tga_epilogue epilogue = {
        .bias = b,
        .activation = tga_kernels_current()->unary_forward[dtype == TGA_FLOAT64][op],
        .a = attr_a,
        .b = attr_b,
        .y = y,
    };
    return tga_gemm_epilogue(dtype, 0, 1, m, n, k, 1.0, x, k ? k : 1, w, k ? k : 1, 0.0, z ? z : y,
                             n ? n : 1, epilogue);
}

int tga_linear_backward(int dtype, int64_t m, int64_t n, int64_t k, const void *gy /* (m, n) */,
                        const void *x /* (m, k) */, const void *w /* (n, k) */,
                        void *gx /* (m, k) */, void *gw /* (n, k) */, void *gb /* (n) */)
{
    int status = TGA_OK;
    if (gx) /* gx = gy @ w */
        status = tga_gemm(dtype, 0, 0, m, k, n, 1.0, gy, n ? n : 1, w, k ? k : 1, 0.0, gx,
                          k ? k : 1, NULL);
    if (gw && status == TGA_OK) /* gw = gy.T @ x */
        status = tga_gemm(dtype, 1, 0, n, k, m, 1.0, gy, n ? n : 1, x, k ? k : 1, 0.0, gw,
                          k ? k : 1, NULL);
    if (gb && status == TGA_OK) { /* gb[j] = sum over i of gy[i, j] */
        tga_layout columns;
        columns.ndim = 2;
        columns.shape[0] = n;
        columns.shape[1] = m;
        columns.stride[1][0] = 1;
        columns.stride[1][1] = n;
        status = tga_reduce(REDUCE_sum, dtype, &columns, 1, gy, gb);
    }
    return status;
}
