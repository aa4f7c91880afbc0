/* execve: arguments, environment, descriptors, signals, scripts, errors, what goes and what stays. */
#include "probe.h"
#include <elf.h>
#include <sys/prctl.h>

extern char **environ;
static char self[300];

static void try(const char *what, const char *path, char **argv, char **envp)
{
    pid_t pid = begin();
    if (pid == 0) {
        execve(path, argv, envp);
        printf("%s: %s\n", what, strerrorname_np(errno));
        done(99);
    }
    reap(what, pid);
}

static void file(const char *name, const void *text, size_t size, int mode)
{
    int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    write(fd, text, size);
    fchmod(fd, mode);
    close(fd);
}

static void script(const char *name, const char *text) { file(name, text, strlen(text), 0755); }

/* What the new program says of itself. */
static int report(int argc, char **argv)
{
    sigset_t mask, pending;
    struct sigaction a;
    printf("argc %d:", argc - 1);
    for (int n = 0; n < argc; n++)
        if (n != 1)
            printf(" [%s]", n ? argv[n] : strrchr(argv[0], '/') ? strrchr(argv[0], '/') : argv[0]);
    printf("\nenvironment:");
    for (char **e = environ; *e && e < environ + 5; e++)
        printf(" %s", *e);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    sigpending(&pending);
    printf("\nblocked USR1 %d pending USR1 %d\n", sigismember(&mask, SIGUSR1), sigismember(&pending, SIGUSR1));
    sigaction(SIGUSR2, NULL, &a);
    printf("USR2 ignored %d\n", a.sa_handler == SIG_IGN);
    sigaction(SIGHUP, NULL, &a);
    printf("HUP default %d\n", a.sa_handler == SIG_DFL);
    stack_t s;
    sigaltstack(NULL, &s);
    printf("alternate stack %d\n", s.ss_flags == SS_DISABLE);
    for (int fd = 50; fd < 53; fd++)
        printf("descriptor %d: %d\n", fd, fcntl(fd, F_GETFD));
    char name[20];
    prctl(PR_GET_NAME, name);
    printf("name %s umask %o pdeathsig %d\n", name, umask(0), ({ int d; prctl(PR_GET_PDEATHSIG, &d); d; }));
    struct itimerval v;
    getitimer(ITIMER_REAL, &v);
    printf("timer %d cwd %d\n", v.it_value.tv_sec > 0, access("script", F_OK) == 0);
    return 7;
}

static void handler(int signo) { (void)signo; }

static void keeps(void)
{
    BLOCK("what stays");
    pid_t pid = begin();
    if (pid == 0) {
        sigset_t mask;
        sigemptyset(&mask);
        sigaddset(&mask, SIGUSR1);
        sigprocmask(SIG_BLOCK, &mask, NULL);
        raise(SIGUSR1);
        signal(SIGUSR2, SIG_IGN);
        signal(SIGHUP, handler);
        static char stack[65536];
        sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
        dup2(1, 50);
        dup2(1, 51);
        fcntl(51, F_SETFD, FD_CLOEXEC);
        umask(037);
        alarm(100);
        char *argv[] = {self, "report", "a b", "", "\xff", NULL}, *envp[] = {"X=1", "EMPTY=", "NOEQUALS", NULL};
        execve(self, argv, envp);
        done(1);
    }
    reap("report", pid);
    try("no arguments", self, (char *[]){"zero", NULL}, (char *[]){NULL});
    try("NULL environment", self, (char *[]){"zero", "short", NULL}, NULL);
}

static void scripts(void)
{
    BLOCK("scripts");
    char text[400], line[600];
    script("script", "#!/bin/sh\necho script \"$0\" \"$@\"\n");
    try("script", "./script", (char *[]){"ignored", "a", NULL}, environ);
    script("option", "#!/bin/sh -e\nfalse\necho not here\n");
    try("option", "./option", (char *[]){"x", NULL}, environ);
    script("spaces", "#!   /bin/echo   one argument  \n");
    try("spaces", "./spaces", (char *[]){"x", "more", NULL}, environ);
    script("nested", "#!./spaces\n");
    try("nested", "./nested", (char *[]){"x", NULL}, environ);
    script("loop", "#!./loop\n");
    try("loop", "./loop", (char *[]){"x", NULL}, environ);
    script("missing", "#!/no/such/interpreter\n");
    try("missing interpreter", "./missing", (char *[]){"x", NULL}, environ);
    script("empty", "#!\n");
    try("empty interpreter", "./empty", (char *[]){"x", NULL}, environ);
    script("plain", "echo no magic\n");
    try("no magic", "./plain", (char *[]){"x", NULL}, environ);
    script("bare", "#!/bin/echo");
    try("no newline", "./bare", (char *[]){"x", NULL}, environ);
    memset(text, 'x', sizeof text);
    text[399] = 0;
    sprintf(line, "#!/%s\n", text);
    script("long", line);
    try("long line", "./long", (char *[]){"x", NULL}, environ);
}

