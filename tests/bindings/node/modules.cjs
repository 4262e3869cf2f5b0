// SPDX-License-Identifier: Apache-2.0
'use strict';
const assert = require('node:assert/strict');
const shmclient = require('shmclient');

import('shmclient').then((module) => {
    const { default: whole, ...named } = module;
    assert.equal(whole, shmclient);
    assert.deepEqual({ ...named }, { ...shmclient });
    assert.match(shmclient.version, /^\d+\.\d+\.\d+$/);
});
