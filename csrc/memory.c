/* memory.c: the buffers of arrays, and the pool that keeps freed ones for reuse.
 *
 * Fresh memory is slow: the system clears every page when it is first touched,
 * which takes longer than most kernels that then fill it.  So blocks above
 * SMALL_BYTES go to a pool when they are freed, and come back from there still
 * mapped, most of them still in cache.
 *
 *   up to SMALL_BYTES   malloc, aligned by hand; its own cache is hard to beat
 *   up to MALLOC_BYTES  pooled, first obtained from malloc
 *   above               pooled, first obtained as pages of its own, huge pages
 *                       where the block is that large and the system has them
 *
 * Pooled blocks have the size of their class; there are eight classes between
 * one power of two and the next, so at most an eighth is wasted.  A request is
 * served by the block of its class that was freed last, or else by one of the
 * next class.  When the pool would exceed its limit, the blocks that have lain
 * there longest are given back.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tga.h"

#define ALIGNMENT ((size_t)64)
#define SMALL_BYTES ((size_t)1 << 10)
#define MALLOC_BYTES ((size_t)1 << 16)
#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define LARGEST_POOL_BYTES ((size_t)1 << 30) /* the limit is this or an eighth of the memory */

#if !defined(MAP_ANONYMOUS)
#define MAP_ANONYMOUS MAP_ANON
#endif

/* AddressSanitizer is told which part of a block is in use, so that it sees a
 * use after free although the memory stays ours. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(WITH_ASAN) || defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(pointer, bytes) ((void)(pointer), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(pointer, bytes) ((void)(pointer), (void)(bytes))
#endif

/* Stands right before a pooled block.  Of a small block only `tag` exists: the
 * distance from what malloc returned. */
typedef struct block {
    struct block *above, *below; /* in the stack of free blocks of its class */
    struct block *newer, *older; /* in the order of being freed, over all classes */
    void *base;                  /* what the system gave us */
    size_t bytes;                /* what there is for the user: the size of the class */
    size_t class;
    size_t tag; /* 0 */
} block;

_Static_assert(sizeof(block) == ALIGNMENT, "a block's header keeps the block aligned");

#define CLASSES_PER_OCTAVE 8
#define CLASSES (64 * CLASSES_PER_OCTAVE)

