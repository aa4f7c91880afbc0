/* System V shared memory, semaphores and message queues. */
#include "probe.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

static const key_t KEY = 0x57415244;

static void *attach(const char *what, int id, void *at, int flags)
{
    void *got = shmat(id, at, flags);
    printf("%s: %s\n", what, got == (void *)-1 ? strerrorname_np(errno) : at && got != at ? "elsewhere" : "ok");
    return got;
}

static void shared_memory(void)
{
    struct shmid_ds ds;
    BLOCK("shared memory");
    SAY("no such key", shmget(KEY, 100, 0));
    SAY("empty", shmget(KEY, 0, IPC_CREAT | 0600));
    int id = TRY("new", shmget(KEY, 5000, IPC_CREAT | IPC_EXCL | 0640));
    SAY("exclusive", shmget(KEY, 100, IPC_CREAT | IPC_EXCL | 0600));
    printf("again %d\n", shmget(KEY, 100, IPC_CREAT) == id);
    SAY("too large", shmget(KEY, 5001, 0));
    char *a = attach("attach", id, NULL, 0);
    char *b = attach("attach for reading", id, NULL, SHM_RDONLY);
    strcpy(a, "shared");
    printf("%s %d\n", b, a[5000]);
    SAY("mprotect to write", mprotect(b, 4096, PROT_READ | PROT_WRITE));
    SAY("stat", shmctl(id, IPC_STAT, &ds));
    printf("size %zu attached %lu mode %o creator %d last %d times %d %d %d key %x\n", ds.shm_segsz, ds.shm_nattch,
           ds.shm_perm.mode, ds.shm_cpid == getpid(), ds.shm_lpid == getpid(), ds.shm_atime > 0, ds.shm_dtime > 0,
           ds.shm_ctime > 0, ds.shm_perm.__key);
    pid_t pid = begin();
    if (pid == 0) {
        shmctl(id, IPC_STAT, &ds);
        printf("child sees %s attached %lu\n", a, ds.shm_nattch);
        strcpy(a, "by the child");
        SAY("detach", shmdt(b));
        done(0);
    }
    reap("child", pid);
    shmctl(id, IPC_STAT, &ds);
    printf("%s attached %lu\n", b, ds.shm_nattch);
    attach("occupied", id, a, 0);
    attach("unaligned", id, a + 1, 0);
    attach("replaced", id, a, SHM_REMAP);
    attach("replace nothing", id, NULL, SHM_REMAP);
    SAY("detach", shmdt(b));
    SAY("again", shmdt(b));
    SAY("unaligned", shmdt(a + 1));
    SAY("middle", shmdt(a + 4096));
    attach("at the hole", id, b, 0);
    attach("rounded", id, NULL, SHM_RND);
    ds.shm_perm.mode = 0600;
    SAY("IPC_SET", shmctl(id, IPC_SET, &ds));
    SAY("remove", shmctl(id, IPC_RMID, NULL));
    SAY("stat", shmctl(id, IPC_STAT, &ds));
    printf("attached %lu mode %o key %x\n", ds.shm_nattch, ds.shm_perm.mode, ds.shm_perm.__key);
    SAY("the key is free", shmget(KEY, 100, 0));
    attach("still there", id, NULL, 0);
    pid = begin();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "exit 3", NULL);
        done(1);
    }
    reap("exec lets go", pid);
    shmctl(id, IPC_STAT, &ds);
    printf("attached %lu\n", ds.shm_nattch);
    SAY("command", shmctl(id, 99, &ds));
    SAY("identifier", shmctl(-1, IPC_STAT, &ds));
    attach("identifier", 123456789, NULL, 0);
    id = shmget(IPC_PRIVATE, 100, 0600);
    SAY("remove", shmctl(id, IPC_RMID, NULL));
    SAY("gone", shmctl(id, IPC_STAT, &ds));
}

static int operate(int id, int number, int amount, int flags)
{
    struct sembuf operation = {number, amount, flags};
    return semop(id, &operation, 1);
}

static void on_alarm(int signo) {}

