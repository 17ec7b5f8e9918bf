/* Faults on purpose, for tests of what happens then: killed processes, late, lost, doubled and garbled messages, refused steps.
 *
 * Only a build with GROUNDRUN_FAULTS has them (setup.py build_native --define); elsewhere every line of this file is nothing. Such a build
 * reads which fault is wanted from the file `plan` beside the warden, which the test shares with every process of the jail. Points are named
 * after what happens there: "send notice.ended", "receive order", "run.over". */
#ifndef GROUNDRUN_FAULT_H
#define GROUNDRUN_FAULT_H

#define PLAN_FD 63

enum fault_effect { FAULT_NOTHING, FAULT_SKIP, FAULT_TWICE, FAULT_SHORT, FAULT_FAILS };

#ifdef GROUNDRUN_FAULTS
#include <stddef.h>

#define FAULTS 1
void fault_open(int fd);                  /* share the plan: the file beside the warden when fd is -1, else what start_zygote handed on */
void fault_hand_on(void);                 /* leave the plan open for the zygote, at PLAN_FD */
int fault_at(const char *point);          /* 1, with errno set, when the step is to fail */
enum fault_effect fault_of_message(const char *verb, int fd, void *data, size_t size);
#define FAULT(point) fault_at(point)
#else
#define FAULTS 0
#define fault_open(fd) ((void)0)
#define fault_hand_on() ((void)0)
#define fault_of_message(verb, fd, data, size) FAULT_NOTHING
#define FAULT(point) 0
#endif

#endif
