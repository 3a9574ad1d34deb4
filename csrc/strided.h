/* strided.h: visit arrays of one shape and any strides as short contiguous rows. */
#ifndef TGA_STRIDED_H
#define TGA_STRIDED_H

#include "kernels.h"

/* One row: n elements of each operand.  p[0] is the result, its step is 1; the
 * steps of the inputs p[1], p[2], p[3] are 1, or 0 for one repeated element. */
typedef void tga_row_fn(const void *context, int64_t n, void *const *p, const int64_t *step);

/* Cover layout's elements with rows, in parallel where there are many.
 *   operands  2, 3 or 4: the result and its inputs
 *   size      bytes of an element of each operand
 *   p         first element of each operand */
void tga_walk(const tga_layout *layout, int operands, const size_t *size, void *const *p,
              tga_row_fn *row, const void *context);

#endif
