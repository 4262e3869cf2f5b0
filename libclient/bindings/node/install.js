// SPDX-License-Identifier: Apache-2.0
//
// Compiles the addon, with the C compiler and the library that this machine has: $CC (cc) and
// $CFLAGS, and what pkg-config says of shmclient.  Nothing is downloaded: Node-API's headers come
// with the package node-api-headers, or with Node.js itself.
'use strict';
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

function fail(message) {
    console.error(`shmclient: ${message}`);
    process.exit(1);
}

function run(what, command, args, remedy) {
    const { error, status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
    if (error) fail(`${what}: ${command} can't be run (${error.code}): ${remedy}`);
    if (status !== 0) fail(`${what}: ${command} failed: ${remedy}; it says:\n${stdout}${stderr}`);
    return stdout;
}

function headers() {
    const beside = path.join(path.dirname(process.execPath), '..', 'include', 'node');
    try {
        return require('node-api-headers').include_dir;
    } catch {
        if (fs.existsSync(path.join(beside, 'node_api.h'))) return beside;
    }
    return fail("there is no node_api.h: 'npm install node-api-headers' beside this package brings it");
}

const words = (text) => text.split(/\s+/).filter((word) => word !== '');
const flags = words(
    run('the library', 'pkg-config', ['--cflags', '--libs', 'shmclient >= 0.1', 'shmcompat >= 0.1'],
        'install pkg-config and shm-manager, and if its prefix is none of the system\'s, set ' +
        'PKG_CONFIG_PATH to its lib/pkgconfig'));
const sources = path.join(__dirname, 'src');
const build = path.join(__dirname, 'build');
const made = path.join(build, `.shmclient.${process.pid}.node`);
fs.mkdirSync(build, { recursive: true });
run('the addon', process.env.CC || 'cc',
    ['-std=gnu17', '-O2', '-Wall', '-Wextra', '-fPIC', '-shared', '-fvisibility=hidden', '-pthread',
        // its threads may outlive the JavaScript that began them
        '-Wl,-z,nodelete', '-I', headers(), ...words(process.env.CFLAGS || ''),
        ...fs.readdirSync(sources).filter((name) => name.endsWith('.c'))
            .map((name) => path.join(sources, name)),
        '-o', made, ...flags],
    'a C compiler with its headers (gcc and libc6-dev), by the name of cc or $CC, makes it of ' +
    'the headers of Node-API and libshmclient');
fs.renameSync(made, path.join(build, 'shmclient.node'));
