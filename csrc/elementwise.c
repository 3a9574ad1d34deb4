/* elementwise.c: the entry points for everything that works element by element.
 *
 * Contiguous arrays go straight to the kernel of the instruction set in force,
 * in parts if they are long; views of any strides go through tga_walk, which
 * calls the same kernels on rows.
 */
#include <string.h>

#include "strided.h"

#define GRAIN 32768 /* elements worth a thread */

/* Index into the tables of kernels, or -1: they know float32 and float64. */
static int float_index(int dtype)
{
    return dtype == TGA_FLOAT32 ? 0 : dtype == TGA_FLOAT64 ? 1 : -1;
}

static int is_row(int op, int count) { return op >= 0 && op < count; }

static const char *at(const void *p, int64_t i, size_t size)
{
    return (const char *)p + i * (int64_t)size;
}

static int streams(int64_t n, size_t size, const void *y, const void *x1, const void *x2)
{
    return tga_streams(n * (int64_t)size, y, x1, x2);
}

/* ---- one input ------------------------------------------------------------- */

typedef struct {
    tga_unary_fn *forward;
    tga_unary_backward_fn *backward;
    size_t size;
    const void *x, *gy, *saved;
    void *y, *gx;
    double a, b;
    int stream;
} unary;

static void unary_forward_part(void *context, int64_t begin, int64_t end)
{
    const unary *u = context;
    u->forward(end - begin, at(u->x, begin, u->size), (void *)at(u->y, begin, u->size), u->a, u->b,
               u->stream);
}

int tga_unary_forward(int op, int dtype, int64_t n, const void *x, void *y, double a, double b)
{
    const int f = float_index(dtype);
    if (f < 0 || !is_row(op, UNARY_COUNT))
        return TGA_NO_KERNEL;
    tga_unary_fn *forward = tga_kernels_current()->unary_forward[f][op];
    if (n <= GRAIN) {
        forward(n, x, y, a, b, 0);
    } else {
        const size_t size = tga_item_size(dtype);
        unary u = {.forward = forward, .size = size, .x = x, .y = y, .a = a, .b = b,
                   .stream = streams(n, size, y, x, x)};
        tga_parallel(n, GRAIN, unary_forward_part, &u);
    }
    return TGA_OK;
}

static void unary_backward_part(void *context, int64_t begin, int64_t end)
{
    const unary *u = context;
    u->backward(end - begin, at(u->gy, begin, u->size), at(u->saved, begin, u->size),
                (void *)at(u->gx, begin, u->size), u->a, u->b, u->stream);
}

int tga_unary_backward(int op, int dtype, int64_t n, const void *gy, const void *saved, void *gx,
                       double a, double b)
{
    const int f = float_index(dtype);
    if (f < 0 || !is_row(op, UNARY_COUNT))
        return TGA_NO_KERNEL;
    tga_unary_backward_fn *backward = tga_kernels_current()->unary_backward[f][op];
    if (n <= GRAIN) {
        backward(n, gy, saved, gx, a, b, 0);
    } else {
        const size_t size = tga_item_size(dtype);
        unary u = {.backward = backward, .size = size, .gy = gy, .saved = saved, .gx = gx, .a = a,
                   .b = b, .stream = streams(n, size, gx, gy, saved)};
        tga_parallel(n, GRAIN, unary_backward_part, &u);
    }
    return TGA_OK;
}

/* A step of 0 means that all elements of the row are one; the unary kernels do
 * not know that, so they work on short runs of it. */
#define REPEAT 64
static const void *repeated(size_t size, const void *element, uint64_t *run)
{
    for (int i = 0; i < REPEAT; i++)
        memcpy((char *)run + (size_t)i * size, element, size);
    return run;
}

static void unary_forward_row(const void *context, int64_t n, void *const *p, const int64_t *step)
{
    const unary *u = context;
    if (step[1] == 1) {
        u->forward(n, p[1], p[0], u->a, u->b, 0);
        return;
    }
    uint64_t run[REPEAT];
    const void *x = repeated(u->size, p[1], run);
    for (int64_t i = 0; i < n; i += REPEAT)
        u->forward(n - i < REPEAT ? n - i : REPEAT, x, (void *)at(p[0], i, u->size), u->a, u->b, 0);
}

