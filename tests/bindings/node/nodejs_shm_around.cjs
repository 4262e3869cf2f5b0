// SPDX-License-Identifier: Apache-2.0
//
// What the example of nodejs-shm's README needs around it: the helper that is in its test.js alone,
// and a clock by which ten seconds are soon over.
'use strict';
global.buff2hex = (buffer) => [...buffer].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const later = global.setTimeout;
global.setTimeout = (callback, ms, ...rest) => later(callback, ms / 1000, ...rest);
