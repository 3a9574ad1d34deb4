/* dispatch.c: which table of kernels is in force, and the names of the rows. */
#include <stdatomic.h>
#include <string.h>

#include "kernels.h"

static const tga_kernels *table_of(int isa)
{
    switch (isa) {
    case TGA_ISA_BASE:
        return &tga_kernels_base;
#if defined(__x86_64__)
    case TGA_ISA_AVX2:
        return &tga_kernels_avx2;
    case TGA_ISA_AVX512:
        return &tga_kernels_avx512;
#endif
    default:
        return NULL;
    }
}

int tga_isa_supported(int isa) { return table_of(isa) != NULL && tga_cpu_has(isa); }

/* The isa in force, or -1 before the first kernel asked.  Two threads that ask
 * first at the same time find the same answer. */
static _Atomic int current = -1;

static int best_isa(void)
{
    for (int isa = TGA_ISA_AVX512; isa > TGA_ISA_BASE; isa--)
        if (tga_isa_supported(isa))
            return isa;
    return TGA_ISA_BASE;
}

int tga_isa_current(void)
{
    int isa = atomic_load_explicit(&current, memory_order_relaxed);
    if (isa < 0) {
        isa = best_isa();
        atomic_store_explicit(&current, isa, memory_order_relaxed);
    }
    return isa;
}

int tga_isa_use(int isa)
{
    if (!tga_isa_supported(isa))
        return TGA_NO_KERNEL;
    atomic_store_explicit(&current, isa, memory_order_relaxed);
    return TGA_OK;
}

const tga_kernels *tga_kernels_current(void) { return table_of(tga_isa_current()); }

/* ---- names of the rows ----------------------------------------------------- */

static const char *const unary_names[] = {
#define ACT(name, ...) #name,
#include "activations.def"
#define UNARY(name, ...) #name,
#include "arithmetic.def"
};
#define SAVES_X 'x'
#define SAVES_Y 'y'
#define SAVES_NONE '-'
static const char unary_saves[] = {
#define ACT(name, saves, ...) SAVES_##saves,
#include "activations.def"
#define UNARY(name, saves, ...) SAVES_##saves,
#include "arithmetic.def"
};
static const char *const binary_names[] = {
#define BINARY(name, ...) #name,
#include "arithmetic.def"
};
static const char *const compare_names[] = {
#define COMPARE(name, ...) #name,
#include "arithmetic.def"
};
static const char *const reduce_names[] = {
#define REDUCE(name, ...) #name,
#include "reduce.def"
};
static const char *const loss_names[] = {
#define LOSS(name, ...) #name,
#include "loss.def"
};

static int find(const char *const *names, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

int tga_unary_find(const char *name) { return find(unary_names, UNARY_COUNT, name); }
int tga_binary_find(const char *name) { return find(binary_names, BINARY_COUNT, name); }
int tga_compare_find(const char *name) { return find(compare_names, COMPARE_COUNT, name); }
int tga_reduce_find(const char *name) { return find(reduce_names, REDUCE_COUNT, name); }
int tga_loss_find(const char *name) { return find(loss_names, LOSS_COUNT, name); }

static const char *name_of(const char *const *names, int count, int op)
{
    return op >= 0 && op < count ? names[op] : NULL;
}

const char *tga_unary_name(int op) { return name_of(unary_names, UNARY_COUNT, op); }
const char *tga_binary_name(int op) { return name_of(binary_names, BINARY_COUNT, op); }
const char *tga_compare_name(int op) { return name_of(compare_names, COMPARE_COUNT, op); }
const char *tga_reduce_name(int op) { return name_of(reduce_names, REDUCE_COUNT, op); }
const char *tga_loss_name(int op) { return name_of(loss_names, LOSS_COUNT, op); }

int tga_unary_saves(int op) { return op >= 0 && op < UNARY_COUNT ? unary_saves[op] : 0; }

/* Set by build.py, so that an extension older than its sources is noticed. */
#ifndef TGA_SOURCE_HASH
#define TGA_SOURCE_HASH "unknown"
#endif
const char *tga_source_hash(void) { return TGA_SOURCE_HASH; }
