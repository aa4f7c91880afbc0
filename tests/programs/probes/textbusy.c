/* ETXTBSY: a program that runs is not written to, and one that is open for writing does not run. */
#include "probe.h"

static char ready[12], go[12];
static int up[2], down[2];

static pid_t start(const char *path)
{
    char byte;
    pid_t pid = begin();
    if (pid == 0) {
        execl(path, path, ready, go, NULL);
        done(1);
    }
    read(up[0], &byte, 1);
    return pid;
}

static void run(const char *what, const char *path)
{
    pid_t pid = begin();
    if (pid == 0) {
        execl(path, path, NULL);
        printf("%s: %s\n", what, strerrorname_np(errno));
        done(1);
    }
    reap(what, pid);
}

int main(int argc, char **argv)
{
    char byte, name[50];
    if (argc == 3) {
        write(atoi(argv[1]), "r", 1);
        read(atoi(argv[2]), &byte, 1);
        return 3;
    }
    if (strcmp(argv[0], "./copy") == 0 || strncmp(argv[0], "/proc", 5) == 0)
        return 7;
    pipe(up);
    pipe(down);
    sprintf(ready, "%d", up[1]);
    sprintf(go, "%d", down[0]);
    system("cp textbusy program && rm -f hard soft && ln program hard && ln -s program soft");
    BLOCK("while it runs");
    pid_t pid = start("./program");
    SAY("write", open("program", O_WRONLY));
    SAY("read and write", open("program", O_RDWR));
    SAY("append", open("program", O_WRONLY | O_APPEND));
    SAY("O_CREAT", open("program", O_WRONLY | O_CREAT, 0644));
    SAY("O_TRUNC", open("program", O_RDONLY | O_TRUNC));
    SAY("truncate", truncate("program", 0));
    SAY("hard link", open("hard", O_WRONLY));
    SAY("symbolic link", open("soft", O_WRONLY));
    sprintf(name, "/proc/%d/exe", pid);
    SAY("/proc/PID/exe", open(name, O_WRONLY));
    TRY("read", open("program", O_RDONLY));
    TRY("O_PATH", open("program", O_PATH));
    SAY("access", access("program", W_OK));
    SAY("chmod", chmod("program", 0700));
    SAY("rename", rename("program", "copy"));
    SAY("unlink", unlink("hard"));
    SAY("write", open("copy", O_WRONLY));
    run("once more", "./copy");
    SAY("write", open("copy", O_WRONLY));
    write(down[1], "x", 1);
    reap("it", pid);
    BLOCK("while it is open for writing");
    int fd = TRY("write", open("copy", O_WRONLY));
    run("run", "./copy");
    int reader = open("copy", O_RDONLY), second = dup(fd);
    close(fd);
    run("a duplicate is open", "./copy");
    close(second);
    run("open for reading", "./copy");
    fd = open("script", O_RDWR | O_CREAT | O_TRUNC, 0755);
    write(fd, "#!/bin/sh\nexit 5\n", 17);
    run("script", "./script");
    close(fd);
    run("script", "./script");
    BLOCK("a copy in memory");
    fd = memfd_create("program", 0);
    while (splice(reader, NULL, up[1], NULL, 4096, 0) > 0)
        splice(up[0], NULL, fd, NULL, 4096, 0);
    sprintf(name, "/proc/self/fd/%d", fd);
    run("open for writing, but made so", name);
    BLOCK("killed");
    pid = start("./copy");
    SAY("write", open("copy", O_WRONLY));
    kill(pid, SIGKILL);
    reap("it", pid);
    TRY("write", open("copy", O_WRONLY));
    SAY("myself", open("textbusy", O_WRONLY));
    return 0;
}