int tga_unary_forward_strided(int op, int dtype, const tga_layout *layout, const void *x, void *y,
                              double a, double b)
{
    const int f = float_index(dtype);
    if (f < 0 || !is_row(op, UNARY_COUNT))
        return TGA_NO_KERNEL;
    const size_t size = tga_item_size(dtype);
    const unary u = {.forward = tga_kernels_current()->unary_forward[f][op], .size = size,
                     .a = a, .b = b};
    tga_walk(layout, 2, (size_t[]){size, size}, (void *[]){y, (void *)x}, unary_forward_row, &u);
    return TGA_OK;
}

static void unary_backward_row(const void *context, int64_t n, void *const *p, const int64_t *step)
{
    const unary *u = context;
    if (step[1] == 1 && step[2] == 1) {
        u->backward(n, p[1], p[2], p[0], u->a, u->b, 0);
        return;
    }
    uint64_t gy_run[REPEAT], saved_run[REPEAT];
    const void *gy = step[1] ? p[1] : repeated(u->size, p[1], gy_run);
    const void *saved = step[2] ? p[2] : repeated(u->size, p[2], saved_run);
    for (int64_t i = 0; i < n; i += REPEAT)
        u->backward(n - i < REPEAT ? n - i : REPEAT, step[1] ? at(gy, i, u->size) : gy,
                    step[2] ? at(saved, i, u->size) : saved, (void *)at(p[0], i, u->size), u->a,
                    u->b, 0);
}

int tga_unary_backward_strided(int op, int dtype, const tga_layout *layout, const void *gy,
                               const void *saved, void *gx, double a, double b)
{
    const int f = float_index(dtype);
    if (f < 0 || !is_row(op, UNARY_COUNT))
        return TGA_NO_KERNEL;
    const size_t size = tga_item_size(dtype);
    const unary u = {.backward = tga_kernels_current()->unary_backward[f][op], .size = size,
                     .a = a, .b = b};
    tga_walk(layout, 3, (size_t[]){size, size, size}, (void *[]){gx, (void *)gy, (void *)saved},
             unary_backward_row, &u);
    return TGA_OK;
}

double tga_unary_scalar(int op, double x, double a, double b)
{
    double y;
    tga_kernels_current()->unary_forward[1][op](1, &x, &y, a, b, 0);
    return y;
}

double tga_unary_backward_scalar(int op, double gy, double saved, double a, double b)
{
    double gx;
    tga_kernels_current()->unary_backward[1][op](1, &gy, &saved, &gx, a, b, 0);
    return gx;
}

/* ---- two inputs ------------------------------------------------------------- */

/* With the sign of y, as Python has it; 0 where y is 0, as NumPy has it. */
static inline int64_t floored_modulo(int64_t x, int64_t y)
{
    if (y == 0 || y == -1) /* -1: the quotient of the least number overflows */
        return 0;
    const int64_t r = x % y;
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

#define NO_INT 0 /* the row has no int64 kernel */
#define BINARY(name, forward, on_int64)                                                            \
    static void name##_int64(int64_t n, const void *px, int64_t step_x, const void *py,            \
                             int64_t step_y, void *pz, int stream)                                 \
    {                                                                                              \
        (void)stream;                                                                              \
        const int64_t *xs = px, *ys = py;                                                          \
        int64_t *z = pz;                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const uint64_t x = (uint64_t)xs[i * step_x], y = (uint64_t)ys[i * step_y];             \
            (void)x, (void)y;                                                                      \
            z[i] = (int64_t)(on_int64);                                                            \
        }                                                                                          \
    }
#include "arithmetic.def"

