/* sort.c: the order of the elements along one axis, all of it or its beginning.
 *
 * Every element becomes a key, an unsigned integer that is less where the element comes
 * first, so one stable sort serves all dtypes and both directions.  Keys are sorted
 * together with their places; equal ones keep their order.  nan comes last, as the largest
 * number of all; descending, first.
 */
#include <string.h>

#include "kernels.h"

#define GRAIN 2048   /* elements worth a thread */
#define SHORT 32     /* lines up to here are sorted by insertion */
#define DIGIT 8      /* bits of a key that are sorted by at a time */
#define FEW 128      /* of a line of many times as many elements, so many are selected */
#define MANY_TIMES 16

typedef struct {
    uint64_t key;
    int64_t place;
} item;

/* A key differs from others in its last tga_item_size(dtype) bytes only. */
static uint64_t key_of(int dtype, int descending, const char *x)
{
    uint64_t key;
    if (dtype == TGA_FLOAT32) {
        const uint32_t top = (uint32_t)1 << 31;
        float value;
        uint32_t bits;
        memcpy(&value, x, 4);
        value += 0.0f; /* -0 and 0 are equal */
        memcpy(&bits, &value, 4); /* the more negative, the larger the bits */
        key = value != value ? UINT32_MAX : bits & top ? ~bits : bits | top;
    } else if (dtype == TGA_FLOAT64) {
        const uint64_t top = (uint64_t)1 << 63;
        double value;
        uint64_t bits;
        memcpy(&value, x, 8);
        value += 0.0;
        memcpy(&bits, &value, 8);
        key = value != value ? UINT64_MAX : bits & top ? ~bits : bits | top;
    } else if (dtype == TGA_INT64) {
        memcpy(&key, x, 8);
        key ^= (uint64_t)1 << 63;
    } else {
        key = (uint8_t)*x;
    }
    return descending ? ~key : key;
}

/* Behind those that are equal.  a: (n + 1), of which n are sorted */
static inline void insert(int64_t n, item *a, item x)
{
    for (; n > 0 && x.key < a[n - 1].key; n--)
        a[n] = a[n - 1];
    a[n] = x;
}

/* By the lowest digit of the keys, then, stable, by the next: a (n) with the help of b (n);
 * returns the one that holds the result. */
static item *radix_sort(int64_t n, int digits, item *a, item *b)
{
    enum { VALUES = 1 << DIGIT };
    int64_t begin[sizeof(uint64_t)][VALUES]; /* first how many, then where the next one goes */
    memset(begin, 0, (size_t)digits * sizeof *begin);
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < digits; d++)
            begin[d][a[i].key >> d * DIGIT & (VALUES - 1)]++;
    for (int d = 0; d < digits; d++) {
        if (begin[d][a[0].key >> d * DIGIT & (VALUES - 1)] == n)
            continue; /* all have the same */
        int64_t before = 0;
        for (int value = 0; value < VALUES; value++) {
            const int64_t count = begin[d][value];
            begin[d][value] = before;
            before += count;
        }
        for (int64_t i = 0; i < n; i++)
            b[begin[d][a[i].key >> d * DIGIT & (VALUES - 1)]++] = a[i];
        item *swapped = a;
        a = b;
        b = swapped;
    }
    return a;
}

typedef struct {
    int dtype, descending;
    int64_t n, inner, k; /* k: so many from the beginning */
    size_t size;
    const char *x;
    int64_t *y;
    tga_beyond_fn *beyond; /* of floats */
    _Atomic int status;
} sorting;

/* All n elements of a line, `step` bytes apart; memory: (2 n) */
static const item *sort_line(const sorting *s, const char *x, size_t step, item *memory)
{
    const int64_t n = s->n;
    for (int64_t i = 0; i < n; i++)
        memory[i] = (item){key_of(s->dtype, s->descending, x + (size_t)i * step), i};
    if (n > SHORT)
        return radix_sort(n, (int)s->size, memory, memory + n);
    for (int64_t i = 1; i < n; i++)
        insert(i, memory, memory[i]);
    return memory;
}

/* The first from number i on that comes before the key, or n. */
static int64_t next_before(const sorting *s, const char *x, int64_t i, item last)
{
    if (s->beyond)
        return i + s->beyond(s->n - i, x + (size_t)i * s->size, x + (size_t)last.place * s->size,
                             s->descending);
    while (i < s->n && key_of(s->dtype, s->descending, x + (size_t)i * s->size) >= last.key)
        i++;
    return i;
}

/* The first k >= 1 of a line without gaps: kept in order, while few others displace one.
 * best: (k + 1) */
static const item *select_from_line(const sorting *s, const char *x, item *best)
{
    int64_t i = 0;
    for (; i < s->k; i++)
        insert(i, best, (item){key_of(s->dtype, s->descending, x + (size_t)i * s->size), i});
    while ((i = next_before(s, x, i, best[s->k - 1])) < s->n) {
        insert(s->k - 1, best, (item){key_of(s->dtype, s->descending, x + (size_t)i * s->size), i});
        i++;
    }
    return best;
}

static void sort_part(void *context, int64_t begin, int64_t end)
{
    sorting *s = context;
    const int64_t n = s->n, inner = s->inner;
    const size_t step = (size_t)inner * s->size;
    const int select = s->k <= FEW && s->k * MANY_TIMES <= n;
    item *memory = tga_alloc(2 * (size_t)n * sizeof(item));
    if (!memory) {
        s->status = TGA_NO_MEMORY;
        return;
    }
    for (int64_t line = begin; line < end; line++) {
        const char *x = s->x + (size_t)(line / inner * n * inner + line % inner) * s->size;
        int64_t *y = s->y + line / inner * s->k * inner + line % inner;
        if (select && inner > 1) { /* together, behind what is selected */
            char *together = (char *)(memory + n);
            for (int64_t i = 0; i < n; i++)
                memcpy(together + (size_t)i * s->size, x + (size_t)i * step, s->size);
            x = together;
        }
        const item *sorted = select ? select_from_line(s, x, memory) : sort_line(s, x, step, memory);
        for (int64_t i = 0; i < s->k; i++)
            y[i * inner] = sorted[i].place;
    }
    tga_free(memory);
}

int tga_argsort(int dtype, int descending, int64_t outer, int64_t n, int64_t inner, int64_t k,
                const void *x, int64_t *y)
{
    sorting s = {.dtype = dtype, .descending = descending, .n = n, .inner = inner, .k = k,
                 .size = tga_item_size(dtype), .x = x, .y = y, .status = TGA_OK};
    if (dtype == TGA_FLOAT32 || dtype == TGA_FLOAT64)
        s.beyond = tga_kernels_current()->beyond[dtype];
    if (outer * n * inner * k == 0)
        return TGA_OK;
    tga_parallel(outer * inner, n < GRAIN ? GRAIN / (n + 1) + 1 : 1, sort_part, &s);
    return s.status;
}