static void semaphores(void)
{
    unsigned short values[3] = {1, 2, 3};
    struct semid_ds ds;
    BLOCK("semaphores");
    SAY("no such key", semget(KEY, 1, 0));
    SAY("empty", semget(KEY, 0, IPC_CREAT | 0600));
    int id = TRY("new", semget(KEY, 3, IPC_CREAT | IPC_EXCL | 0600));
    SAY("smaller", semget(KEY, 2, 0) == id ? 0 : -1);
    SAY("larger", semget(KEY, 4, 0));
    SAY("SETALL", semctl(id, 0, SETALL, (union semun){.array = values}));
    SAY("GETVAL", semctl(id, 1, GETVAL));
    SAY("number", semctl(id, 3, GETVAL));
    SAY("SETVAL", semctl(id, 0, SETVAL, (union semun){.val = 5}));
    SAY("too much", semctl(id, 0, SETVAL, (union semun){.val = 40000}));
    printf("pid %d\n", semctl(id, 0, GETPID) == getpid());
    SAY("down", operate(id, 0, -2, 0));
    SAY("not now", operate(id, 0, -4, IPC_NOWAIT));
    SAY("zero", operate(id, 0, 0, IPC_NOWAIT));
    SAY("beyond", operate(id, 0, 32767, 0));
    SAY("number", operate(id, 3, 1, 0));
    SAY("nothing", semop(id, NULL, 0));
    SAY("address", semop(id, (void *)8, 1));
    struct sembuf both[] = {{0, -1, 0}, {1, -9, IPC_NOWAIT}};
    SAY("all or none", semop(id, both, 2));
    SAY("GETALL", semctl(id, 0, GETALL, (union semun){.array = values}));
    printf("%d %d %d\n", values[0], values[1], values[2]);
    SAY("timeout", semtimedop(id, (struct sembuf[]){{0, -9, 0}}, 1, &(struct timespec){0, 20000000}));
    SAY("bad timeout", semtimedop(id, (struct sembuf[]){{0, -9, 0}}, 1, &(struct timespec){0, -1}));
    pid_t pid = begin();
    if (pid == 0) {
        SAY("child waits", operate(id, 0, -9, 0));
        done(0);
    }
    nap(100);
    SAY("waiting", semctl(id, 0, GETNCNT));
    SAY("for zero", semctl(id, 0, GETZCNT));
    SAY("up", operate(id, 0, 6, 0));
    reap("child", pid);
    SAY("left", semctl(id, 0, GETVAL));
    SAY("nobody waits", semctl(id, 0, GETNCNT));
    pid = begin();
    if (pid == 0) {
        SAY("undone later", operate(id, 2, 4, SEM_UNDO));
        SAY("now", semctl(id, 2, GETVAL));
        done(0);
    }
    reap("child", pid);
    SAY("undone", semctl(id, 2, GETVAL));
    signal(SIGALRM, on_alarm);
    ualarm(30000, 0);
    SAY("interrupted", operate(id, 0, -9, 0));
    SAY("stat", semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}));
    printf("count %lu mode %o times %d %d\n", ds.sem_nsems, ds.sem_perm.mode, ds.sem_otime > 0, ds.sem_ctime > 0);
    pid = begin();
    if (pid == 0) {
        SAY("until it goes", operate(id, 1, -9, 0));
        done(0);
    }
    nap(100);
    SAY("remove", semctl(id, 0, IPC_RMID));
    reap("child", pid);
    SAY("gone", operate(id, 0, 1, 0));
}

static void messages(void)
{
    struct {
        long type;
        char text[9000];
    } m = {1, "first"};
    struct msqid_ds ds;
    BLOCK("message queues");
    SAY("no such key", msgget(KEY, 0));
    int id = TRY("new", msgget(KEY, IPC_CREAT | 0600));
    SAY("send", msgsnd(id, &m, 6, 0));
    m.type = 3;
    SAY("send", msgsnd(id, (strcpy(m.text, "third"), &m), 6, 0));
    m.type = 2;
    SAY("send", msgsnd(id, (strcpy(m.text, "second"), &m), 7, 0));
    m.type = 0;
    SAY("type", msgsnd(id, &m, 6, 0));
    m.type = 1;
    SAY("too long", msgsnd(id, &m, 8193, 0));
    SAY("too little room", msgrcv(id, &m, 3, 0, 0));
    SAY("cut", msgrcv(id, &m, 3, 0, MSG_NOERROR));
    printf("%ld %.3s\n", m.type, m.text);
    SAY("lowest", msgrcv(id, &m, 100, -5, 0));
    printf("%ld %s\n", m.type, m.text);
    SAY("except", msgrcv(id, &m, 100, 3, MSG_EXCEPT | IPC_NOWAIT));
    SAY("type", msgrcv(id, &m, 100, 3, 0));
    printf("%ld %s\n", m.type, m.text);
    SAY("none", msgrcv(id, &m, 100, 0, IPC_NOWAIT));
    m.type = 7;
    SAY("large", msgsnd(id, &m, 8192, 0));
    SAY("large", msgsnd(id, &m, 8192, 0));
    SAY("full", msgsnd(id, &m, 1, IPC_NOWAIT));
    pid_t pid = begin();
    if (pid == 0) {
        m.type = 9;
        SAY("child waits", msgsnd(id, &m, 10, 0));
        done(0);
    }
    nap(50);
    SAY("receive", msgrcv(id, &m, sizeof m.text, 7, 0));
    reap("child", pid);
    SAY("stat", msgctl(id, IPC_STAT, &ds));
    printf("messages %lu bytes %lu of %lu sender %d receiver %d\n", ds.msg_qnum, ds.__msg_cbytes, ds.msg_qbytes,
           ds.msg_lspid == pid, ds.msg_lrpid == getpid());
    pid = begin();
    if (pid == 0) {
        SAY("until it goes", msgrcv(id, &m, sizeof m.text, 99, 0));
        done(0);
    }
    nap(100);
    SAY("remove", msgctl(id, IPC_RMID, NULL));
    reap("child", pid);
    SAY("gone", msgsnd(id, &m, 1, 0));
}

int main(void)
{
    shared_memory();
    semaphores();
    messages();
    return 0;
}
