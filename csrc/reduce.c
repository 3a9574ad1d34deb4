/* reduce.c: reductions over any axes of a strided array.
 *
 * The axes that stay and the axes that go are simplified first: those of
 * length 1 are dropped, neighbours that can be walked as one are joined.  Then
 *   rows      what is reduced lies next to each other: the kernel reads it there;
 *   columns   what stays lies next to each other, one axis goes: whole rows
 *             are combined;
 *   gather    anything else is collected in logical order, a block at a time.
 * A result depends on the values and their number only: all three combine in
 * the order that reduce.tmpl.h describes.
 */
#include <string.h>

#include "kernels.h"

#define BLOCK 1024     /* elements gathered at a time: whole chunks of every kernel */
#define MAX_LEVELS 48  /* more blocks than 2^48 do not exist */
#define GRAIN 32768    /* elements worth a thread */
#define MIN_COLUMNS 64 /* of a matrix, for one thread: fewer would share cache lines */
#define MAX_PARTS 64   /* into which what is reduced may be split, for threads */
#define PARTIAL 4096   /* partial results on the stack */
#define MAX_ROW 512    /* results that may be split so */

typedef struct {
    int64_t ndim;
    int64_t length; /* product of shape */
    int64_t shape[TGA_MAX_DIMS];
    int64_t stride[TGA_MAX_DIMS];
} axes;

static void simplify(axes *a, const tga_layout *layout, int64_t begin, int64_t end)
{
    a->ndim = 0;
    a->length = 1;
    for (int64_t axis = begin; axis < end; axis++) {
        const int64_t length = layout->shape[axis], stride = layout->stride[1][axis];
        a->length *= length;
        if (length == 1)
            continue;
        const int joins = a->ndim > 0 && a->stride[a->ndim - 1] == stride * length;
        if (!joins)
            a->shape[a->ndim++] = 1;
        a->shape[a->ndim - 1] *= length;
        a->stride[a->ndim - 1] = stride;
    }
}

/* Offset of element number i of the axes. */
static int64_t offset_of(const axes *a, int64_t i)
{
    int64_t offset = 0;
    for (int64_t axis = a->ndim - 1; axis >= 0; axis--) {
        offset += i % a->shape[axis] * a->stride[axis];
        i /= a->shape[axis];
    }
    return offset;
}

/* How many elements, from number i on, lie in one run of the last axis. */
static int64_t run_length(const axes *a, int64_t i)
{
    if (a->ndim == 0)
        return 1;
    const int64_t last = a->shape[a->ndim - 1];
    return last - i % last;
}

static int64_t last_stride(const axes *a) { return a->ndim == 0 ? 1 : a->stride[a->ndim - 1]; }

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- floating point --------------------------------------------------------- */

typedef struct {
    axes kept, gone;
    int64_t begin, end; /* of what is reduced, the part that is asked for now */
    int64_t part;       /* length of a part when several threads share a reduction */
    size_t size;        /* bytes of an element */
    const char *x;
    char *y;
    tga_reduce_fn *reduce;
    tga_reduce_rows_fn *reduce_rows;
    enum { ROWS, COLUMNS, GATHER } how;
} reduction;

/* n elements of the reduced axes, from number i on, to a contiguous block */
static void gather(const reduction *r, const char *x, int64_t i, int64_t n, char *block)
{
    const int64_t stride = last_stride(&r->gone);
    while (n > 0) {
        const int64_t run = smaller(run_length(&r->gone, i), n);
        const char *from = x + offset_of(&r->gone, i) * (int64_t)r->size;
        if (stride == 1) {
            memcpy(block, from, (size_t)run * r->size);
        } else if (r->size == 4) {
            for (int64_t k = 0; k < run; k++)
                memcpy(block + 4 * k, from + 4 * k * stride, 4);
        } else {
            for (int64_t k = 0; k < run; k++)
                memcpy(block + 8 * k, from + 8 * k * stride, 8);
        }
        block += run * (int64_t)r->size;
        i += run;
        n -= run;
    }
}

/* a = a combined with b: the kernel itself, on two elements */
static void combine(tga_reduce_fn *reduce, size_t size, char *a, const char *b)
{
    uint64_t pair[2];
    memcpy(pair, a, size);
    memcpy((char *)pair + size, b, size);
    reduce(2, pair, a);
}

void tga_combine_parts(tga_reduce_rows_fn *reduce_rows, size_t size, int64_t parts, int64_t n,
                       void *results)
{
    double combined[MAX_ROW];
    const size_t row = (size_t)n * size;
    for (int64_t span = 1; span < parts; span *= 2)
        for (int64_t p = 0; p + span < parts; p += 2 * span) {
            char *first = (char *)results + (size_t)p * row;
            reduce_rows(2, n, first, span * n, combined);
            memcpy(first, combined, row);
        }
}

