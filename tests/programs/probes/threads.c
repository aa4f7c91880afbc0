/* Threads: TLS, futexes, robust and process-shared mutexes, cancellation, signals to threads. */
#include "probe.h"
#include <linux/futex.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/prctl.h>

static __thread int local = 7;
static _Atomic int counter, word;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int guarded, turn;

static long futex(void *at, int op, int value, const struct timespec *timeout, void *at2, int value3)
{
    return syscall(SYS_futex, at, op, value, timeout, at2, value3);
}

static void destroyed(void *value) { counter += (int)(long)value; }
static void first(void) { printf("once\n"); }

static void *work(void *argument)
{
    long n = (long)argument;
    local += n;
    pthread_setspecific(key, (void *)n);
    pthread_once(&once, first);
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&lock);
        guarded++;
        pthread_mutex_unlock(&lock);
    }
    pthread_barrier_wait(&barrier);
    return (void *)(long)local;
}

static void *in_turn(void *argument)
{
    int me = (int)(long)argument;
    for (int round = 0; round < 50; round++) {
        pthread_mutex_lock(&lock);
        while (turn % 4 != me)
            pthread_cond_wait(&changed, &lock);
        turn++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void *reader(void *unused)
{
    (void)unused;
    pthread_rwlock_rdlock(&rwlock);
    nap(10);
    pthread_rwlock_unlock(&rwlock);
    return NULL;
}

static void library(void)
{
    BLOCK("pthreads");
    pthread_t t[8];
    void *result;
    long sum = 0;
    pthread_key_create(&key, destroyed);
    pthread_barrier_init(&barrier, NULL, 8);
    for (long n = 0; n < 8; n++)
        pthread_create(&t[n], NULL, work, (void *)n);
    for (int n = 0; n < 8; n++) {
        pthread_join(t[n], &result);
        sum += (long)result;
    }
    printf("guarded %d sum %ld mine %d destructors %d\n", guarded, sum, local, counter);
    for (long n = 0; n < 4; n++)
        pthread_create(&t[n], NULL, in_turn, (void *)n);
    for (int n = 0; n < 4; n++)
        pthread_join(t[n], NULL);
    printf("turns %d\n", turn);
    for (long n = 0; n < 4; n++)
        pthread_create(&t[n], NULL, reader, NULL);
    pthread_rwlock_wrlock(&rwlock);
    pthread_rwlock_unlock(&rwlock);
    for (int n = 0; n < 4; n++)
        pthread_join(t[n], NULL);
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 30000000;
    if (soon.tv_nsec > 999999999)
        soon.tv_sec++, soon.tv_nsec -= 1000000000;
    pthread_mutex_lock(&lock);
    printf("timed wait %s\n", strerrorname_np(pthread_cond_timedwait(&changed, &lock, &soon)));
    printf("trylock %s\n", strerrorname_np(pthread_mutex_trylock(&lock)));
    pthread_mutex_unlock(&lock);
    sem_t s;
    sem_init(&s, 0, 1);
    SAY("sem_wait", sem_wait(&s));
    SAY("sem_trywait", sem_trywait(&s));
    SAY("sem_timedwait", sem_timedwait(&s, &soon));
    pthread_mutexattr_t a;
    pthread_mutex_t other;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&other, &a);
    pthread_mutex_lock(&other);
    printf("deadlock %s\n", strerrorname_np(pthread_mutex_lock(&other)));
}

static void *wait_word(void *unused)
{
    (void)unused;
    counter += futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == 0;
    return NULL;
}

static void futexes(void)
{
    BLOCK("futex");
    counter = 0;
    word = 1;
    SAY("another value", futex(&word, FUTEX_WAIT, 0, NULL, NULL, 0));
    SAY("time-out", futex(&word, FUTEX_WAIT, 1, &(struct timespec){0, 10000000}, NULL, 0));
    SAY("bad time", futex(&word, FUTEX_WAIT, 1, &(struct timespec){0, 1000000000}, NULL, 0));
    SAY("nobody waits", futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
    SAY("no such operation", futex(&word, 99, 1, NULL, NULL, 0));
    SAY("unaligned", futex((char *)&word + 1, FUTEX_WAKE, 1, NULL, NULL, 0));
    SAY("bad address", futex((void *)8, FUTEX_WAIT, 0, NULL, NULL, 0));
    SAY("empty bitset", futex(&word, FUTEX_WAIT_BITSET, 1, NULL, NULL, 0));
    word = 0;
    pthread_t t[3];
    for (int n = 0; n < 3; n++)
        pthread_create(&t[n], NULL, wait_word, NULL);
    nap(60);
    SAY("wake 2", futex(&word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0));
    static int second;
    SAY("requeue", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)1, &second, 0));
    futex(&second, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0); /* inside, requeueing wakes at once */
    for (int n = 0; n < 3; n++)
        pthread_join(t[n], NULL);
    printf("woken %d\n", counter);
    struct timespec past;
    clock_gettime(CLOCK_MONOTONIC, &past);
    SAY("absolute past", futex(&word, FUTEX_WAIT_BITSET, 0, &past, NULL, -1));
    SAY("wake op", futex(&word, FUTEX_WAKE_OP, 1, (void *)1, &second, FUTEX_OP(FUTEX_OP_SET, 5, FUTEX_OP_CMP_EQ, 0)));
    printf("second %d\n", second);
}