static tga_binary_fn *const binary_int64[] = {
#define BINARY(name, ...) name##_int64,
#include "arithmetic.def"
};
static const char *const binary_int64_text[] = {
#define BINARY(name, forward, on_int64) #on_int64,
#include "arithmetic.def"
};

static tga_binary_fn *binary_kernel(int op, int dtype)
{
    const int f = float_index(dtype);
    if (!is_row(op, BINARY_COUNT))
        return NULL;
    if (f >= 0)
        return tga_kernels_current()->binary[f][op];
    return dtype == TGA_INT64 && strcmp(binary_int64_text[op], "NO_INT") ? binary_int64[op] : NULL;
}

typedef struct {
    tga_binary_fn *kernel;
    const void *x, *y;
    void *z;
    int64_t step_x, step_y;
    size_t size;
    int stream;
} binary;

static void binary_part(void *context, int64_t begin, int64_t end)
{
    const binary *b = context;
    b->kernel(end - begin, at(b->x, begin * b->step_x, b->size), b->step_x,
              at(b->y, begin * b->step_y, b->size), b->step_y, (void *)at(b->z, begin, b->size),
              b->stream);
}

int tga_binary_forward(int op, int dtype, int64_t n, const void *x, int64_t step_x, const void *y,
                       int64_t step_y, void *z)
{
    tga_binary_fn *kernel = binary_kernel(op, dtype);
    if (!kernel)
        return TGA_NO_KERNEL;
    if (n <= GRAIN) {
        kernel(n, x, step_x, y, step_y, z, 0);
    } else {
        const size_t size = tga_item_size(dtype);
        binary b = {kernel, x, y, z, step_x, step_y, size, streams(n, size, z, x, y)};
        tga_parallel(n, GRAIN, binary_part, &b);
    }
    return TGA_OK;
}

static void binary_row(const void *context, int64_t n, void *const *p, const int64_t *step)
{
    const binary *b = context;
    b->kernel(n, p[1], step[1], p[2], step[2], p[0], 0);
}

int tga_binary_forward_strided(int op, int dtype, const tga_layout *layout, const void *x,
                               const void *y, void *z)
{
    const binary b = {.kernel = binary_kernel(op, dtype)};
    if (!b.kernel)
        return TGA_NO_KERNEL;
    const size_t size = tga_item_size(dtype);
    tga_walk(layout, 3, (size_t[]){size, size, size}, (void *[]){z, (void *)x, (void *)y},
             binary_row, &b);
    return TGA_OK;
}

double tga_binary_scalar(int op, double x, double y)
{
    double z;
    tga_kernels_current()->binary[1][op](1, &x, 1, &y, 1, &z, 0);
    return z;
}

/* ---- comparisons ------------------------------------------------------------ */

#define COMPARE(name, expression)                                                                  \
    static void name##_int64(int64_t n, const void *px, int64_t step_x, const void *py,            \
                             int64_t step_y, uint8_t *z)                                           \
    {                                                                                              \
        const int64_t *xs = px, *ys = py;                                                          \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const int64_t x = xs[i * step_x], y = ys[i * step_y];                                  \
            z[i] = expression;                                                                     \
        }                                                                                          \
    }                                                                                              \
    static void name##_uint8(int64_t n, const void *px, int64_t step_x, const void *py,            \
                             int64_t step_y, uint8_t *z)                                           \
    {                                                                                              \
        const uint8_t *xs = px, *ys = py;                                                          \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const uint8_t x = xs[i * step_x], y = ys[i * step_y];                                  \
            z[i] = expression;                                                                     \
        }                                                                                          \
    }
#include "arithmetic.def"

static tga_compare_fn *const compare_int64[] = {
#define COMPARE(name, ...) name##_int64,
#include "arithmetic.def"
};
static tga_compare_fn *const compare_uint8[] = {
#define COMPARE(name, ...) name##_uint8,
#include "arithmetic.def"
};

static void compare_row(const void *context, int64_t n, void *const *p, const int64_t *step)
{
    tga_compare_fn *const *kernel = context;
    (*kernel)(n, p[1], step[1], p[2], step[2], p[0]);
}

