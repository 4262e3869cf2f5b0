// SPDX-License-Identifier: Apache-2.0
//
// Shared state through the segment of a shm-manager: see README.md, and index.d.ts for each call.
'use strict';
const { attach, manager, version, DEFAULT_KEY, Segment } = require('./lib/segment.js');
const { ShmError } = require('./lib/errors.js');
const { Raw } = require('./lib/raw.js');
const { Snapshot } = require('./lib/snapshot.js');
const { Slots } = require('./lib/slots.js');
const { Queue } = require('./lib/queue.js');

module.exports = {
    attach, manager, version, DEFAULT_KEY, ShmError, Segment, Raw, Snapshot, Slots, Queue,
};
