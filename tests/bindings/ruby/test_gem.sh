#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The Ruby binding, from the tree to a gem that is installed, and what it does there.
# shellcheck source=tests/interop/harness.sh disable=SC2016 # Ruby's variables
. "$(dirname "$0")/../../interop/harness.sh"
here=$source_dir/tests/bindings/ruby
ruby -r rbconfig -e 'exit File.exist?("#{RbConfig::CONFIG["rubyhdrdir"]}/ruby.h")' 2>"$work/ruby" ||
    { echo "no Ruby with its headers here"; exit 77; }
install_tree

export GEM_HOME=$work/gems GEM_PATH=$work/gems
cp -r "$source_dir/libclient/bindings/ruby" "$work/gem"
cd "$work/gem"
build_gem() { gem build --output "$work/shmclient.gem" shmclient.gemspec >"$work/gem.log" 2>&1; }
ok "the gem is built from the tree" build_gem
cd "$work"
install_gem() {
    gem install --local --no-document shmclient.gem -- --with-cflags='-O2 -Werror' >gem.log 2>&1 ||
        { cat gem.log; find gems -name mkmf.log -exec cat {} +; return 1; }
}
ok "and installed" install_gem
make_segment() {
    start_manager && edit_table <<'SQL'
INSERT INTO worker(name, may_create) VALUES('driver', 1000000);
INSERT INTO section(name, owner, size, format) VALUES('values', 'driver', 10000, 'values/1');
INSERT INTO section(name, owner, size, stale_ms) VALUES('aging', 'driver', 100, 20);
INSERT INTO section(name, owner, kind, size) VALUES('plain', 'driver', 'raw', 5000);
INSERT INTO section(name, owner, kind, size, count) VALUES('board', 'driver', 'slots', 100, 8);
INSERT INTO section(name, owner, size) VALUES('temps', 'temp-driver', 65536);
INSERT INTO section(name, owner, kind, size, count) VALUES('jobs', 'job-runner', 'queue', 65536, 8);
SQL
}
make_segment
run() { timeout -k 5 200 ruby -w "$here/$1.rb"; }
ok "sections and slots" run sections
ok "queues" run queues
ok "SysVMQ over the kernel" run sysvmq
ok "SysVMQ over a section" run sysvmq_section
ok "whatever is done to it" run robust
ok "nothing leaks" run leaks

# ---- README, and sysvmq's

awk '/^```/ { file = "" } /^```ruby$/ { getline; file = $2; sub(/:$/, "", file) }
    file != "" { print > file }' "$source_dir/libclient/bindings/ruby/README.md"
ruby -w worker.rb &
worker=$!
children+=("$worker")
ok "README's worker publishes" await 60 shmtool get temps
echo '$stdout.sync = true' >sync.rb
timeout -k 5 100 ruby -w -r ./sync reader.rb >shown &
reader=$!
children+=("$reader")
ok "and its reader shows it" await 60 \
    grep -qE '^version [0-9]+: [0-9]+\.[0-9], 21\.0 \([0-9]+ missed\)$' shown
{ kill -9 "$worker" && wait "$worker"; } 2>/dev/null || :
ok "and that it is gone" wait "$reader"
ok "and says so" grep -q "newer than version .* in 3000 ms; does its owner run? The writer is gone" shown
sed -i "s/0xDEADC0DE/$SHMC_KEY ^ 0x77/" queue.rb
ok "README's queue" says 0 '^"sweep"$' timeout -k 5 60 ruby -w queue.rb
ok "README's section" says 0 '^"wash"$' timeout -k 5 60 ruby -w section.rb

coproc talk { exec timeout -k 5 200 ruby -w "$here/manager.rb"; }
children+=("$!")
ok "under a manager all is served" answers serve ok
edit_table <<<"UPDATE section SET size = 50000 WHERE name = 'values'"
ok "a section that grows is followed" answers grown ok
end_manager KILL
ok "when it is killed, its clients go on" answers without ok
start_manager
ok "and with the next one" answers again ok
shmtool revoke driver >revoked.log
ok "a lease that is taken back is said to be" answers revoked ok
shmtool destroy --yes >destroyed.log
wait "$manager" || :
manager=''
ok "and are told when the segment is destroyed" answers destroyed ok
