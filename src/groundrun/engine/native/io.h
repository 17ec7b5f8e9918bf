/* Small things that every part of the warden needs: messages with descriptors, time, files, and how it gives up. */
#ifndef GROUNDRUN_IO_H
#define GROUNDRUN_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Send `size` bytes, their checksum, and descriptors; 0, or -1 with errno. Never raises SIGPIPE. */
int send_message(int fd, const void *data, size_t size, const int *fds, int count);
/* Receive one message of exactly `size` bytes. Returns the number of descriptors stored in fds (at most MAX_FDS), -1 with errno
 * (0 for the end of the stream, EPROTO for a message of another size or with a wrong checksum). Received descriptors are close-on-exec. */
int receive_message(int fd, void *data, size_t size, int *fds);
void close_all(int *fds, int count);
#define MILLISECOND 1000000u

uint64_t now_ns(void);
int timeout_ms(uint64_t until); /* from now on, for poll; a minute at most */
/* Write a text to a file; 0 or -1 with errno. */
int write_file(const char *path, const char *text);
int write_whole(int fd, const char *text); /* where it stands: proc files refuse positions */
int write_fd(int fd, const char *text);    /* at its start: standing control files */
/* Read a small file from its start through an open descriptor, NUL-terminated; length or -1. */
ssize_t read_fd(int fd, char *buffer, size_t size);
int open_pidfd(pid_t pid);
/* Tell the host what failed (with errno) and end this process. Set once by set_failure_socket. */
void set_failure_socket(int fd);
/* What else to do before ending: remove what the process made. */
void set_cleanup(void (*function)(void));
void fail(const char *what, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
