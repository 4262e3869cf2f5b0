#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test_systemd_events.sh on the other backend.
# Usage: test_systemd_events_memfd.sh BUILD-DIRECTORY
SHM_BACKEND=memfd exec "$(dirname "$0")/test_systemd_events.sh" "$@"