static void errors(void)
{
    BLOCK("errors");
    char *argv[] = {"x", NULL};
    try("missing", "./nosuch", argv, environ);
    try("directory", ".", argv, environ);
    file("noexec", "#!/bin/sh\n", 10, 0644);
    try("not executable", "./noexec", argv, environ);
    file("zero", "", 0, 0755);
    try("empty file", "./zero", argv, environ);
    Elf64_Ehdr e = {.e_ident = {0x7f, 'E', 'L', 'F', 2, 1, 1}, .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = 1,
                    .e_phoff = 64, .e_ehsize = 64, .e_phentsize = 56, .e_phnum = 1};
    file("noheaders", &e, sizeof e, 0755);
    try("truncated headers", "./noheaders", argv, environ);
    e.e_machine = EM_AARCH64;
    file("arm", &e, sizeof e, 0755);
    try("another machine", "./arm", argv, environ);
    e.e_machine = EM_X86_64;
    e.e_ident[4] = 1;
    file("class32", &e, sizeof e, 0755);
    try("32 bit", "./class32", argv, environ);
    file("short", "\x7f" "ELF", 4, 0755);
    try("four bytes", "./short", argv, environ);
    try("below a file", "./zero/x", argv, environ);
    try("empty name", "", argv, environ);
    try("bad path address", (char *)8, argv, environ);
    try("bad argument address", self, (char **)8, environ);
    char *bad[] = {"x", (char *)8, NULL};
    try("bad argument", self, bad, environ);
    try("NULL argv", "/bin/true", NULL, environ);
    static char huge[200000];
    memset(huge, 'h', sizeof huge - 1);
    char *large[] = {"x", huge, NULL};
    try("argument over 128 KiB", "/bin/true", large, environ);
    char **many = calloc(40000, sizeof *many);
    huge[1000] = 0;
    for (int n = 0; n < 39999; n++)
        many[n] = huge;
    try("too many arguments", "/bin/true", many, environ);
    many[1000] = NULL;
    try("a megabyte of arguments", "/bin/true", many, environ);
    int fd;
    symlink(self, "link");
    try("through a link", "./link", (char *[]){"./link", "short", NULL}, environ);
    pid_t pid = begin();
    if (pid == 0) {
        fd = open(self, O_RDONLY);
        syscall(SYS_execveat, fd, "", (char *[]){"by fd", "short", NULL}, environ, AT_EMPTY_PATH);
        done(1);
    }
    reap("execveat", pid);
    pid = begin();
    if (pid == 0) {
        static char program[1 << 20];
        fd = open("/bin/true", O_RDONLY);
        int n = read(fd, program, sizeof program), m = memfd_create("program", MFD_CLOEXEC);
        write(m, program, n);
        fexecve(m, argv, environ);
        done(1);
    }
    reap("fexecve of a memfd", pid);
    pid = begin();
    if (pid == 0) {
        fd = open("script", O_RDONLY | O_CLOEXEC);
        fexecve(fd, argv, environ);
        printf("script on a cloexec descriptor: %s\n", strerrorname_np(errno));
        done(98);
    }
    reap("fexecve", pid);
    pid = begin();
    if (pid == 0) {
        syscall(SYS_execveat, AT_FDCWD, "link", argv, environ, AT_SYMLINK_NOFOLLOW);
        printf("nofollow: %s\n", strerrorname_np(errno));
        done(97);
    }
    reap("execveat nofollow", pid);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "report"))
        return report(argc, argv);
    if (argc > 1 && !strcmp(argv[1], "short"))
        return printf("short %s %s\n", argv[0], environ && *environ ? "environment" : "none") ? 5 : 0;
    if (argc == 1 && !strcmp(argv[0], "zero"))
        return printf("zero\n") ? 6 : 0;
    readlink("/proc/self/exe", self, sizeof self);
    keeps();
    scripts();
    errors();
    return 0;
}
