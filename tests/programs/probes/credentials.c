/* User and group ids, capabilities, permission checks. As root it becomes others; as an ordinary user it is refused. */
#include "probe.h"
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

static void ids(const char *what)
{
    uid_t r, e, s;
    gid_t gr, ge, gs;
    getresuid(&r, &e, &s);
    getresgid(&gr, &ge, &gs);
    printf("%s: %d %d %d, %d %d %d\n", what, r, e, s, gr, ge, gs);
}

static int capabilities(void)
{
    struct __user_cap_header_struct h = {0x20080522, 0};
    struct __user_cap_data_struct d[2];
    syscall(SYS_capget, &h, d);
    return (d[0].effective != 0) * 2 + (d[0].permitted != 0);
}

static void as(const char *what, void (*function)(void))
{
    printf("-- %s\n", what);
    pid_t pid = begin();
    if (pid == 0) {
        function();
        done(0);
    }
    reap(what, pid);
}

static void away(void)
{
    SAY("setuid", setuid(1000));
    ids("now");
    printf("capabilities %d\n", capabilities());
    SAY("back", setuid(0));
    SAY("seteuid", seteuid(0));
    SAY("read /etc/shadow", open("/etc/shadow", O_RDONLY));
    SAY("chown", chown("mine", 0, 0));
    SAY("chmod", chmod("mine", 0777));
    SAY("write to a directory of others", open("/etc/new", O_CREAT | O_RDWR, 0600));
    SAY("kill init", kill(1, 0));
    SAY("nice", setpriority(PRIO_PROCESS, 0, -5));
    SAY("chroot", chroot("."));
    SAY("mount", syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, 0));
    SAY("hostname", sethostname("x", 1));
    SAY("settime", clock_settime(CLOCK_REALTIME, &(struct timespec){1, 0}));
    SAY("mknod", mknod("node", S_IFCHR | 0600, 0));
    SAY("setgroups", setgroups(0, NULL));
    SAY("hard limit", setrlimit(RLIMIT_CORE, &(struct rlimit){10, RLIM_INFINITY}));
}

static void effective(void)
{
    SAY("seteuid", seteuid(1000));
    ids("now");
    printf("capabilities %d\n", capabilities());
    SAY("denied", open("private", O_RDONLY));
    SAY("back", seteuid(0));
    printf("capabilities %d\n", capabilities());
    TRY("allowed", open("private", O_RDONLY));
    SAY("setresuid", setresuid(1, 2, 3));
    ids("now");
    SAY("to the saved", setresuid(-1, 3, -1));
    ids("now");
    SAY("to another", setresuid(-1, 5, -1));
    SAY("setreuid", setreuid(3, -1));
    ids("now");
}

static void groups(void)
{
    gid_t list[10];
    SAY("setgroups", setgroups(3, (gid_t[]){5, 3, 4}));
    SAY("getgroups", getgroups(10, list));
    printf("%d %d %d\n", list[0], list[1], list[2]);
    SAY("getgroups small", getgroups(2, list));
    SAY("too many", setgroups(70000, list));
    SAY("setgid", setgid(7));
    SAY("setregid", setregid(8, 9));
    ids("now");
    printf("fsuid %d fsgid %d\n", setfsuid(-1), setfsgid(-1));
    chown("group", 0, 5);
    chmod("group", 0040);
    setuid(1000);
    TRY("readable by a supplementary group", open("group", O_RDONLY));
    SAY("not writable", open("group", O_WRONLY));
}

static void keeping(void)
{
    SAY("keepcaps", prctl(PR_SET_KEEPCAPS, 1));
    SAY("setuid", setuid(1000));
    printf("capabilities %d\n", capabilities());
    struct __user_cap_header_struct h = {0x20080522, 0};
    struct __user_cap_data_struct d[2];
    syscall(SYS_capget, &h, d);
    d[0].effective = d[0].permitted;
    SAY("capset", syscall(SYS_capset, &h, d));
    printf("capabilities %d\n", capabilities());
    TRY("CAP_DAC_OVERRIDE", open("private", O_RDONLY));
    d[0].effective = d[0].permitted = 0;
    SAY("drop", syscall(SYS_capset, &h, d));
    d[0].permitted = 1;
    SAY("and take again", syscall(SYS_capset, &h, d));
}

static void files(void)
{
    setgroups(0, NULL);
    mkdir("sticky", 0777);
    chmod("sticky", 01777);
    close(open("sticky/roots", O_CREAT | O_WRONLY, 0666));
    mkdir("setgid", 0777);
    chown("setgid", 0, 50);
    chmod("setgid", 02777);
    mkdir("search", 0700);
    close(open("search/in", O_CREAT | O_WRONLY, 0666));
    setgid(1000);
    setuid(1000);
    SAY("remove from a sticky directory", unlink("sticky/roots"));
    SAY("rename there", rename("sticky/roots", "sticky/x"));
    TRY("own file", open("sticky/own", O_CREAT | O_WRONLY, 0600));
    SAY("remove it", unlink("sticky/own"));
    close(open("setgid/f", O_CREAT | O_WRONLY, 02770));
    mkdir("setgid/d", 0755);
    struct stat s;
    stat("setgid/f", &s);
    printf("file %d %d %o\n", s.st_uid, s.st_gid, s.st_mode);
    stat("setgid/d", &s);
    printf("directory %d %d %o\n", s.st_uid, s.st_gid, s.st_mode);
    SAY("no search", open("search/in", O_RDONLY));
    SAY("no search", stat("search/in", &s));
    SAY("access", access("private", R_OK));
    SAY("chmod of others", chmod("private", 0777));
    SAY("utime of others", utimensat(AT_FDCWD, "private", NULL, 0));
    SAY("link to others", link("private", "sticky/l"));
    chmod("setgid/f", 06755);
    chown("setgid/f", 1000, 1000);
    stat("setgid/f", &s);
    printf("chown takes setuid away %o\n", s.st_mode);
    SAY("signal others", kill(getppid(), 0));
    SAY("own group only", chown("setgid/f", -1, 77));
    SAY("setxattr of others", syscall(SYS_setxattr, "private", "user.x", "x", 1, 0));
    SAY("trusted", syscall(SYS_setxattr, "setgid/f", "trusted.x", "x", 1, 0));
}

static void programs(void)
{
    int fd = open("/bin/sh", O_RDONLY), out = open("suid", O_CREAT | O_WRONLY, 0700);
    static char b[1 << 20];
    int n = read(open("/usr/bin/id", O_RDONLY), b, sizeof b);
    write(out, b, n);
    close(out);
    chown("suid", 5, 6);
    chmod("suid", 06755);
    setgroups(0, NULL);
    setgid(1000);
    setuid(1000);
    fflush(stdout);
    execl("./suid", "suid", NULL);
}

int main(void)
{
    printf("root %d\n", geteuid() == 0);
    int fd = open("private", O_CREAT | O_WRONLY, 0600);
    close(open("mine", O_CREAT | O_WRONLY, 0600));
    close(open("group", O_CREAT | O_WRONLY, 0600));
    chmod(".", 0777);
    as("setuid for good", away);
    as("effective and saved ids", effective);
    as("groups", groups);
    as("keeping capabilities", keeping);
    as("files of others", files);
    as("setuid program", programs);
    return 0;
}