int tga_compare_strided(int op, int dtype, const tga_layout *layout, const void *x, const void *y,
                        uint8_t *z)
{
    if (!is_row(op, COMPARE_COUNT))
        return TGA_NO_KERNEL;
    const int f = float_index(dtype);
    tga_compare_fn *kernel = f >= 0                ? tga_kernels_current()->compare[f][op]
                             : dtype == TGA_INT64 ? compare_int64[op]
                                                  : compare_uint8[op];
    const size_t size = tga_item_size(dtype);
    tga_walk(layout, 3, (size_t[]){1, size, size}, (void *[]){z, (void *)x, (void *)y}, compare_row,
             &kernel);
    return TGA_OK;
}

/* ---- choose, copy, convert, fill -------------------------------------------- */

/* Both values are read and one is kept, so that no branch has to be foretold; steps that are
 * constants where this is inlined let the compiler use vectors. */
#define CHOOSE(type)                                                                               \
    static inline __attribute__((always_inline)) void choose_##type(                               \
        int64_t n, const uint8_t *condition, int64_t step_condition, const type *x, int64_t step_x, \
        const type *y, int64_t step_y, type *z)                                                    \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const type from_x = x[i * step_x], from_y = y[i * step_y];                             \
            z[i] = condition[i * step_condition] ? from_x : from_y;                                \
        }                                                                                          \
    }                                                                                              \
    static void where_##type(int64_t n, void *const *p, const int64_t *step)                       \
    {                                                                                              \
        if (step[1] && step[2] && step[3])                                                         \
            choose_##type(n, p[1], 1, p[2], 1, p[3], 1, p[0]);                                     \
        else if (step[1] && step[2])                                                               \
            choose_##type(n, p[1], 1, p[2], 1, p[3], 0, p[0]);                                     \
        else if (step[1] && step[3])                                                               \
            choose_##type(n, p[1], 1, p[2], 0, p[3], 1, p[0]);                                     \
        else                                                                                       \
            choose_##type(n, p[1], step[1], p[2], step[2], p[3], step[3], p[0]);                   \
    }
CHOOSE(uint32_t)
CHOOSE(uint64_t)
CHOOSE(uint8_t)
#undef CHOOSE

static void where_row(const void *context, int64_t n, void *const *p, const int64_t *step)
{
    const size_t size = *(const size_t *)context;
    if (size == 4)
        where_uint32_t(n, p, step);
    else if (size == 8)
        where_uint64_t(n, p, step);
    else
        where_uint8_t(n, p, step);
}

int tga_where_strided(int dtype, const tga_layout *layout, const uint8_t *condition, const void *x,
                      const void *y, void *z)
{
    const size_t size = tga_item_size(dtype);
    tga_walk(layout, 4, (size_t[]){size, 1, size, size},
             (void *[]){z, (void *)condition, (void *)x, (void *)y}, where_row, &size);
    return TGA_OK;
}

/* Out of range and nan give the smallest int64, as on x86; in C they would be
 * undefined. */
static inline int64_t to_int64(double x)
{
    return x >= -0x1p63 && x < 0x1p63 ? (int64_t)x : INT64_MIN;
}

typedef struct {
    int from, to;
} conversion;

