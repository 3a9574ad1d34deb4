/* parallel.c: the only file that starts threads.
 *
 * A region is one call of tga_parallel.  The calling thread opens it, works in
 * it itself, and is joined by workers: threads started when first needed and
 * kept.  The work is cut into chunks, multiples of the grain, and everybody
 * takes the next chunk until none is left; then the caller closes the region
 * and waits for those who are still busy with their last chunk.
 *
 * Nobody waits for a worker that has not come: if the processors are busy
 * elsewhere, the caller simply takes every chunk.  A region runs on the calling
 * thread alone when it is nested in another one, when another thread's region
 * is open, or when the system gives us no thread.
 *
 * Between regions a worker watches for the next one for SPIN_NANOSECONDS, since
 * waking a sleeping thread costs more than a small kernel; then it sleeps.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity, sched_getcpu, pthread_setaffinity_np */
#endif
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "kernels.h"

#define MAX_THREADS 256 /* more are not started, whatever tga_threads_set asks for */
#define CHUNKS_PER_THREAD 4 /* a slow or late thread leaves its share to the others */
#define SPIN_NANOSECONDS 50000
#define WORKER_STACK_BYTES ((size_t)2 << 20) /* some systems give a thread far less */

/* The state of the pool is one number, so that opening, joining, leaving and
 * closing a region are one atomic operation each: the low 16 bits count the
 * workers inside, the next 16 the seats left for more (0 when closed), and the
 * upper 32 number the regions. */
#define INSIDE ((uint64_t)1)
#define SEAT ((uint64_t)1 << 16)
#define REGION ((uint64_t)1 << 32)
#define INSIDE_MASK (SEAT - INSIDE)
#define SEATS_MASK (REGION - SEAT)
#define REGION_MASK (~(uint64_t)0 - REGION + 1)

/* Threads that sleep until the state has changed. */
typedef struct {
    pthread_cond_t changed;
    atomic_int sleepers;
} waiters;

static struct {
    atomic_int threads; /* at work in one region at most; 0 until it is known */
    atomic_flag taken;  /* held by the thread whose region is open */

    /* Only the holder of `taken` looks at these. */
    int workers; /* started so far */
    pthread_t thread[MAX_THREADS - 1];
    int processor; /* that the workers were told to keep off */

    /* The region's work: written before it opens, read by those inside. */
    void (*work)(void *context, int64_t begin, int64_t end);
    void *context;
    int64_t n, chunk;

    /* What everybody looks at all the time: a cache line each. */
    _Alignas(64) _Atomic int64_t next; /* the first chunk that nobody has taken */
    _Alignas(64) _Atomic uint64_t state;

    _Alignas(64) pthread_mutex_t lock; /* of the two conditions, and of nothing else */
    waiters idle;   /* workers, until a region opens */
    waiters caller; /* the caller, until the last worker leaves */
} pool = {
    .taken = ATOMIC_FLAG_INIT,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .idle.changed = PTHREAD_COND_INITIALIZER,
    .caller.changed = PTHREAD_COND_INITIALIZER,
};

/* True on a worker always, and on a caller while its region is open. */
static _Thread_local bool in_region;

/* ---- number of threads ------------------------------------------------------ */

static int processors(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

int tga_threads_set(int n)
{
    n = n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
    atomic_store_explicit(&pool.threads, n, memory_order_relaxed);
    return n;
}

int tga_threads_get(void)
{
    const int n = atomic_load_explicit(&pool.threads, memory_order_relaxed);
    return n ? n : tga_threads_set(processors());
}

/* ---- waiting and waking ------------------------------------------------------ */

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Whether the bits of the state under `mask` equal `value`. */
static inline bool state_is(uint64_t mask, uint64_t value)
{
    return (atomic_load(&pool.state) & mask) == value;
}

/* Wait until state_is(mask, value) == wanted: watch a while, then sleep. */
static void wait_until(waiters *w, uint64_t mask, uint64_t value, bool wanted)
{
    int64_t start = 0, time = 0;
    do {
        for (int i = 0; i < 32; i++) {
            if (state_is(mask, value) == wanted)
                return;
            relax();
        }
        time = nanoseconds();
        if (start == 0)
            start = time;
    } while (time - start < SPIN_NANOSECONDS);

    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&w->sleepers, 1);
    while (state_is(mask, value) != wanted)
        pthread_cond_wait(&w->changed, &pool.lock);
    atomic_fetch_sub(&w->sleepers, 1);
    pthread_mutex_unlock(&pool.lock);
}

/* To be called after the state has changed.  A sleeper counts itself, then looks
 * at the state, and here it is the other way round, so one sees the other; the
 * lock is taken to let it get from its look at the state into its sleep. */
static void wake(waiters *w, int count)
{
    const int sleepers = atomic_load(&w->sleepers);
    if (sleepers == 0)
        return;
    pthread_mutex_lock(&pool.lock);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 0; i < count && i < sleepers; i++)
        pthread_cond_signal(&w->changed);
}

/* ---- workers ------------------------------------------------------------------ */

