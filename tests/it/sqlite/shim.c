/* A disk that fails when it is told to, and what of it would be left after a power cut. Loaded before the C library.
 *
 * COUNTERSIGN_FAULTS names a folder. While the file `sync` is in it, the next sync of a file fails once, and what was
 * written to that file since its last sync never reaches the disk, as on Linux; `open`: the next opening of the
 * database for writing is forbidden, once; `fsync`: syncs of the log that also wait for its times fail; `read`: reads
 * of the database fail; `one-read`: the next one fails; `write`: the disk is full after half of each write.
 * Everything that is written to files of COUNTERSIGN_DATA reaches the copies in `disk` with the next sync of the same
 * file, and not before.
 *
 * COUNTERSIGN_WRITES names a file to which every write, cut, sync and new name below COUNTERSIGN_DATA is appended, so
 * that a test can cut the power at any of them (tests/it/torture/power.rs reads it). COUNTERSIGN_FAULT names a file of
 * two numbers of 32 bits: which fault, and at which of the operations from now on (`due`): an error, or the end of the
 * process before the operation. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
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
    path[0] = 0;
    const char *data = getenv("COUNTERSIGN_DATA");
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, PATH_MAX - 1);
    if (!data || count < 0) return 0;
    path[count] = 0;
    return strncmp(path, data, strlen(data)) == 0 && !strstr(path, "-shm");
}

static int is_below(const char *path) {
    const char *data = getenv("COUNTERSIGN_DATA");
    return data && !strncmp(path, data, strlen(data));
}

enum { EIO_AT = 1, SHORT_AT, FULL_AT, FULL_FROM, KILL_AT };
enum { READS, WRITES, NAMES };
static struct { int fault, left; } volatile *control;

static void map_control(void) {
    const char *name = getenv("COUNTERSIGN_FAULT");
    int fd = name ? open(name, O_RDWR) : -1;
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED) control = map;
    close(fd);
}

/* The error of this operation; 0: it is carried out; -1: half of it, and the next one of its kind fails. */
static int due(int kind) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, map_control);
    if (!control || !control->fault) return 0;
    int fault = control->fault, left;
    if (fault == KILL_AT) {
        if (__atomic_sub_fetch(&control->left, 1, __ATOMIC_SEQ_CST) == 0) kill(getpid(), SIGKILL);
        return 0;
    }
    if (fault != EIO_AT && (kind == READS || (fault == SHORT_AT && kind != WRITES))) return 0;
    left = __atomic_sub_fetch(&control->left, 1, __ATOMIC_SEQ_CST);
    if (fault == SHORT_AT) return left == 0 ? -1 : left == -1 ? EIO : 0;
    if (fault == EIO_AT) return left == 0 ? EIO : 0;
    return left == 0 || (fault == FULL_FROM && left < 0) ? ENOSPC : 0;
}

static int fails(int kind) {
    int error = due(kind);
    if (error > 0) errno = error;
    return error > 0;
}

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static int log_begin(void) {
    static int fd = -1;
    const char *name = getenv("COUNTERSIGN_WRITES");
    if (!name) return -1;
    pthread_mutex_lock(&log_lock);
    if (fd < 0) fd = open(name, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) abort();
    flock(fd, LOCK_EX);
    return fd;
}

static void log_end(int fd, const char *head, const void *bytes, size_t count) {
    ssize_t (*real)(int, const void *, size_t) = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (real(fd, head, strlen(head)) < 0 || (count && real(fd, bytes, count) != (ssize_t)count)) abort();
    flock(fd, LOCK_UN);
    pthread_mutex_unlock(&log_lock);
}

static void log_op(char what, int of, long long at, const void *bytes, size_t count) {
    char head[128];
    struct stat facts;
    int fd = log_begin();
    if (fd < 0) return;
    fstat(of, &facts);
    snprintf(head, sizeof head, "%c %llu %lld %zu\n", what, (unsigned long long)facts.st_ino, at, count);
    log_end(fd, head, bytes, count);
}

/* The names in a folder: `E`, as everybody sees them; `D`, as the disk has them. */
static void log_names(char what, const char *folder) {
    int fd = log_begin();
    size_t room = 1 << 16, count = 0;
    DIR *dir = fd < 0 ? NULL : opendir(folder);
    if (fd < 0) return;
    char *text = malloc(room), head[PATH_MAX + 64];
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' && (!entry->d_name[1] || entry->d_name[1] == '.')) continue;
        if (count + 400 > room) abort();
        count += snprintf(text + count, room - count, "%c %llu %s\n", entry->d_type == DT_DIR ? 'd' : 'f',
                          (unsigned long long)entry->d_ino, entry->d_name);
    }
    if (dir) closedir(dir);
    snprintf(head, sizeof head, "%c 0 0 %zu %s\n", what, count, folder);
    log_end(fd, head, text, count);
    free(text);
}

static void log_parent(const char *path) {
    char folder[PATH_MAX];
    if (!getenv("COUNTERSIGN_WRITES") || !is_below(path)) return;
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    log_names('E', folder);
}

