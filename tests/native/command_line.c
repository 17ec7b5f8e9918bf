/* parse (native/warden.c): any words are a policy or a refusal, and what is kept of them lies within its arrays. */
#include "harness.h"

#define main warden_main
#include "../../src/groundrun/engine/native/warden.c"
#undef main

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char text[1 << 16];
    static char *words[1 << 12];
    int count = 0;
    if (size >= sizeof text) return 0;
    memcpy(text, data, size);
    text[size] = 0;
    words[count++] = "warden";
    for (char *at = text; at < text + size && count < (1 << 12) - 1; at += strlen(at) + 1) words[count++] = at;
    words[count] = NULL;
    memset(&policy, 0, sizeof policy);
    ENDS(parse(count, words));
    set_failure_socket(-1);
    CHECK(policy.mount_count <= MAX_PATHS && policy.cgroup_count <= MAX_CGROUPS && policy.joined_count <= policy.cgroup_count);
    CHECK(policy.setting_count <= MAX_CGROUPS && policy.environment_count <= 63);
    for (int i = 0; i < policy.mount_count; i++) CHECK(policy.mounts[i].source && policy.mounts[i].target);
    for (int i = 0; i < policy.setting_count; i++) CHECK(policy.settings[i][0] && policy.settings[i][1]);
    return 0;
}