static void convert_row(const void *context, int64_t n, void *const *p, const int64_t *step)
{
    const conversion c = *(const conversion *)context;
    if (c.from == c.to && c.to != TGA_BOOL && step[1]) { /* a bool may come with any bits */
        memmove(p[0], p[1], (size_t)n * tga_item_size(c.to));
        return;
    }
#define CONVERT(from_type, to_type, expression)                                                    \
    {                                                                                              \
        const from_type *from = p[1];                                                              \
        to_type *to = p[0];                                                                        \
        if (step[1]) {                                                                             \
            for (int64_t i = 0; i < n; i++) {                                                      \
                const from_type x = from[i];                                                       \
                to[i] = (to_type)(expression);                                                     \
            }                                                                                      \
        } else {                                                                                   \
            const from_type x = *from;                                                             \
            for (int64_t i = 0; i < n; i++)                                                        \
                to[i] = (to_type)(expression);                                                     \
        }                                                                                          \
        return;                                                                                    \
    }
#define CONVERT_FROM(type, as_integer)                                                             \
    switch (c.to) {                                                                                \
    case TGA_FLOAT32:                                                                              \
        CONVERT(type, float, x)                                                                    \
    case TGA_FLOAT64:                                                                              \
        CONVERT(type, double, x)                                                                   \
    case TGA_INT64:                                                                                \
        CONVERT(type, int64_t, as_integer)                                                         \
    case TGA_BOOL:                                                                                 \
        CONVERT(type, uint8_t, x != 0)                                                             \
    default:                                                                                       \
        CONVERT(type, uint8_t, (uint64_t)as_integer & 255)                                         \
    }
    switch (c.from) {
    case TGA_FLOAT32:
        CONVERT_FROM(float, to_int64((double)x))
    case TGA_FLOAT64:
        CONVERT_FROM(double, to_int64(x))
    case TGA_INT64:
        CONVERT_FROM(int64_t, x)
    default:
        CONVERT_FROM(uint8_t, x)
    }
#undef CONVERT
#undef CONVERT_FROM
}

int tga_copy_strided(int dtype_y, int dtype_x, const tga_layout *layout, const void *x, void *y)
{
    const conversion c = {.from = dtype_x, .to = dtype_y};
    tga_walk(layout, 2, (size_t[]){tga_item_size(dtype_y), tga_item_size(dtype_x)},
             (void *[]){y, (void *)x}, convert_row, &c);
    return TGA_OK;
}

typedef struct {
    int dtype;
    double start, step;
    void *y;
} sequence;

static void sequence_part(void *context, int64_t begin, int64_t end)
{
    const sequence *s = context;
    const double start = s->start, step = s->step;
    /* element 0 is start itself, also -0.0 and inf */
    if (s->dtype == TGA_FLOAT32)
        for (int64_t i = begin; i < end; i++)
            ((float *)s->y)[i] = (float)(i ? start + (double)i * step : start);
    else if (s->dtype == TGA_FLOAT64)
        for (int64_t i = begin; i < end; i++)
            ((double *)s->y)[i] = i ? start + (double)i * step : start;
    else if (s->dtype == TGA_INT64)
        for (int64_t i = begin; i < end; i++)
            ((int64_t *)s->y)[i] = to_int64(start) + i * to_int64(step);
    else
        for (int64_t i = begin; i < end; i++)
            ((uint8_t *)s->y)[i] = (uint8_t)((uint64_t)(to_int64(start) + i * to_int64(step)) & 255);
}

int tga_arange(int dtype, int64_t n, double start, double step, void *y)
{
    sequence s = {dtype, start, step, y};
    tga_parallel(n, GRAIN, sequence_part, &s);
    return TGA_OK;
}

typedef struct {
    int dtype;
    double value;
    void *y;
} constant;

static void fill_part(void *context, int64_t begin, int64_t end)
{
    const constant *c = context;
    if (c->dtype == TGA_FLOAT32)
        for (int64_t i = begin; i < end; i++)
            ((float *)c->y)[i] = (float)c->value;
    else if (c->dtype == TGA_FLOAT64)
        for (int64_t i = begin; i < end; i++)
            ((double *)c->y)[i] = c->value;
    else if (c->dtype == TGA_INT64)
        for (int64_t i = begin; i < end; i++)
            ((int64_t *)c->y)[i] = to_int64(c->value);
    else
        memset((uint8_t *)c->y + begin, (int)((uint64_t)to_int64(c->value) & 255),
               (size_t)(end - begin));
}

int tga_fill(int dtype, int64_t n, double value, void *y)
{
    constant c = {dtype, dtype == TGA_BOOL ? value != 0 : value, y};
    tga_parallel(n, GRAIN, fill_part, &c);
    return TGA_OK;
}
