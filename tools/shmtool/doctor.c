/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor: goes through what usually stands between a user and a working segment, and says of each
 * whether it is right, and what to do when it isn't.
 */
#include "doctor.h"

#include <stdarg.h>
#include <string.h>

static const char *const finding_names[] = {"ok", "note", "WRONG", "fixed"};

static void print_finding(enum finding finding, const char *topic, const char *remedy,
                          const char *text) {
    static const enum paint paints[] = {GREEN, YELLOW, RED, GREEN};
    printf("%s%-5s%s  %s: %s\n", paint_on(paints[finding]), finding_names[finding], paint_off(),
           topic, text);
    if (*remedy)
        printf("       do: %s\n", remedy);
}

void found(struct doctor *doctor, enum finding finding, const char *topic, const char *remedy,
           const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    doctor->count[finding]++;
    if (doctor->tool->json)
        json_array_append_new(doctor->findings,
                              json_pack("{s:s, s:s, s:o, s:o}", "finding", finding_names[finding],
                                        "topic", topic, "text", json_text(text), "remedy",
                                        *remedy ? json_text(remedy) : json_null()));
    else
        print_finding(finding, topic, remedy, text);
}

static void look_at_manager(struct doctor *doctor) {
    char error[512];
    int r = ask_quietly(doctor->tool, "status", &doctor->status, error, sizeof error);
    const json_t *status = doctor->status;
    if (r < 0 || !field_true(status, NULL, "ok")) {
        json_decref(doctor->status);
        doctor->status = NULL;
        found(doctor, WRONG, "manager",
              "systemctl start shm-manager, or by hand: shm-manager "
              "--state-dir DIR --runtime-dir DIR",
              "%s", error);
        return;
    }
    found(doctor, FINE, "manager", "", "pid %lu%s serves key %s, generation %lu",
          field_number(status, "manager", "pid"),
          shares_pids(status) ? "" : " (of another PID namespace)",
          field_text(status, "segment", "key"), field_number(status, NULL, "generation"));
    if (strcmp(field_text(status, "table", "outcome"), "pending") == 0)
        found(doctor, REMARK, "table in force",
              "wait, or take it away now: shmtool reload --force, or go back: shmtool table revert",
              "an edit is pending: %s", field_text(status, "table", "error"));
    else if (strcmp(field_text(status, "table", "outcome"), "applied") != 0)
        found(doctor, WRONG, "table in force",
              "mend the row and shmtool reload, or go back: shmtool table revert",
              "%s: %s; the last good one runs", field_text(status, "table", "outcome"),
              field_text(status, "table", "error"));
    else if (field_true(status, "table", "differs"))
        found(doctor, REMARK, "table in force", "shmtool diff; shmtool reload",
              "it was edited since, and that is not applied");
    if (field_true(status, "segment", "removed"))
        found(doctor, WRONG, "segment", "restart the manager",
              "somebody removed it (ipcrm); who is attached is told so, and nobody new can come");
    if (field_number(status, "counters", "repairs") > 0)
        found(doctor, REMARK, "header", "journalctl -u shm-manager names who was near",
              "somebody wrote into it %lu times since the manager started; it was mended",
              field_number(status, "counters", "repairs"));
}

int verb_doctor(const struct tool *tool) {
    struct doctor doctor = {.tool = tool,
                            .key = chosen_key(tool),
                            .runtime_dir = chosen_runtime_dir(tool),
                            .findings = json_array()};
    look_at_manager(&doctor);
    int code = table_path(tool, doctor.table_path);
    if (code == TOOL_OK) {
        look_at_runtime(&doctor);
        look_at_table(&doctor);
        look_at_kernel(&doctor);
        look_at_queues(&doctor);
        look_at_limits(&doctor);
        look_at_groups(&doctor);
        look_at_segment(&doctor);
        look_at_orphans(&doctor);
        code = doctor.count[WRONG] > 0 ? TOOL_NO : TOOL_OK;
        if (tool->json)
            print_json(json_pack("{s:b, s:i, s:i, s:O}", "ok", code == TOOL_OK, "wrong",
                                 (int)doctor.count[WRONG], "fixed", (int)doctor.count[FIXED],
                                 "findings", doctor.findings));
        else
            printf("%u wrong, %u fixed, %u to note, %u fine\n", doctor.count[WRONG],
                   doctor.count[FIXED], doctor.count[REMARK], doctor.count[FINE]);
    }
    table_clear(&doctor.table);
    json_decref(doctor.findings);
    json_decref(doctor.status);
    return code;
}
