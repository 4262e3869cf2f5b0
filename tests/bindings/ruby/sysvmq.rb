# SPDX-License-Identifier: Apache-2.0
#
# SysVMQ over the kernel's queues, as the sysvmq gem has it: what its own tests ask for, its README,
# and what its list of things to do asks for.  Over a section the same.
require "sysvmq"
require_relative "harness"

KEY = Integer(ENV.fetch("SHMC_KEY")) ^ 0x55 # no other segment's or queue's
CREATE = SysVMQ::IPC_CREAT | 0o666
queue = SysVMQ.new(KEY, 1024, CREATE)
at_exit { queue.destroy rescue nil }

# ---- what the gem does

ok "constants" do
    same [0o1000, 0o2000, 0o4000, 0, 1, 2, 3],
         %w[IPC_CREAT IPC_EXCL IPC_NOWAIT IPC_RMID IPC_SET IPC_STAT IPC_INFO].map { |name|
             SysVMQ.const_get(name)
         }
end
ok "a message goes and comes, and is returned by send" do
    message = "Hello World"
    true! queue.send(message).equal?(message)
    same message, queue.receive
end
ok "messages are counted" do
    same 0, queue.stats[:count]
    queue.send("test")
    same 1, queue.stats[:count]
    queue.send("test")
    same 2, queue.stats[:count]
    2.times { queue.receive }
end
ok "bytes are counted, not letters" do
    queue.send("ø" * 5)
    same 10, queue.stats[:size]
    same "ø" * 5, queue.receive.force_encoding("UTF-8")
    true! queue.stats[:maximum_size] >= 16_384
end
ok "what comes is binary, zeros and all" do
    queue.send("a\0b\xff")
    got = queue.receive
    same "a\0b\xff".b, got
    same Encoding::BINARY, got.encoding
    same "", queue.send("") && queue.receive
end
ok "types: this one, the lowest up to, all" do
    [["10", 10], ["5", 5], ["7", 7], ["first", 5]].each { |text, type| queue.send(text, type) }
    same "5", queue.receive(5)
    same "first", queue.receive(-7)
    same "7", queue.receive(-7)
    same "10", queue.receive
end
ok "IPC_NOWAIT" do
    raises(Errno::ENOMSG, /no such message waits/) { queue.receive(0, SysVMQ::IPC_NOWAIT) }
    same "now", queue.send("now", 1, SysVMQ::IPC_NOWAIT) && queue.receive(0, SysVMQ::IPC_NOWAIT)
    raises(Errno::EAGAIN, /no room/) do
        loop { queue.send("x" * 1024, 1, SysVMQ::IPC_NOWAIT) }
    end
    queue.receive while queue.stats[:count] > 0
end
ok "several queues, of several buffers" do
    other = SysVMQ.new(KEY + 1, 2048, CREATE)
    other.send("B" * 2048)
    raises(ArgumentError, /2049 bytes is larger than the buffer of 2048/) { other.send("B" * 2049) }
    same 2048, other.receive.size
    other.destroy
    raises(Errno::EINVAL, /was removed/) { other.receive }
    raises(Errno::EINVAL) { other.send("x") }
    raises(Errno::EINVAL) { other.stats }
    raises(Errno::EINVAL) { other.destroy }
end
ok "a message that is longer than the buffer stays" do
    small = SysVMQ.new(KEY, 4, 0o600)
    queue.send("longer")
    raises(Errno::E2BIG, /larger buffer/) { small.receive }
    same "longer", queue.receive
end
ok "opening" do
    raises(Errno::ENOENT, /there is none/) { SysVMQ.new(KEY + 2, 10, 0o666) }
    raises(Errno::EEXIST, /there is one/) { SysVMQ.new(KEY, 10, CREATE | SysVMQ::IPC_EXCL) }
    same "both", queue.send("both") && SysVMQ.new(KEY - 2**32, 100, 0).receive if KEY >= 2**31
    private = SysVMQ.new(0, 100, 0o600)
    same 0, private.stats[:count]
    private.stats(SysVMQ::IPC_RMID)