static struct {
    pthread_mutex_t lock;
    bool limit_known;
    size_t limit, bytes;
    block *top[CLASSES + 1]; /* the last: always empty, a neighbour for the largest class */
    block *oldest, *newest;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- size classes ----------------------------------------------------------- */

/* Sizes in (2^e, 2^(e+1)] are rounded up to multiples of 2^e / 8. */
static size_t class_of(size_t bytes, size_t *class_bytes)
{
    const int e = 63 - __builtin_clzll((unsigned long long)bytes - 1);
    const size_t eighths = (bytes - 1) >> (e - 3); /* 8 to 15 */
    *class_bytes = (eighths + 1) << (e - 3);
    return (size_t)e * CLASSES_PER_OCTAVE + eighths % CLASSES_PER_OCTAVE;
}

/* ---- the system's memory ------------------------------------------------------ */

static void *pages_from_system(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* The same, beginning on the boundary of a huge page: ask for one more and give
 * back what is too much on both sides. */
static void *huge_pages_from_system(size_t bytes)
{
    char *p = pages_from_system(bytes + HUGE_PAGE_BYTES);
    if (!p)
        return NULL;
    const size_t before = -(uintptr_t)p % HUGE_PAGE_BYTES;
    if (before)
        munmap(p, before);
    munmap(p + before + bytes, HUGE_PAGE_BYTES - before);
#if defined(MADV_HUGEPAGE)
    madvise(p + before, bytes, MADV_HUGEPAGE); /* a wish: failing is no error */
#endif
    return p + before;
}

/* How many pages a block takes that is not from malloc. */
static size_t page_bytes(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (sizeof(block) + bytes + page - 1) / page * page;
}

static block *block_from_system(size_t bytes)
{
    void *base = bytes <= MALLOC_BYTES     ? malloc(ALIGNMENT + sizeof(block) + bytes)
                 : bytes < HUGE_PAGE_BYTES ? pages_from_system(page_bytes(bytes))
                                           : huge_pages_from_system(page_bytes(bytes));
    if (!base)
        return NULL;
    block *b = (block *)((char *)base + -(uintptr_t)base % ALIGNMENT);
    *b = (block){.base = base, .bytes = bytes};
    return b;
}

static void block_to_system(block *b)
{
    ASAN_UNPOISON_MEMORY_REGION(b + 1, b->bytes);
    if (b->bytes <= MALLOC_BYTES)
        free(b->base);
    else
        munmap(b->base, page_bytes(b->bytes));
}

/* ---- the pool; its lock is held ------------------------------------------------ */

static size_t limit(void)
{
    if (!pool.limit_known) {
        pool.limit = LARGEST_POOL_BYTES;
        const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
        if (pages > 0 && page > 0 && (size_t)pages / 8 < LARGEST_POOL_BYTES / (size_t)page)
            pool.limit = (size_t)pages / 8 * (size_t)page;
        pool.limit_known = true;
    }
    return pool.limit;
}

static void put(block *b)
{
    block *below = pool.top[b->class], *older = pool.newest;
    b->above = NULL;
    b->below = below;
    if (below)
        below->above = b;
    pool.top[b->class] = b;
    b->newer = NULL;
    b->older = older;
    *(older ? &older->newer : &pool.oldest) = b;
    pool.newest = b;
    pool.bytes += b->bytes;
}

static block *take(block *b)
{
    *(b->above ? &b->above->below : &pool.top[b->class]) = b->below;
    if (b->below)
        b->below->above = b->above;
    *(b->newer ? &b->newer->older : &pool.newest) = b->older;
    *(b->older ? &b->older->newer : &pool.oldest) = b->newer;
    pool.bytes -= b->bytes;
    return b;
}

/* Take out the oldest blocks until the pool keeps at most `bytes`; returns them
 * in a chain, so that the lock need not be held while the system takes them. */
static block *evict(size_t bytes)
{
    block *chain = NULL;
    while (pool.bytes > bytes) {
        block *b = take(pool.oldest);
        b->below = chain;
        chain = b;
    }
    return chain;
}

static void chain_to_system(block *chain)
{
    while (chain) {
        block *b = chain;
        chain = b->below;
        block_to_system(b);
    }
}

/* ---- allocate, free -------------------------------------------------------------- */

static void *alloc_small(size_t bytes)
{
    char *base = malloc(bytes + ALIGNMENT);
    if (!base)
        return NULL;
    const size_t tag = ALIGNMENT - (uintptr_t)base % ALIGNMENT; /* 16 at least: room for itself */
    char *p = base + tag;
    ((size_t *)p)[-1] = tag;
    return p;
}

static void *alloc_pooled(size_t bytes)
{
    size_t class_bytes;
    const size_t class = class_of(bytes, &class_bytes);
    block *b = NULL;
    pthread_mutex_lock(&pool.lock);
    if (pool.top[class])
        b = take(pool.top[class]);
    else if (pool.top[class + 1])
        b = take(pool.top[class + 1]);
    pthread_mutex_unlock(&pool.lock);

    if (!b) {
        b = block_from_system(class_bytes);
        if (!b)
            return NULL;
        b->class = class;
    }
    ASAN_POISON_MEMORY_REGION(b + 1, b->bytes);
    ASAN_UNPOISON_MEMORY_REGION(b + 1, bytes);
    return b + 1;
}

static inline void *alloc(size_t bytes)
{
    return bytes <= SMALL_BYTES ? alloc_small(bytes) : alloc_pooled(bytes);
}

void *tga_alloc(size_t bytes)
{
    if (bytes > PTRDIFF_MAX / 2)
        return NULL;
    void *p = alloc(bytes);
    if (!p) {
        tga_pool_release();
        p = alloc(bytes);
    }
    return p;
}

void tga_free(void *pointer)
{
    if (!pointer)
        return;
    const size_t tag = ((size_t *)pointer)[-1];
    if (tag) {
        free((char *)pointer - tag);
        return;
    }
    block *b = (block *)pointer - 1, *evicted;
    ASAN_POISON_MEMORY_REGION(pointer, b->bytes);
    pthread_mutex_lock(&pool.lock);
    if (b->bytes <= limit()) {
        put(b);
        evicted = evict(pool.limit);
    } else {
        b->below = NULL;
        evicted = b;
    }
    pthread_mutex_unlock(&pool.lock);
    chain_to_system(evicted);
}

/* ---- what the user sees of the pool ------------------------------------------------ */

size_t tga_pool_bytes(void)
{
    pthread_mutex_lock(&pool.lock);
    const size_t bytes = pool.bytes;
    pthread_mutex_unlock(&pool.lock);
    return bytes;
}

size_t tga_pool_limit(void)
{
    pthread_mutex_lock(&pool.lock);
    const size_t bytes = limit();
    pthread_mutex_unlock(&pool.lock);
    return bytes;
}

void tga_pool_set_limit(size_t bytes)
{
    pthread_mutex_lock(&pool.lock);
    pool.limit = bytes;
    pool.limit_known = true;
    block *evicted = evict(bytes);
    pthread_mutex_unlock(&pool.lock);
    chain_to_system(evicted);
}

void tga_pool_release(void)
{
    pthread_mutex_lock(&pool.lock);
    block *evicted = evict(0);
    pthread_mutex_unlock(&pool.lock);
    chain_to_system(evicted);
}

/* ---- fork ------------------------------------------------------------------------- */

/* The lock is held while the process is copied, so the child finds the pool whole. */
static void lock_pool(void) { pthread_mutex_lock(&pool.lock); }
static void unlock_pool(void) { pthread_mutex_unlock(&pool.lock); }

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(lock_pool, unlock_pool, unlock_pool);
}
