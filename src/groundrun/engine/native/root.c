/* The root that programs see: an empty tmpfs with read-only binds of the runtime, four devices, a place for the slot.
 * Built in a private mount namespace, then pivoted into; the old root is gone from it afterwards. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io.h"
#include "warden.h"
#include "weak.h"

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#define BASE "/tmp" /* any folder that exists: it is covered only in our own mount namespace, and only until the pivot */

#define COPIED_BYTES (256 << 10)

struct attributes { uint64_t set, clear, propagation, userns; };

static void make_parents(const char *path, int whole) {
    char text[4096];
    snprintf(text, sizeof text, "%s", path);
    for (char *at = text + 1; *at; at++)
        if (*at == '/') {
            *at = 0;
            if (mkdir(text, 0755) && errno != EEXIST && errno != EROFS) fail("making %s", text);
            *at = '/';
        }
    if (whole && mkdir(text, 0755) && errno != EEXIST && errno != EROFS) fail("making %s", text);
}

static void lock_down(const char *path, int devices) {
    struct attributes wanted = {.set = 1 /* RDONLY */ | 2 /* NOSUID */ | (devices ? 0 : 4 /* NODEV */)};
    if (!GUARD("read-only-root")) return;
    if (!syscall(SYS_mount_setattr, AT_FDCWD, path, AT_RECURSIVE, &wanted, sizeof wanted)) return;
    if (errno != ENOSYS) fail("making %s read-only", path);
    unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | (devices ? 0 : MS_NODEV);
    if (mount(NULL, path, NULL, flags, NULL)) fail("making %s read-only", path);
}

/* Small files are copied: every mount is copied again for every slot. */
static int copy_small(const char *source, const struct stat *what, const char *target) {
    static char content[COPIED_BYTES];
    if (!S_ISREG(what->st_mode) || what->st_size > (off_t)sizeof content) return 0;
    int in = open(source, O_RDONLY | O_CLOEXEC), out = open(target, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    ssize_t size = in < 0 ? -1 : read(in, content, sizeof content);
    if (out < 0 || size != what->st_size || write(out, content, (size_t)size) != size) fail("copying %s", source + strlen("/old"));
    close(in);
    close(out);
    return 1;
}

static void bind(const char *from, const char *to, int devices) {
    char source[4200], target[4200];
    struct stat what;
    snprintf(source, sizeof source, "/old%s", from);
    snprintf(target, sizeof target, "/new%s", to);
    if (stat(source, &what)) fail("reading %s", from);
    make_parents(target, S_ISDIR(what.st_mode));
    if (!devices && copy_small(source, &what, target)) return;
    if (!S_ISDIR(what.st_mode)) {
        int fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        if (fd < 0) fail("making %s", to);
        close(fd);
    }
    if (mount(source, target, NULL, MS_BIND | MS_REC, NULL)) fail("binding %s", from);
    lock_down(target, devices);
}

static void place_file(const char *content, const char *to) {
    char target[4200];
    snprintf(target, sizeof target, "/new%s", to);
    make_parents(target, 0);
    int fd = open(target, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0 || write_fd(fd, content)) fail("writing %s", to);
    close(fd);
}

static void place_symlink(const char *text, const char *to) {
    char target[4200];
    snprintf(target, sizeof target, "/new%s", to);
    make_parents(target, 0);
    if (symlink(text, target) && errno != EEXIST) fail("linking %s", to);
}

static void hide(const char *path) {
    char target[4200];
    snprintf(target, sizeof target, "/new%s", path);
    if (mount("/new/run/empty", target, NULL, MS_BIND, NULL)) fail("hiding %s", path);
}

void build_root(const struct policy *policy) {
    static const char *const devices[] = {"null", "zero", "full", "random", "urandom"};
    char path[64];
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) fail("making the mount namespace private");
    if (mount("groundrun", BASE, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755")) fail("mounting a tmpfs");
    if (chdir(BASE) || mkdir("new", 0755) || mkdir("old", 0755)) fail("preparing the new root");
    if (syscall(SYS_pivot_root, ".", "old")) fail("entering the new root");
    if (chdir("/") || mount("groundrun", "/new", "tmpfs", MS_NOSUID | MS_NODEV, "size=4m,mode=0755")) fail("mounting the root");
    make_parents("/new/run/slot", 1);
    make_parents("/new/run/empty", 1);
    if (policy->processes_shown) make_parents("/new/proc", 1);
    for (int i = 0; i < policy->mount_count; i++) {
        const struct mount_entry *entry = &policy->mounts[i];
        switch (entry->kind) {
            case MOUNT_BIND: bind(entry->source, entry->target, 0); break;
            case MOUNT_SYMLINK: place_symlink(entry->source, entry->target); break;
            case MOUNT_FILE: place_file(entry->source, entry->target); break;
            case MOUNT_HIDE: hide(entry->target); break;
        }
    }
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        snprintf(path, sizeof path, "/dev/%s", devices[i]);
        bind(path, path, 1);
    }
    place_symlink(SLOT "/tmp", "/tmp");
    place_symlink(SLOT "/shm", "/dev/shm");
    lock_down("/new", 1);
    if (umount2("/old", MNT_DETACH)) fail("leaving the old root");
    if (chdir("/new") || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/")) fail("settling in the new root");
}