end
ok "Integer arguments only" do
    ["0xDEADC0DE", nil, 1.0, :key].each do |key|
        raises(TypeError) { SysVMQ.new(key, 1024, CREATE) }
    end
    ["1024", nil, 1.5].each { |size| raises(TypeError) { SysVMQ.new(KEY, size, CREATE) } }
    raises(TypeError) { SysVMQ.new(KEY, 1024, "0666") }
    raises(TypeError) { queue.send("x", "1") }
    raises(TypeError) { queue.send("x", nil) }
    raises(TypeError) { queue.send("x", 1, 2.0) }
    raises(TypeError) { queue.receive("1") }
    raises(TypeError) { queue.receive(0, nil) }
    raises(TypeError) { queue.stats(:all) }
    [1, nil, :x, Object.new].each { |message| raises(TypeError) { queue.send(message) } }
    same 0, queue.stats[:count]
end
ok "and in range" do
    [2**32, -2**31 - 1, 2**64, 2**70].each do |key|
        raises(RangeError) { SysVMQ.new(key, 9, CREATE) }
    end
    raises(RangeError) { queue.send("x", 2**63) }
    raises(RangeError) { queue.receive(-2**63 - 1) }
    raises(RangeError) { queue.receive(0, 2**31) }
    raises(ArgumentError) { SysVMQ.new(KEY, -1, CREATE) }
    raises(Errno::EINVAL) { queue.send("x", 0) }
    raises(Errno::EINVAL) { queue.send("x", -1) }
    raises(ArgumentError) { queue.send }
    raises(ArgumentError) { queue.send("x", 1, 0, 0) }
    raises(ArgumentError) { queue.receive(0, 0, 0) }
    raises(ArgumentError) { SysVMQ.new(KEY) }
    raises(ArgumentError) { SysVMQ.new(KEY, 10) }
    raises(ArgumentError) { SysVMQ.new(KEY, 10, CREATE, worker: "x") }
end

# The usage that the gem's README shows, statement by statement.
def usage(key)
    mq = SysVMQ.new(key, 1024, SysVMQ::IPC_CREAT | 0o666)
    mq.send "Gr\u00fc\u00dfe!"
    same 1, mq.stats[:count]
    same "Gr\u00fc\u00dfe!", mq.receive.force_encoding("UTF-8")
    mq.receive(0, SysVMQ::IPC_NOWAIT)
ensure
    mq.destroy
end

ok "its README's usage" do
    raises(Errno::ENOMSG) { usage(KEY + 3) }
    raises(Errno::ENOENT) { SysVMQ.new(KEY + 3, 1024, 0) }
end

# ---- waits

ok "Timeout, Thread#kill and Thread#raise end a wait; other threads run meanwhile" do
    raises(Timeout::Error) { Timeout.timeout(0.05) { queue.receive } }
    thread = waiting { queue.receive }
    thread.kill
    true! thread.join(DEADLINE), "its end"
    thread = waiting { queue.receive }
    thread.raise(IOError)
    raises(IOError) { thread.value }
    thread = waiting { queue.receive }
    queue.send("for it")
    same "for it", thread.value
end
ok "so they do a send's" do
    nil while (queue.send("x" * 1000, 1, SysVMQ::IPC_NOWAIT) rescue nil)
    raises(Timeout::Error) { Timeout.timeout(0.05) { queue.send("x" * 1000) } }
    thread = waiting { queue.send("last") }
    queue.receive
    same "last", thread.value
    queue.receive while queue.stats[:count] > 0
end
ok "a trap runs in a wait, which goes on" do
    trapping(-> { queue.send("trapped") }) { same "trapped", queue.receive }
end
ok "SIGINT ends it" do
    ready, tell = IO.pipe
    child = fork do
        Thread.new do
            await("the main thread waits") { Thread.main.stop? }
            tell.write("x")
        end
        queue.receive
    rescue Interrupt
        exit! 3
    end
    ready.read(1)
    Process.kill("INT", child)
    same 3, Process.wait2(child)[1].exitstatus