/* Pairwise over blocks, by the binary counter that reduce.tmpl.h explains. */
static void reduce_gathered(const reduction *r, const char *x, int64_t begin, int64_t end, char *y)
{
    uint64_t block[BLOCK], waiting[MAX_LEVELS];
    int levels = 0;
    if (end - begin <= BLOCK) {
        gather(r, x, begin, end - begin, (char *)block);
        r->reduce(end - begin, block, y);
        return;
    }
    for (int64_t blocks = 0; begin < end; blocks++) {
        const int64_t n = smaller(end - begin, BLOCK);
        char *next = (char *)(waiting + levels);
        gather(r, x, begin, n, (char *)block);
        r->reduce(n, block, next);
        begin += n;
        levels++;
        for (int64_t bits = blocks; bits & 1; bits >>= 1) {
            levels--;
            combine(r->reduce, r->size, (char *)(waiting + levels - 1),
                    (char *)(waiting + levels));
        }
    }
    for (; levels > 1; levels--)
        combine(r->reduce, r->size, (char *)(waiting + levels - 2), (char *)(waiting + levels - 1));
    memcpy(y, waiting, r->size);
}

/* Results number i ... end - 1 over elements r->begin ... r->end - 1, to y. */
static void reduce_range(const reduction *r, int64_t i, int64_t end, char *y)
{
    const int64_t size = (int64_t)r->size, stride = last_stride(&r->kept);
    while (i < end) {
        const int64_t run = smaller(run_length(&r->kept, i), end - i);
        const char *x = r->x + offset_of(&r->kept, i) * size;
        if (r->how == COLUMNS) {
            const int64_t step = last_stride(&r->gone);
            r->reduce_rows(r->end - r->begin, run, x + r->begin * step * size, step, y);
        } else if (r->how == ROWS) {
            x += r->begin * size;
            for (int64_t k = 0; k < run; k++)
                r->reduce(r->end - r->begin, x + k * stride * size, y + k * size);
        } else {
            for (int64_t k = 0; k < run; k++)
                reduce_gathered(r, x + k * stride * size, r->begin, r->end, y + k * size);
        }
        i += run;
        y += run * size;
    }
}

static void reduce_some(void *context, int64_t begin, int64_t end)
{
    const reduction *r = context;
    reduce_range(r, begin, end, r->y + begin * (int64_t)r->size);
}

/* Part number p of what is reduced, for all results; r->y takes a row per part. */
static void reduce_parts(void *context, int64_t begin, int64_t end)
{
    const reduction *whole = context;
    reduction r = *whole;
    for (int64_t p = begin; p < end; p++) {
        r.begin = p * whole->part;
        r.end = smaller(r.begin + whole->part, whole->end);
        reduce_range(&r, 0, r.kept.length, r.y + p * r.kept.length * (int64_t)r.size);
    }
}

/* Few results of many elements each: split what is reduced.  A part is a power
 * of two of blocks, hence a whole branch of the pairwise order. */
static void reduce_in_parts(reduction *r)
{
    double partial[PARTIAL];
    const int64_t kept = r->kept.length;
    const int64_t most = smaller(MAX_PARTS, PARTIAL / kept);
    char *y = r->y;
    r->part = BLOCK;
    while (r->part * kept < GRAIN || r->gone.length > r->part * most)
        r->part *= 2;
    const int64_t parts = (r->gone.length + r->part - 1) / r->part;
    r->y = (char *)partial;
    tga_parallel(parts, 1, reduce_parts, r);
    tga_combine_parts(r->reduce_rows, r->size, parts, kept, partial);
    memcpy(y, partial, (size_t)kept * r->size);
}

static int reduce_float(int op, int dtype, const tga_layout *layout, int64_t kept, const void *x,
                        void *y)
{
    const tga_kernels *kernels = tga_kernels_current();
    reduction r;
    simplify(&r.kept, layout, 0, kept);
    simplify(&r.gone, layout, kept, layout->ndim);
    r.begin = 0;
    r.end = r.gone.length;
    r.size = tga_item_size(dtype);
    r.x = x;
    r.y = y;
    r.reduce = kernels->reduce[dtype][op];
    r.reduce_rows = kernels->reduce_rows[dtype][op];
    if (r.gone.ndim <= 1 && last_stride(&r.gone) == 1 && r.gone.length > 1)
        r.how = ROWS;
    else if (r.gone.ndim <= 1 && last_stride(&r.kept) == 1)
        r.how = COLUMNS;
    else
        r.how = r.gone.ndim == 0 ? ROWS : GATHER;

    if (r.kept.length == 0)
        return TGA_OK;
    if (r.gone.length == 0) {
        for (int64_t i = 0; i < r.kept.length; i++)
            r.reduce(0, NULL, r.y + i * (int64_t)r.size);
    } else if (r.gone.length >= 2 * BLOCK && r.gone.length > GRAIN / r.kept.length &&
               r.kept.length <= (r.how == COLUMNS ? MAX_ROW : 16)) {
        reduce_in_parts(&r);
    } else {
        const int64_t least = r.how == COLUMNS ? MIN_COLUMNS : 1;
        const int64_t grain = GRAIN / r.gone.length;
        tga_parallel(r.kept.length, grain < least ? least : grain, reduce_some, &r);
    }
    return TGA_OK;
}

