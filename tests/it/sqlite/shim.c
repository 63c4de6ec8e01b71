/* A disk that fails when it is told to, and what of it would be left after a power cut. Loaded before the C library.
 *
 * COUNTERSIGN_FAULTS names a folder. While the file `sync` is in it, the next sync of a file fails once, and what was
 * written to that file since its last sync never reaches the disk, as on Linux; `open`: the next opening of the database
 * for writing is forbidden, once; `read`: reads of the database fail; `write`: the disk is full after half of each write. Everything that is written to files of COUNTERSIGN_DATA reaches the
 * copies in `disk` with the next sync of the same file, and not before. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct op { struct op *next; char path[PATH_MAX]; long long at; size_t count; char *bytes; };
static struct op *first, **last = &first;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int told(const char *what) {
    const char *faults = getenv("COUNTERSIGN_FAULTS");
    char path[PATH_MAX];
    if (!faults) return 0;
    snprintf(path, sizeof path, "%s/%s", faults, what);
    return access(path, F_OK) == 0;
}

static int untell(const char *what) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", getenv("COUNTERSIGN_FAULTS"), what);
    return unlink(path) == 0;
}

static int is_ours(int fd, char *path) {
    const char *data = getenv("COUNTERSIGN_DATA");
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, PATH_MAX - 1);
    if (!data || count < 0) return 0;
    path[count] = 0;
    return strncmp(path, data, strlen(data)) == 0 && !strstr(path, "-shm");
}

static void note(const char *path, const void *bytes, size_t count, long long at) {
    struct op *op = calloc(1, sizeof *op);
    strcpy(op->path, path);
    op->at = at;
    op->count = count;
    if (bytes) { op->bytes = malloc(count); memcpy(op->bytes, bytes, count); }
    pthread_mutex_lock(&lock);
    *last = op;
    last = &op->next;
    pthread_mutex_unlock(&lock);
}

static int truncated(const char *name, int fd, off_t size);

static int synced(int fd, int fails) {
    char path[PATH_MAX], disk[2 * PATH_MAX];
    if (!is_ours(fd, path)) return 0;
    snprintf(disk, sizeof disk, "%s/disk/%s", getenv("COUNTERSIGN_FAULTS"), strrchr(path, '/') + 1);
    int to = fails ? -1 : open(disk, O_RDWR | O_CREAT, 0600);
    pthread_mutex_lock(&lock);
    struct op **at = &first;
    while (*at) {
        struct op *op = *at;
        if (strcmp(op->path, path)) { at = &op->next; continue; }
        if (!fails && op->bytes && pwrite(to, op->bytes, op->count, op->at) < 0) abort();
        else if (!fails && !op->bytes && truncated("ftruncate", to, op->at)) abort();
        *at = op->next;
        free(op->bytes);
        free(op);
    }
    last = at;
    pthread_mutex_unlock(&lock);
    if (to >= 0) close(to);
    return 0;
}

static int sync_of(int fd) {
    char path[PATH_MAX];
    if (is_ours(fd, path) && told("sync") && untell("sync")) {
        synced(fd, 1);
        errno = EIO;
        return -1;
    }
    return synced(fd, 0);
}

int fdatasync(int fd) { return sync_of(fd); }
int fsync(int fd) { return sync_of(fd); }

static ssize_t written(const char *name, int fd, const void *bytes, size_t count, long long at) {
    char path[PATH_MAX];
    int ours = is_ours(fd, path);
    if (ours && told("write")) {
        if (count < 2) { errno = ENOSPC; return -1; }
        count /= 2;
    }
    void *real = dlsym(RTLD_NEXT, name);
    long long from = at < 0 ? lseek(fd, 0, SEEK_CUR) : at;
    ssize_t done = at < 0 ? ((ssize_t (*)(int, const void *, size_t))real)(fd, bytes, count)
                          : ((ssize_t (*)(int, const void *, size_t, off_t))real)(fd, bytes, count, at);
    if (ours && done > 0) note(path, bytes, done, from);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t count) { return written("write", fd, bytes, count, -1); }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return written("pwrite", fd, bytes, count, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return written("pwrite64", fd, bytes, count, at); }

static ssize_t seen(const char *name, int fd, void *bytes, size_t count, long long at) {
    char path[PATH_MAX];
    void *real = dlsym(RTLD_NEXT, name);
    if (told("read") && is_ours(fd, path)) { errno = EIO; return -1; }
    return at < 0 ? ((ssize_t (*)(int, void *, size_t))real)(fd, bytes, count)
                  : ((ssize_t (*)(int, void *, size_t, off_t))real)(fd, bytes, count, at);
}

ssize_t read(int fd, void *bytes, size_t count) { return seen("read", fd, bytes, count, -1); }
ssize_t pread(int fd, void *bytes, size_t count, off_t at) { return seen("pread", fd, bytes, count, at); }
ssize_t pread64(int fd, void *bytes, size_t count, off64_t at) { return seen("pread64", fd, bytes, count, at); }

static int truncated(const char *name, int fd, off_t size) {
    int (*real)(int, off_t) = (int (*)(int, off_t))dlsym(RTLD_NEXT, name);
    char path[PATH_MAX];
    int done = real(fd, size);
    if (!done && is_ours(fd, path)) note(path, NULL, 0, size);
    return done;
}

int ftruncate(int fd, off_t size) { return truncated("ftruncate", fd, size); }
int ftruncate64(int fd, off64_t size) { return truncated("ftruncate64", fd, size); }

static int opened(const char *name, const char *path, int flags, mode_t mode) {
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
    const char *data = getenv("COUNTERSIGN_DATA"), *end = strrchr(path, '/');
    int is_vault = data && end && !strncmp(path, data, strlen(data)) && !strcmp(end, "/vault.db");
    if (is_vault && (flags & O_RDWR) && told("open") && untell("open")) { errno = EACCES; return -1; }
    return real(path, flags, mode);
}

#define MODE va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest)
int open(const char *path, int flags, ...) { MODE; return opened("open", path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE; return opened("open64", path, flags, mode); }
