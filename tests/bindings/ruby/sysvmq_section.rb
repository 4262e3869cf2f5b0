# SPDX-License-Identifier: Apache-2.0
#
# SysVMQ over a section of kind queue.
require "sysvmq"
require_relative "harness"

jobs = SysVMQ.new("jobs")

ok "as over a queue of the kernel's" do
    message = "Hellø Wårld!"
    true! jobs.send(message).equal?(message)
    same 1, jobs.stats[:count]
    same message.bytesize, jobs.stats[:size]
    same message, jobs.receive.force_encoding("UTF-8")
    raises(Errno::ENOMSG, /section 'jobs': no such message waits/) do
        jobs.receive(0, SysVMQ::IPC_NOWAIT)
    end
    raises(Errno::ETIMEDOUT) { jobs.receive(timeout: 0.01) }
    [["10", 10], ["5", 5]].each { |text, type| jobs.send(text, type) }
    same "5", jobs.receive(-7)
    same "10", jobs.receive(type: 10, blocking: false)
    [["a", 1], ["b", 2]].each { |text, type| jobs.send(text, type: type) }
    same "b", jobs.receive(1, SysVMQ::MSG_COPY)
    same "b", jobs.receive(type: 1, except: true)
    same "a", jobs.receive(:front)
end
ok "it is told from a key by its arguments" do
    raises(TypeError) { SysVMQ.new("jobs", 1024, SysVMQ::IPC_CREAT) }
    raises(TypeError) { jobs.receive("1") }
    raises(TypeError) { jobs.send(3) }
    raises(RangeError) { jobs.send("x", 2**63) }
    raises(Errno::EMSGSIZE) { jobs.send("x" * 40_000) }
    raises(Errno::ENOENT, /no section 'none'/) { SysVMQ.new("none") }
    raises(Errno::EPROTOTYPE) { SysVMQ.new("values") }
    raises(Errno::EINVAL) { jobs.send("x", 0) }
end
ok "stats and limits" do
    same [65_536 * 8, 8], jobs.stats.values_at(:maximum_size, :lanes)
    same 32_768, jobs.stats(SysVMQ::IPC_INFO)[:maximum_message_size]
    raises(Errno::EPERM, /shmtool table edit/) { jobs.set(maximum_size: 1) }
    raises(Errno::EACCES) { jobs.destroy }
end
ok "select wakes" do
    raises(Errno::ENOMSG) { jobs.receive(blocking: false) }
    jobs.to_io
    quiet(jobs) { raises(Errno::ENOMSG) { jobs.receive(blocking: false) } }
    jobs.send("x")
    same [[jobs], [], []], IO.select([jobs], nil, nil, DEADLINE)
    same "x", jobs.receive(blocking: false)
    quiet(jobs) { raises(Errno::ENOMSG) { jobs.receive(blocking: false) } }
end
ok "a wait ends, and threads share the object" do
    raises(Timeout::Error) { Timeout.timeout(0.05) { jobs.receive } }
    thread = waiting { jobs.receive }
    raises(Errno::EBUSY, /another thread/) { jobs.close }
    jobs.send("for it")
    same "for it", thread.value
    got = Thread::Queue.new
    takers = Array.new(3) { Thread.new { 100.times { got << jobs.receive } } }
    senders = Array.new(3) { |i| Thread.new { 100.times { |n| jobs.send("#{i} #{n}") } } }
    (takers + senders).each { |each| true! each.join(DEADLINE), "its end" }
    same 300, Array.new(got.size) { got.pop }.uniq.size
end
ok "interruptions leave it whole" do
    interrupted(0.6) do
        jobs.send("x", blocking: false)
        2.times { jobs.receive(blocking: false) } # one that an interruption left, too
    rescue Errno::ENOMSG
        next
    end
    jobs.receive while jobs.stats[:count] > 0
    jobs.close
    same "y", jobs.send("y") && jobs.receive
end
ok "a child attaches for itself, and sends by the same object" do
    same "sent", in_child { jobs.send("from the child") && "sent" }
    same "from the child", jobs.receive(timeout: DEADLINE)
    true! in_child { jobs.receive(timeout: 0) }.include?("is held by process #{Process.pid}")
end
ok "close gives the lease up, and it is taken again" do
    jobs.close
    other = SysVMQ.new("jobs", worker: "job-runner")
    same "y", other.send("y") && other.receive
    other.close
    same "z", jobs.send("z") && jobs.receive
end
ok "over a segment that is attached" do
    raises(ArgumentError) { SysVMQ.new("jobs", worker: "a", segment: ShmClient.attach) }
    segment = ShmClient.attach(worker: "driver", timeout: DEADLINE)
    segment.create("mine", kind: :queue, size: 8192, count: 4)
    mine = SysVMQ.new("mine", segment: segment)
    same "over it", mine.send("over it") && mine.receive
    mine.destroy
    raises(Errno::ENOENT) { segment["mine"] }
    segment.detach
end
jobs.close
