// SPDX-License-Identifier: Apache-2.0
//
// A worker in JavaScript that reads two sections and writes another: from each list of alerts
// (watcher.c), and the machine's state as it is then (system.c), it makes a line for people, and
// publishes it in JSON (format "notice/1").
//
// The section: shmtool table add notice notice 4K format=notice/1
import { attach } from 'shmclient';

function line(host, found) {
    if (found.length === 0) return `${host} is well`;
    return `${host}: ${found.map(({ text }) => text).join('; ')}`;
}

try {
    const segment = await attach({ worker: 'notice', timeout: 10000 });
    const system = segment.open('system', { kind: 'snapshot', format: 'system/1' });
    const alerts = segment.open('alerts', { kind: 'snapshot', format: 'alerts/1' });
    const mine = segment.open('notice', { kind: 'snapshot' });
    for await (const { data, version, missed } of alerts) {
        const found = JSON.parse(data).alerts;
        const state = system.read();
        mine.publish(JSON.stringify({
            format: 'notice/1', pid: process.pid, version, missed, stale: state.stale,
            text: line(JSON.parse(state.data).host, found).slice(0, 1000),
        }));
    }
} catch (error) {
    console.error(`notice[${process.pid}]: ${error.message}`);
    process.exitCode = 1;
}
