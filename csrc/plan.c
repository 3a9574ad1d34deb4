/* plan.c: replay: the kernel calls of a training step, run again and again without Python.
 *
 * A plan is a list of calls with their arguments, memory for what the calls read and write, and
 * copies between that memory and the tensors outside.  Python writes it down (recorder.py,
 * plan.py); here it runs.  A call goes to the very entry point that eager mode calls, so each
 * result has the bits that it would have there.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels.h"

/* ---- the entry points, with their arguments as words ------------------------------------- */

#define CALL(name, signature, ...)                                                                 \
    static int call_##name(const tga_word *v) { return tga_##name(__VA_ARGS__); }
#include "calls.def"

static const struct {
    const char *name, *signature;
    int (*run)(const tga_word *v);
} entries[] = {
#define CALL(name, signature, ...) {#name, signature, call_##name},
#include "calls.def"
    {NULL, NULL, NULL},
};
#define ENTRIES ((int)(sizeof entries / sizeof entries[0]) - 1)

const char *tga_call_name(int call) { return call >= 0 && call < ENTRIES ? entries[call].name : NULL; }

const char *tga_call_signature(int call)
{
    return call >= 0 && call < ENTRIES ? entries[call].signature : NULL;
}

/* ---- a plan -------------------------------------------------------------------------------- */

typedef struct {
    int (*run)(const tga_word *v);
    tga_word *v;
    int (*entry)(const tga_word *v); /* of `entries`: what runs unless `bind` knows a shorter way */
} instruction;

struct tga_plan {
    char *memory;
    instruction *list;
    tga_plan_copy *copies; /* in the order of their `when` once the plan runs */
    int64_t instructions, copy_count, done, failed;
    int64_t first[TGA_END + 2]; /* of each `when`, its first copy */
    const tga_kernels *bound;
};

tga_plan *tga_plan_new(int64_t bytes)
{
    tga_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return NULL;
    plan->failed = -1;
    plan->memory = tga_alloc((size_t)bytes + 64);
    if (!plan->memory) {
        free(plan);
        return NULL;
    }
    memset(plan->memory, 0, (size_t)bytes + 64);
    return plan;
}

void tga_plan_free(tga_plan *plan)
{
    for (int64_t i = 0; i < plan->instructions; i++)
        free(plan->list[i].v);
    free(plan->list);
    free(plan->copies);
    tga_free(plan->memory);
    free(plan);
}

char *tga_plan_memory(tga_plan *plan) { return plan->memory; }

/* A list with room for one more; it doubles when `count` is a power of two. */
static void *grown(void *list, int64_t count, size_t size)
{
    if (count & (count - 1))
        return list;
    return realloc(list, (size_t)(count ? 2 * count : 1) * size);
}

int tga_plan_add(tga_plan *plan, int call, int64_t count, const int64_t *words)
{
    if (call < 0 || call >= ENTRIES)
        return TGA_NO_KERNEL;
    instruction *list = grown(plan->list, plan->instructions, sizeof *list);
    if (!list)
        return TGA_NO_MEMORY;
    plan->list = list;
    tga_word *v = malloc((size_t)(count ? count : 1) * sizeof *v);
    if (!v)
        return TGA_NO_MEMORY;
    memcpy(v, words, (size_t)count * sizeof *v);
    list[plan->instructions++] = (instruction){entries[call].run, v, entries[call].run};
    return TGA_OK;
}

/* Copies are kept in the order of `when`: few are added, once. */
int tga_plan_add_copy(tga_plan *plan, const tga_plan_copy *copy)
{
    tga_plan_copy *copies = grown(plan->copies, plan->copy_count, sizeof *copies);
    if (!copies)
        return TGA_NO_MEMORY;
    plan->copies = copies;
    int64_t at = plan->first[copy->when + 1];
    memmove(copies + at + 1, copies + at, (size_t)(plan->copy_count - at) * sizeof *copies);
    copies[at] = *copy;
    plan->copy_count++;
    for (int64_t when = copy->when + 1; when <= TGA_END + 1; when++)
        plan->first[when]++;
    return TGA_OK;
}

/* ---- copies --------------------------------------------------------------------------------- */

/* The elements, of which the compiler knows the size: a copy is then a load and a store. */
#define COPY(size)                                                                                 \
    for (int64_t i = 0; i < c->rows; i++, to += c->to_row, from += c->from_row)                    \
        for (int64_t j = 0; j < c->columns; j++)                                                   \
            memcpy(to + j * c->to_column, from + j * c->from_column, size);

/* Rows of WIDE bytes, of which `length` are used, to rows without gaps: each is copied in one piece,
 * as long as the rows after it take what is too much; they then write that again. */
#define WIDE ((int64_t)(TGA_ROW * sizeof(float)))
static void copy_short_rows(const tga_plan_copy *c, char *to, const char *from)
{
    const int64_t length = c->columns * c->size, all = c->rows * length;
    int64_t at = 0; /* in `to` */
    for (; at + WIDE <= all; at += length, from += WIDE)
        memcpy(to + at, from, (size_t)WIDE);
    for (; at < all; at += length, from += WIDE)
        for (int64_t i = 0; i < length; i += 4)
            memcpy(to + at + i, from + i, 4);
}

