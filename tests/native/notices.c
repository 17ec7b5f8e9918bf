/* What the warden is told (native/serve.c): by the zygote, by a child and by the host, in any order and with any values in whole messages.
 *
 * Nobody may be signalled but the processes that the zygote named as children, and those have real numbers. */
#include "harness.h"

#include "../../src/groundrun/engine/native/serve.c"

int unnamed;

static int reading, telling; /* the zygote's line */
static int asking, answering; /* the host's */

static void set_up(void) {
    static struct policy a_policy;
    static struct guards some_guards;
    int ends[2];
    if (policy) return;
    CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends));
    reading = zygote_socket = ends[0];
    telling = ends[1];
    CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends));
    a_policy.control = answering = ends[0];
    asking = ends[1];
    a_policy.folder = "/nowhere";
    for (int i = 0; i < GROUPS; i++) some_guards.groups[i] = (struct standing){-1, -1, -1, -1, -1, -1, -1, -1, 0, 0};
    policy = &a_policy;
    guards = &some_guards;
}

static void drain(int fd) {
    char some[1024];
    while (recv(fd, some, sizeof some, MSG_DONTWAIT) > 0) {}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct run run;
    uint8_t kind;
    int line[2];
    set_up();
    memset(&run, 0, sizeof run);
    memset(allowed_victims, 0, sizeof allowed_victims);
    current = spare = nobody;
    zygote = 0;
    CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, line));
    current.asked = spare.asked = 1;
    current.serial = 1;
    spare.serial = 2;
    current.line = line[0];
    run.request.id = 7;
    run.deadline = ~0ull;
    while (size) {
        take(&kind, 1, &data, &size);
        if (kind % 3 == 0) {
            struct notice notice;
            take(&notice, sizeof notice, &data, &size);
            notice.value %= 4; /* a serial that is known, often enough */
            if (!send_message(telling, &notice, sizeof notice, NULL, 0)) ENDS(take_notice(kind & 64 ? &run : NULL));
            CHECK(current.child >= 0 && spare.child >= 0 && current.child != 1 && spare.child != 1);
            allowed_victims[0] = current.child;
            allowed_victims[1] = spare.child;
        } else if (kind % 3 == 1) {
            struct notice notice;
            take(&notice, sizeof notice, &data, &size);
            send_message(line[1], &notice, sizeof notice, NULL, 0);
            ENDS(take_last_word(&run));
            CHECK(strnlen(run.text, sizeof run.text) < sizeof run.text);
        } else {
            struct request request;
            take(&request, sizeof request, &data, &size);
            request.id = kind & 64 ? 7 : request.id;
            if (!send_message(asking, &request, sizeof request, NULL, 0)) ENDS(take_request_while_running(&run));
        }
        drain(asking);
        drain(telling);
        drain(reading);
    }
    close(line[0]);
    close(line[1]);
    return 0;
}