static void between_processes(void)
{
    BLOCK("between processes");
    struct { pthread_mutex_t robust, plain; pthread_cond_t changed; sem_t sem; int value; } *s;
    s = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&s->plain, &a);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&s->robust, &a);
    pthread_condattr_t c;
    pthread_condattr_init(&c);
    pthread_condattr_setpshared(&c, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&s->changed, &c);
    sem_init(&s->sem, 1, 0);
    pid_t pid = begin();
    if (pid == 0) {
        for (int n = 0; n < 1000; n++) {
            pthread_mutex_lock(&s->plain);
            s->value++;
            pthread_mutex_unlock(&s->plain);
        }
        sem_post(&s->sem);
        _exit(0);
    }
    for (int n = 0; n < 1000; n++) {
        pthread_mutex_lock(&s->plain);
        s->value++;
        pthread_mutex_unlock(&s->plain);
    }
    SAY("sem_wait", sem_wait(&s->sem));
    reap("counter", pid);
    printf("value %d\n", s->value);
    pid = begin();
    if (pid == 0) {
        pthread_mutex_lock(&s->plain);
        s->value = -1;
        pthread_cond_signal(&s->changed);
        pthread_mutex_unlock(&s->plain);
        _exit(0);
    }
    pthread_mutex_lock(&s->plain);
    while (s->value != -1)
        pthread_cond_wait(&s->changed, &s->plain);
    pthread_mutex_unlock(&s->plain);
    reap("condition", pid);
    pid = begin();
    if (pid == 0) {
        pthread_mutex_lock(&s->robust);
        _exit(0);
    }
    reap("owner", pid);
    printf("owner died %s\n", strerrorname_np(pthread_mutex_lock(&s->robust)));
    SAY("consistent", pthread_mutex_consistent(&s->robust));
    SAY("unlock", pthread_mutex_unlock(&s->robust));
    pid = begin();
    if (pid == 0) {
        pthread_mutex_lock(&s->robust);
        nap(50);
        raise(SIGKILL);
    }
    nap(20);
    printf("killed while we wait %s\n", strerrorname_np(pthread_mutex_lock(&s->robust)));
    reap("killed", pid);
}

static volatile sig_atomic_t hit_thread;
static pthread_t target;
static void hit(int signo) { (void)signo; hit_thread = pthread_equal(pthread_self(), target); }
static void cleanup(void *unused) { (void)unused; printf("cleanup\n"); }

static void *forever(void *unused)
{
    (void)unused;
    pthread_cleanup_push(cleanup, NULL);
    for (;;)
        nap(1000);
    pthread_cleanup_pop(0);
    return NULL;
}

static void *spins(void *unused)
{
    (void)unused;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    for (;;)
        counter++;
}

static void *named(void *unused)
{
    char name[32] = "", other[32] = "";
    (void)unused;
    prctl(PR_SET_NAME, "a thread with a long name");
    prctl(PR_GET_NAME, name);
    FILE *f = fopen("/proc/thread-self/comm", "r");
    fgets(other, 32, f);
    printf("%s %s%d\n", name, other, gettid() != getpid());
    return NULL;
}

static void control(void)
{
    BLOCK("signals and cancellation");
    void *result;
    signal(SIGUSR1, hit);
    pthread_create(&target, NULL, forever, NULL);
    nap(20);
    pthread_kill(target, SIGUSR1);
    nap(20);
    printf("right thread %d\n", hit_thread);
    pthread_cancel(target);
    pthread_join(target, &result);
    printf("cancelled %d\n", result == PTHREAD_CANCELED);
    pthread_create(&target, NULL, spins, NULL);
    nap(10);
    pthread_cancel(target);
    pthread_join(target, &result);
    printf("cancelled while it spins %d\n", result == PTHREAD_CANCELED);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_create(&target, NULL, forever, NULL);
    nap(20);
    pthread_sigmask(SIG_BLOCK, &mask, NULL);
    hit_thread = 0;
    kill(getpid(), SIGUSR1);
    nap(20);
    printf("the unblocked thread takes it %d\n", hit_thread);
    pthread_cancel(target);
    pthread_join(target, NULL);
    pthread_create(&target, NULL, named, NULL);
    pthread_join(target, NULL);
    pthread_attr_t a;
    pthread_attr_init(&a);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&a, 1 << 20);
    for (int n = 0; n < 100; n++)
        while (pthread_create(&target, &a, reader, NULL))
            nap(5);
    pid_t pid = begin();
    if (pid == 0)
        _exit(pthread_kill(pthread_self(), 0));
    reap("fork among threads", pid);
    nap(60);
    SAY("affinity", sched_setaffinity(0, 0, NULL));
    SAY("yield", sched_yield());
    cpu_set_t set;
    SAY("getaffinity", sched_getaffinity(0, sizeof set, &set));
    printf("cpu %d\n", CPU_ISSET(sched_getcpu(), &set));
}

int main(void)
{
    library();
    futexes();
    between_processes();
    control();
    return 0;
}