static void copy_elements(const tga_plan_copy *c, char *to, const char *from)
{
    const int64_t length = c->columns * c->size;
    const int in_one = c->to_column == c->size && c->from_column == c->size;
    if (in_one && c->rows == 1 && length == 4) { /* a cost, each step */
        memcpy(to, from, 4);
    } else if (in_one && c->size == 4 && c->from_row == WIDE && c->to_row == length &&
               length <= WIDE) {
        copy_short_rows(c, to, from); /* out of rows of TGA_ROW floats, into rows without gaps */
    } else if (in_one && (c->rows == 1 || length > 64)) {
        for (int64_t i = 0; i < c->rows; i++, to += c->to_row, from += c->from_row)
            memcpy(to, from, (size_t)length);
    } else if (c->size == 4) {
        COPY(4)
    } else if (c->size == 8) {
        COPY(8)
    } else {
        COPY(1)
    }
}

/* All copies of one time; `base` belongs to where they come from before a step, and to where
 * they go after it. */
static void copy_all(const tga_plan *plan, int when, int64_t step, const int64_t *bases)
{
    for (int64_t i = plan->first[when]; i < plan->first[when + 1]; i++) {
        const tga_plan_copy *c = &plan->copies[i];
        int64_t to = c->to, from = c->from;
        if (c->base >= 0) {
            if (!bases[c->base])
                continue;
            *(when < TGA_AFTER ? &from : &to) += bases[c->base] + step * c->advance;
        }
        copy_elements(c, (char *)(intptr_t)to, (const char *)(intptr_t)from);
    }
}

/* ---- running --------------------------------------------------------------------------------- */

/* Small layers are what small nets consist of: their kernels are called without a detour, those of
 * the instruction set in force. */
static void bind(tga_plan *plan)
{
    const tga_kernels *kernels = tga_kernels_current();
    if (plan->bound == kernels)
        return;
    plan->bound = kernels;
    for (int64_t i = 0; i < plan->instructions; i++) {
        instruction *one = &plan->list[i];
        const int64_t op = one->v[0].i, dtype = one->v[1].i;
        if (one->entry == call_rows_forward)
            one->run = kernels->rows_forward[dtype][op];
        else if (one->entry == call_rows_backward)
            one->run = kernels->rows_backward[dtype][op];
        else if (one->entry == call_rows_loss)
            one->run = kernels->rows_loss[dtype][op];
    }
}

static void begin(tga_plan *plan, int64_t done, const int64_t *bases, int unchanged)
{
    plan->done = done;
    plan->failed = -1;
    bind(plan);
    copy_all(plan, TGA_BEGIN, 0, bases);
    if (!unchanged)
        copy_all(plan, TGA_BEGIN_CHANGED, 0, bases);
}

void tga_plan_begin(tga_plan *plan, int64_t done, const int64_t *bases)
{
    begin(plan, done, bases, 0);
}

void tga_plan_end(tga_plan *plan, const int64_t *bases) { copy_all(plan, TGA_END, 0, bases); }

int64_t tga_plan_done(const tga_plan *plan) { return plan->done; }

int64_t tga_plan_failed(const tga_plan *plan) { return plan->failed; }

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int one_step(tga_plan *plan, int64_t record_every, const int64_t *bases)
{
    const instruction *list = plan->list;
    const int64_t count = plan->instructions;
    copy_all(plan, TGA_BEFORE, plan->done, bases);
    for (int64_t i = 0; i < count; i++) {
        const int status = list[i].run(list[i].v);
        if (status != TGA_OK) {
            plan->failed = i;
            return status;
        }
    }
    if (plan->done % record_every == 0)
        copy_all(plan, TGA_AFTER, plan->done / record_every, bases);
    plan->done++;
    return TGA_OK;
}

int tga_plan_once(tga_plan *plan, const int64_t *bases, int unchanged)
{
    begin(plan, 0, bases, unchanged);
    const int status = one_step(plan, 1, bases);
    if (status == TGA_OK)
        tga_plan_end(plan, bases);
    return status;
}

int tga_plan_run(tga_plan *plan, int64_t n, int64_t record_every, double seconds,
                 const int64_t *bases)
{
    double before = now();
    const double end = before + seconds;
    int64_t looked = plan->done, look = plan->done + 1; /* at the clock, when so many are done */
    while (plan->done < n) {
        const int status = one_step(plan, record_every, bases);
        if (status != TGA_OK)
            return status;
        if (plan->done >= look) {
            const double t = now(), left = end - t;
            if (left <= 0)
                break;
            const double steps = left / 2 * (double)(plan->done - looked) / (t - before + 1e-9);
            look = plan->done + (steps < 1 ? 1 : steps > 1e5 ? 100000 : (int64_t)steps);
            looked = plan->done;
            before = t;
        }
    }
    return TGA_OK;
}
