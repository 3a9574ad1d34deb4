/* sort.c: the order of the elements along one axis.
 *
 * Every element becomes a key, an unsigned integer that is less where the element comes
 * first, so one stable merge sort serves all dtypes and both directions.  Keys are sorted
 * together with their places; equal ones keep their order.  nan comes last, as the largest
 * number of all; descending, first.
 */
#include <string.h>

#include "kernels.h"

#define GRAIN 2048 /* elements worth a thread */
#define SHORT 12   /* shorter runs are sorted by insertion */

typedef struct {
    uint64_t key;
    int64_t place;
} item;

static uint64_t key_of(int dtype, const char *x)
{
    const uint64_t top = (uint64_t)1 << 63;
    if (dtype == TGA_BOOL || dtype == TGA_UINT8)
        return (uint8_t)*x;
    if (dtype == TGA_INT64) {
        uint64_t bits;
        memcpy(&bits, x, 8);
        return bits ^ top;
    }
    double value; /* every float is one */
    if (dtype == TGA_FLOAT32) {
        float narrow;
        memcpy(&narrow, x, 4);
        value = narrow;
    } else {
        memcpy(&value, x, 8);
    }
    if (value != value)
        return UINT64_MAX;
    value += 0.0; /* -0 and 0 are equal */
    uint64_t bits;
    memcpy(&bits, &value, 8);
    return bits & top ? ~bits : bits | top; /* the more negative, the larger the bits */
}

static void insertion_sort(int64_t n, item *a)
{
    for (int64_t i = 1; i < n; i++) {
        const item x = a[i];
        int64_t k = i;
        for (; k > 0 && x.key < a[k - 1].key; k--)
            a[k] = a[k - 1];
        a[k] = x;
    }
}

/* a (n) with the help of b (n); returns the one that holds the result. */
static item *merge_sort(int64_t n, item *a, item *b)
{
    for (int64_t i = 0; i < n; i += SHORT)
        insertion_sort(n - i < SHORT ? n - i : SHORT, a + i);
    for (int64_t width = SHORT; width < n; width *= 2) {
        for (int64_t begin = 0; begin < n; begin += 2 * width) {
            const int64_t middle = n - begin < width ? n : begin + width;
            const int64_t end = n - middle < width ? n : middle + width;
            int64_t i = begin, k = middle;
            for (int64_t to = begin; to < end; to++) {
                const int right = i == middle || (k < end && a[k].key < a[i].key);
                b[to] = a[right ? k++ : i++];
            }
        }
        item *swapped = a;
        a = b;
        b = swapped;
    }
    return a;
}

typedef struct {
    int dtype, descending;
    int64_t n, inner;
    size_t size;
    const char *x;
    int64_t *y;
    _Atomic int status;
} sorting;

static void sort_part(void *context, int64_t begin, int64_t end)
{
    sorting *s = context;
    const int64_t n = s->n, step = s->inner;
    item *memory = tga_alloc(2 * (size_t)n * sizeof(item));
    if (!memory) {
        s->status = TGA_NO_MEMORY;
        return;
    }
    for (int64_t line = begin; line < end; line++) {
        const int64_t at = line / step * n * step + line % step;
        for (int64_t k = 0; k < n; k++) {
            const uint64_t key = key_of(s->dtype, s->x + (size_t)(at + k * step) * s->size);
            memory[k] = (item){s->descending ? ~key : key, k};
        }
        const item *sorted = merge_sort(n, memory, memory + n);
        for (int64_t k = 0; k < n; k++)
            s->y[at + k * step] = sorted[k].place;
    }
    tga_free(memory);
}

int tga_argsort(int dtype, int descending, int64_t outer, int64_t n, int64_t inner, const void *x,
                int64_t *y)
{
    sorting s = {.dtype = dtype, .descending = descending, .n = n, .inner = inner,
                 .size = tga_item_size(dtype), .x = x, .y = y, .status = TGA_OK};
    if (outer * n * inner == 0)
        return TGA_OK;
    tga_parallel(outer * inner, n < GRAIN ? GRAIN / (n + 1) + 1 : 1, sort_part, &s);
    return s.status;
}
