/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor: the kernel's own message queues, to which programs talk that know no sections yet: their
 * limits, what of these is in use, and queues that are full.
 */
#include "doctor.h"

#include <string.h>

#define TENTHS 9 /* of the queues that there may be, and then it is said */

static void look_at_limit(struct doctor *doctor, const struct shmc_sysv_info *info) {
    char remedy[128];
    if (info->message_bytes_max > info->queue_bytes_max) {
        snprintf(remedy, sizeof remedy, "sysctl -w kernel.msgmnb=%lu", info->message_bytes_max);
        found(doctor, REMARK, "kernel.msgmnb", remedy,
              "it is %lu, less than kernel.msgmax (%lu): whoever sends a longer message to a "
              "System V queue waits for ever",
              info->queue_bytes_max, info->message_bytes_max);
    }
    if (info->queues >= (uint64_t)info->queues_max * TENTHS / 10) {
        snprintf(remedy, sizeof remedy, "sysctl -w kernel.msgmni=%lu, or ipcrm -q what is not used",
                 info->queues_max * 2UL);
        found(doctor, REMARK, "kernel.msgmni", remedy,
              "%u System V queues of at most %u are in use", info->queues, info->queues_max);
    }
}

static void look_at_queue(struct doctor *doctor, int queue) {
    struct shmc_sysv_stat stat;
    char topic[48];
    if (shmc_sysv_queue_stat(queue, &stat) < 0 ||
        (stat.bytes < stat.bytes_max && stat.messages < stat.bytes_max))
        return;
    snprintf(topic, sizeof topic, "queue 0x%08x", stat.key);
    found(doctor, REMARK, topic, "does its receiver run? a raised kernel.msgmnb is for new queues",
          "System V queue %d is full: %lu messages, %lu bytes of at most %lu; process %d received "
          "last",
          queue, stat.messages, stat.bytes, stat.bytes_max, stat.last_receiver);
}

/* Of those that may be looked at; each is said, as there are as many as somebody made. */
static void look_at_each(struct doctor *doctor) {
    FILE *from = fopen("/proc/sysvipc/msg", "re");
    char line[512];
    int queue;
    while (from != NULL && fgets(line, sizeof line, from) != NULL)
        if (sscanf(line, "%*d %d", &queue) == 1)
            look_at_queue(doctor, queue);
    if (from != NULL)
        fclose(from);
}

void look_at_queues(struct doctor *doctor) {
    struct shmc_sysv_info info;
    const unsigned before = doctor->count[REMARK];
    if (shmc_sysv_queue_info(&info) < 0)
        return; /* a kernel without them */
    look_at_limit(doctor, &info);
    look_at_each(doctor);
    if (doctor->count[REMARK] == before)
        found(doctor, FINE, "System V queues", "",
              "%u of %u in use, %lu messages, %lu bytes; up to %lu bytes in one message, %lu in a "
              "queue",
              info.queues, info.queues_max, info.messages, info.bytes, info.message_bytes_max,
              info.queue_bytes_max);
}