static void note(const char *path, const void *bytes, size_t count, long long at) {
    if (!getenv("COUNTERSIGN_FAULTS")) return;
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
    if (!getenv("COUNTERSIGN_FAULTS") || !is_ours(fd, path)) return 0;
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

static int sync_of(const char *name, int fd) {
    char path[PATH_MAX];
    struct stat facts;
    int ours = is_ours(fd, path);
    if (ours && fails(NAMES)) return -1;
    if (ours && getenv("COUNTERSIGN_WRITES")) {
        int done = ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
        if (!done && !fstat(fd, &facts) && S_ISDIR(facts.st_mode)) log_names('D', path);
        else if (!done) log_op('S', fd, 0, NULL, 0);
        return done;
    }
    if (ours && told("fsync") && !strcmp(name, "fsync") && strstr(path, "-wal")) { errno = EIO; return -1; }
    if (ours && told("sync") && untell("sync")) {
        synced(fd, 1);
        errno = EIO;
        return -1;
    }
    return synced(fd, 0);
}

int fdatasync(int fd) { return sync_of("fdatasync", fd); }
int fsync(int fd) { return sync_of("fsync", fd); }

static ssize_t written(const char *name, int fd, const void *bytes, size_t count, long long at) {
    char path[PATH_MAX];
    int ours = is_ours(fd, path);
    if (ours && told("write")) {
        if (count < 2) { errno = ENOSPC; return -1; }
        count /= 2;
    }
    int error = ours || is_below(path) ? due(WRITES) : 0;
    if (error > 0) { errno = error; return -1; }
    if (error < 0 && count > 1) count /= 2;
    void *real = dlsym(RTLD_NEXT, name);
    long long from = at < 0 ? lseek(fd, 0, SEEK_CUR) : at;
    ssize_t done = at < 0 ? ((ssize_t (*)(int, const void *, size_t))real)(fd, bytes, count)
                          : ((ssize_t (*)(int, const void *, size_t, off_t))real)(fd, bytes, count, at);
    if (ours && done > 0) { note(path, bytes, done, from); log_op('W', fd, from, bytes, done); }
    return done;
}

ssize_t write(int fd, const void *bytes, size_t count) { return written("write", fd, bytes, count, -1); }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return written("pwrite", fd, bytes, count, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return written("pwrite64", fd, bytes, count, at); }

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *into, size_t count, unsigned flags) {
    char path[PATH_MAX];
    if (is_ours(to, path) && fails(WRITES)) return -1;
    return ((ssize_t (*)(int, off64_t *, int, off64_t *, size_t, unsigned))dlsym(RTLD_NEXT, "copy_file_range"))(
        from, at, to, into, count, flags);
}

static ssize_t seen(const char *name, int fd, void *bytes, size_t count, long long at) {
    char path[PATH_MAX];
    void *real = dlsym(RTLD_NEXT, name);
    if (told("read") && is_ours(fd, path)) { errno = EIO; return -1; }
    if (told("one-read") && is_ours(fd, path) && untell("one-read")) { errno = EIO; return -1; }
    if (getenv("COUNTERSIGN_FAULT") && is_ours(fd, path) && fails(READS)) return -1;
    return at < 0 ? ((ssize_t (*)(int, void *, size_t))real)(fd, bytes, count)
                  : ((ssize_t (*)(int, void *, size_t, off_t))real)(fd, bytes, count, at);
}

ssize_t read(int fd, void *bytes, size_t count) { return seen("read", fd, bytes, count, -1); }
ssize_t pread(int fd, void *bytes, size_t count, off_t at) { return seen("pread", fd, bytes, count, at); }
ssize_t pread64(int fd, void *bytes, size_t count, off64_t at) { return seen("pread64", fd, bytes, count, at); }

static int truncated(const char *name, int fd, off_t size) {
    int (*real)(int, off_t) = (int (*)(int, off_t))dlsym(RTLD_NEXT, name);
    char path[PATH_MAX];
    int ours = is_ours(fd, path);
    if (ours && fails(READS)) return -1;
    int done = real(fd, size);
    if (!done && ours) { note(path, NULL, 0, size); log_op('T', fd, size, NULL, 0); }
    return done;
}

int ftruncate(int fd, off_t size) { return truncated("ftruncate", fd, size); }
int ftruncate64(int fd, off64_t size) { return truncated("ftruncate64", fd, size); }

static int opened(const char *name, const char *path, int flags, mode_t mode) {
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
    const char *data = getenv("COUNTERSIGN_DATA"), *end = strrchr(path, '/');
    int is_vault = data && end && !strncmp(path, data, strlen(data)) && !strcmp(end, "/vault.db");
    if (is_vault && (flags & O_RDWR) && told("open") && untell("open")) { errno = EACCES; return -1; }
    if (!is_below(path)) return real(path, flags, mode);
    /* Only a new file needs room. */
    if (flags & O_CREAT && access(path, F_OK) ? fails(NAMES) : fails(READS)) return -1;
    if (!getenv("COUNTERSIGN_WRITES") || !(flags & O_CREAT)) return real(path, flags, mode);
    char head[64] = "";
    struct stat facts;
    /* Locked, so that no other process's write to the new file comes before it in the log. */
    int log = log_begin(), fd = real(path, flags | O_EXCL, mode), error = errno;
    if (fd >= 0 && !fstat(fd, &facts)) snprintf(head, sizeof head, "N %llu 0 0\n", (unsigned long long)facts.st_ino);
    log_end(log, head, NULL, 0);
    if (fd >= 0) log_parent(path);
    errno = error;
    return fd >= 0 || flags & O_EXCL ? fd : real(path, flags, mode);
}

#define MODE va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest)
int open(const char *path, int flags, ...) { MODE; return opened("open", path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE; return opened("open64", path, flags, mode); }

#define NAMING(parameters, name, arguments, path, kind)                                          \
    int name parameters {                                                                      \
        if (is_below(path) && fails(kind)) return -1;                                          \
        int done = ((int (*) parameters)dlsym(RTLD_NEXT, #name)) arguments;                    \
        if (!done) log_parent(path);                                                           \
        return done;                                                                           \
    }
NAMING((const char *path, mode_t mode), mkdir, (path, mode), path, NAMES)
NAMING((const char *from, const char *to), rename, (from, to), to, NAMES)
NAMING((const char *from, const char *to), link, (from, to), to, NAMES)
NAMING((const char *path), unlink, (path), path, READS)