static void take_chunks(void)
{
    const int64_t n = pool.n, chunk = pool.chunk, chunks = (n - 1) / chunk + 1;
    for (;;) {
        const int64_t i = atomic_fetch_add_explicit(&pool.next, 1, memory_order_relaxed);
        if (i >= chunks)
            return;
        const int64_t begin = i * chunk;
        pool.work(pool.context, begin, n - begin > chunk ? begin + chunk : n);
    }
}

/* Take a seat, if there is one. */
static bool join(void)
{
    uint64_t state = atomic_load(&pool.state);
    do {
        if (!(state & SEATS_MASK))
            return false;
    } while (!atomic_compare_exchange_weak(&pool.state, &state, state - SEAT + INSIDE));
    return true;
}

static void leave(void)
{
    atomic_fetch_sub(&pool.state, INSIDE);
    wake(&pool.caller, 1);
}

static void *worker(void *unused)
{
    (void)unused;
    in_region = true;
    for (uint64_t seen = 0;;) {
        wait_until(&pool.idle, REGION_MASK, seen, false);
        seen = atomic_load(&pool.state) & REGION_MASK;
        if (join()) {
            take_chunks();
            leave();
        }
    }
    return NULL;
}

#if defined(__linux__)

/* Keep the workers off the caller's processor.  Left alone, the scheduler of a
 * virtual machine tends to wake them just there, since a processor that idles looks
 * taken to it, and they wait until the caller has done all the work.  Workers from
 * `first_new` on are spread over the other processors; from there the scheduler may
 * move them among these.  Costs nothing while the caller stays where it is. */
static void place_workers(int first_new)
{
    const int processor = sched_getcpu();
    cpu_set_t others;
    if ((processor == pool.processor && first_new == pool.workers) || processor < 0 ||
        sched_getaffinity(0, sizeof others, &others) != 0)
        return;
    CPU_CLR(processor, &others);
    if (CPU_COUNT(&others) == 0)
        return;
    for (int i = 0, to = processor; i < pool.workers; i++) {
        do
            to = (to + 1) % CPU_SETSIZE;
        while (!CPU_ISSET(to, &others));
        if (i >= first_new) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(to, &one);
            pthread_setaffinity_np(pool.thread[i], sizeof one, &one);
        }
        pthread_setaffinity_np(pool.thread[i], sizeof others, &others);
    }
    pool.processor = processor;
}

#else
static void place_workers(int first_new) { (void)first_new; }
#endif

/* Start workers until there are `wanted`, or as many as the system allows.  Signals
 * stay with the program's own threads, but for those that report a fault of the
 * thread itself. */
static void start_workers(int wanted)
{
    sigset_t blocked, before;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    pthread_sigmask(SIG_SETMASK, &blocked, &before); /* a new thread inherits the mask */

    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, WORKER_STACK_BYTES);
    while (pool.workers < wanted &&
           pthread_create(&pool.thread[pool.workers], &attributes, worker, NULL) == 0)
        pool.workers++;
    pthread_attr_destroy(&attributes);

    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- regions ------------------------------------------------------------------ */

/* The holder of `taken` runs one region with `threads` threads, itself included. */
static void run_region(int threads)
{
    pool.next = 0;
    const uint64_t region = (atomic_load(&pool.state) & REGION_MASK) + REGION;
    atomic_store(&pool.state, region + (uint64_t)(threads - 1) * SEAT);
    wake(&pool.idle, threads - 1);

    take_chunks();

    atomic_fetch_and(&pool.state, ~SEATS_MASK);
    wait_until(&pool.caller, INSIDE_MASK, 0, true);
}

void tga_parallel(int64_t n, int64_t grain, void (*work)(void *context, int64_t begin, int64_t end),
                  void *context)
{
    if (n <= 0)
        return;
    int threads;
    if (n <= grain || in_region || (threads = tga_threads_get()) == 1 ||
        atomic_flag_test_and_set_explicit(&pool.taken, memory_order_acquire)) {
        work(context, 0, n);
        return;
    }
    in_region = true;

    const int64_t grains = (n - 1) / grain + 1;
    const int64_t grains_per_chunk = (grains - 1) / (CHUNKS_PER_THREAD * threads) + 1;
    const int64_t chunks = (grains - 1) / grains_per_chunk + 1;
    if (threads > chunks)
        threads = (int)chunks;
    const int workers = pool.workers;
    if (workers < threads - 1)
        start_workers(threads - 1);
    place_workers(workers);
    if (threads > pool.workers + 1) /* refused: do not ask again for every region */
        threads = tga_threads_set(pool.workers + 1);

    pool.work = work;
    pool.context = context;
    pool.n = n;
    pool.chunk = grains_per_chunk * grain;
    run_region(threads);

    in_region = false;
    atomic_flag_clear_explicit(&pool.taken, memory_order_release);
}

/* ---- fork ----------------------------------------------------------------------- */

/* A child has the forking thread alone, whatever the others were doing: no
 * worker, no open region, nobody asleep. */
static void after_fork_in_child(void)
{
    pool.workers = 0;
    pool.state = 0;
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.idle.changed, NULL);
    pthread_cond_init(&pool.caller.changed, NULL);
    pool.idle.sleepers = 0;
    pool.caller.sleepers = 0;
    atomic_flag_clear(&pool.taken);
}

__attribute__((constructor)) static void watch_for_forks(void)
{
    pthread_atfork(NULL, NULL, after_fork_in_child);
}
