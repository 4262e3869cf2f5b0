#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Programs that used nodejs-shm: the example of its README with another require line, and each call.
optimise=-O0 # its addon is built by the other test as users have it
. "$(dirname "$0")/node.sh"

sed "s|'./build/Release/shm'|'shmclient/nodejs-shm'|" nodejs_shm_example.js >example.cjs
one_line() { [ "$(diff nodejs_shm_example.js example.cjs | grep -c '^>')" = 1 ]; }
ok "one line of the example is another" one_line
cat >expected <<'EOF'
opened shmkey: 1236  shmid: ID
writing '1234567890', written: 10
readed(HEXA): 31323334353637383930
waiting 10 secs to detach and close
detatch retval: 1
close retval: 1
EOF
example() {
    timeout 60 node --no-deprecation -r ./nodejs_shm_around.cjs example.cjs >example.log 2>&1
    sed 's/ shmid: [1-9][0-9]*$/ shmid: ID/; /^opened/,$!d' example.log | diff - expected ||
        { cat example.log; return 1; }
}
ok "the example of its README" example
ok "each of its calls" run nodejs_shm.test.cjs "$SHMC_KEY"

readme() {
    readme_programs
    diff <(timeout 60 node plain.cjs 2>&1) <(printf 'written: 10\nread: 1234567890\n1 1\n')
}
ok "and that of ours" readme

first() {
    unshare --ipc timeout 60 node -e '
        const shm = require("shmclient/nodejs-shm"), shmid = shm.openSHM(1, "n", 0o600, 10);
        console.log(shmid, shm.sizeSHM(shmid), shm.deleteSHM(shmid), shm.closeSHM(shmid));'
}
if unshare --ipc true 2>/dev/null; then # where the first segment has the identifier 0
    ok "the identifier 0 is no failure" diff <(first) <(echo 4294967296 10 1 1)
fi

php_writes() { php -r "\$b = shmop_open($SHMC_KEY, 'c', 0600, 100); shmop_write(\$b, 'from PHP', 50);"; }
node_answers() {
    timeout 60 node -e 'const shm = require("shmclient/nodejs-shm"), key = Number(process.argv[1]);
        const shmid = shm.openSHM(key, "w", 0, 0);
        console.log(shm.sizeSHM(shmid), shm.readSHM(shmid, 50, 8).toString());
        shm.writeSHM(shmid, Buffer.from("from Node"), 0, 9);' "$SHMC_KEY"
}
php_reads() { php -r "\$b = shmop_open($SHMC_KEY, 'a', 0, 0); echo shmop_read(\$b, 0, 9); shmop_delete(\$b);"; }
beside_php() {
    php_writes && diff <(node_answers) <(echo 100 from PHP) && [ "$(php_reads)" = "from Node" ]
}
if php -r 'exit(extension_loaded("shmop") ? 0 : 1);' 2>/dev/null; then
    ok "beside PHP's shmop" beside_php
fi