/* ---- integers --------------------------------------------------------------- */
/* No order to keep: sums and products wrap, as unsigned arithmetic does. */

typedef void integer_fn(int64_t n, const void *x, int64_t step, void *y);

/* y = y combined with x[0], x[step] ... */
#define INTEGER(name, type, result_type, expression)                                               \
    static void name(int64_t n, const void *px, int64_t step, void *py)                            \
    {                                                                                              \
        const type *x = px;                                                                        \
        result_type y;                                                                             \
        memcpy(&y, py, sizeof y);                                                                  \
        if (step == 1)                                                                             \
            for (int64_t i = 0; i < n; i++)                                                        \
                y = expression(y, (result_type)x[i]);                                              \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++)                                                        \
                y = expression(y, (result_type)x[i * step]);                                       \
        memcpy(py, &y, sizeof y);                                                                  \
    }
#define ADD(x, y) (x) + (y)
#define MULTIPLY(x, y) (x) * (y)
#define LARGER(x, y) (x) > (y) ? (x) : (y)
#define SMALLER(x, y) (x) < (y) ? (x) : (y)
INTEGER(sum_int64, uint64_t, uint64_t, ADD)
INTEGER(sum_uint8, uint8_t, uint64_t, ADD)
INTEGER(prod_int64, uint64_t, uint64_t, MULTIPLY)
INTEGER(prod_uint8, uint8_t, uint64_t, MULTIPLY)
INTEGER(max_int64, int64_t, int64_t, LARGER)
INTEGER(max_uint8, uint8_t, uint8_t, LARGER)
INTEGER(min_int64, int64_t, int64_t, SMALLER)
INTEGER(min_uint8, uint8_t, uint8_t, SMALLER)

static const struct {
    integer_fn *int64, *uint8;
    int64_t start_int64; /* sum and prod of uint8 give int64; max and min stay uint8 */
    uint8_t start_uint8;
    int widens;
} integer_rows[REDUCE_COUNT] = {
    [REDUCE_sum] = {sum_int64, sum_uint8, 0, 0, 1},
    [REDUCE_prod] = {prod_int64, prod_uint8, 1, 1, 1},
    [REDUCE_max] = {max_int64, max_uint8, INT64_MIN, 0, 0},
    [REDUCE_min] = {min_int64, min_uint8, INT64_MAX, UINT8_MAX, 0},
};

typedef struct {
    axes kept, gone;
    int op, dtype;
    const char *x;
    char *y;
} integer_reduction;

static void reduce_integers(void *context, int64_t begin, int64_t end)
{
    const integer_reduction *r = context;
    const int wide = r->dtype == TGA_INT64 || integer_rows[r->op].widens;
    const int64_t size = (int64_t)tga_item_size(r->dtype), result_size = wide ? 8 : 1;
    integer_fn *row =
        r->dtype == TGA_INT64 ? integer_rows[r->op].int64 : integer_rows[r->op].uint8;
    for (int64_t i = begin; i < end; i++) {
        const char *x = r->x + offset_of(&r->kept, i) * size;
        char *y = r->y + i * result_size;
        if (wide)
            memcpy(y, &integer_rows[r->op].start_int64, 8);
        else
            memcpy(y, &integer_rows[r->op].start_uint8, 1);
        for (int64_t k = 0; k < r->gone.length;) {
            const int64_t run = run_length(&r->gone, k);
            row(run, x + offset_of(&r->gone, k) * size, last_stride(&r->gone), y);
            k += run;
        }
    }
}

static int reduce_integer(int op, int dtype, const tga_layout *layout, int64_t kept, const void *x,
                          void *y)
{
    integer_reduction r = {.op = op, .dtype = dtype, .x = x, .y = y};
    simplify(&r.kept, layout, 0, kept);
    simplify(&r.gone, layout, kept, layout->ndim);
    const int64_t grain = r.gone.length == 0 ? GRAIN : GRAIN / r.gone.length;
    if (r.kept.length > 0)
        tga_parallel(r.kept.length, grain < 1 ? 1 : grain, reduce_integers, &r);
    return TGA_OK;
}

int tga_reduce(int op, int dtype, const tga_layout *layout, int64_t kept, const void *x, void *y)
{
    if (op < 0 || op >= REDUCE_COUNT)
        return TGA_NO_KERNEL;
    switch (dtype) {
    case TGA_FLOAT32:
    case TGA_FLOAT64:
        return reduce_float(op, dtype, layout, kept, x, y);
    case TGA_INT64:
    case TGA_BOOL:
    case TGA_UINT8:
        return reduce_integer(op, dtype, layout, kept, x, y);
    default:
        return TGA_NO_KERNEL;
    }
}