end
ok "a queue that is removed ends it" do
    other = SysVMQ.new(KEY + 1, 100, CREATE)
    thread = waiting { other.receive }
    other.destroy
    raises(Errno::EIDRM) { thread.value }
end
ok "children of fork use the object" do
    same "child", in_child { queue.send("child") } && queue.receive
end
ok "any number of threads do" do
    got = Thread::Queue.new
    takers = Array.new(4) { Thread.new { 250.times { got << queue.receive } } }
    senders = Array.new(4) { |i| Thread.new { 250.times { |n| queue.send("#{i} #{n}" * 9) } } }
    (takers + senders).each { |thread| true! thread.join(DEADLINE), "its end" }
    same 1000, Array.new(got.size) { got.pop }.uniq.size
end

# ---- what its list of things to do asks for

ok "names instead of flags" do
    [["one", 1], ["three", 3]].each { |text, type| queue.send(text, type: type) }
    same "three", queue.receive(type: 3, blocking: false)
    same "one", queue.receive(:front, blocking: false)
    raises(Errno::ENOMSG) { queue.receive(:front, blocking: false) }
    raises(Errno::ETIMEDOUT) { queue.receive(timeout: 0.01) }
    raises(TypeError) { queue.receive(:back) }
    raises(ArgumentError) { queue.receive(kind: 3) }
    queue.send("long one", type: 2)
    queue.send("short", type: 4, blocking: false, timeout: 1)
    same "short", queue.receive(type: 2, except: true)
    same "long", SysVMQ.new(KEY, 4, 0).receive(truncate: true)
    same 0, queue.stats[:count]
end
ok "all of IPC_STAT" do
    queue.send("x")
    stats = queue.stats(SysVMQ::IPC_STAT)
    same %i[count maximum_size size key mode uid gid creator_uid creator_gid sequence
            last_sender last_receiver sent received changed], stats.keys
    same [KEY, 0o666, Process.pid, Process.euid], stats.values_at(:key, :mode, :last_sender, :uid)
    true! stats[:sent].is_a?(Time)
    queue.receive
end
ok "IPC_INFO and IPC_SET" do
    info = queue.stats(SysVMQ::IPC_INFO)
    same Integer(File.read("/proc/sys/kernel/msgmax")), info[:maximum_message_size]
    same Integer(File.read("/proc/sys/kernel/msgmnb")), info[:maximum_queue_size]
    true! info[:queues] >= 1
    same [0o600, 5000], queue.set(mode: 0o600, maximum_size: 5000).values_at(:mode, :maximum_size)
    same 0o640, queue.stats(SysVMQ::IPC_SET, mode: 0o640)[:mode]
    raises(Errno::EMSGSIZE, /maximum_size/) { SysVMQ.new(KEY, 9999, 0).send("x" * 5001) }
    raises(TypeError) { queue.set(mode: "600") }
    [{mode: -1}, {mode: 0o1000}, {uid: -1}, {gid: 2**32}, {maximum_size: -1}].each do |settings|
        raises(RangeError) { queue.set(**settings) }
    end
    raises(ArgumentError) { queue.stats(SysVMQ::IPC_STAT, mode: 0) }
    raises(ArgumentError) { queue.set(owner: 3) }
    queue.set(mode: 0o666, maximum_size: 16_384)
end
ok "a look at a message that stays" do
    %w[a b].each { |text| queue.send(text) }
    begin
        same "b", queue.receive(1, SysVMQ::MSG_COPY | SysVMQ::IPC_NOWAIT)
    rescue Errno::ENOSYS
        puts "# this kernel can't"
    end
    same %w[a b], [queue.receive, queue.receive]
end
ok "a queue of the kernel's has nothing to select on" do
    raises(TypeError, /no descriptor to select on/) { IO.select([queue], nil, nil, 0) }
    same nil, queue.close
end
queue.destroy
