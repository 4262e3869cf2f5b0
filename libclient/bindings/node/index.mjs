// SPDX-License-Identifier: Apache-2.0
import shmclient from './index.js';

export const {
    attach, manager, version, DEFAULT_KEY, ShmError, Segment, Raw, Snapshot, Slots, Queue,
} = shmclient;
export default shmclient;
