# SPDX-License-Identifier: Apache-2.0
#
# Wrong types, wrong order, use after close, garbage collection in bad moments, fork, Ractors: none
# of it ends the process, or says less than an exception.
require "sysvmq"
require_relative "harness"

reader = ShmClient.attach(timeout: DEADLINE)
worker = ShmClient.attach(worker: "driver", timeout: DEADLINE)
runner = ShmClient.attach(worker: "job-runner", timeout: DEADLINE)
KERNEL = SysVMQ.new(0, 1024, 0o600)
OWNER = Process.pid
at_exit { KERNEL.destroy if Process.pid == OWNER }
worker["values"].publish("value")

JUNK = [nil, true, 0, 1, -1, 3, 2**31, 2**32, -2**40, 2**63, 2**64, 2**80, 0.5, -0.5, Float::NAN,
        Float::INFINITY, 1r, 1i, "", "x", "values", "a\0b", "\xff" * 100, :raw, [], ["x"], {},
        {a: 1}, Object.new, Class, $stdout].freeze
# What waits without end, or ends what the others use.
NOT_THESE = %i[each detach close destroy].freeze

# Calls with all sorts of arguments; returns how many calls were refused.
def pester(object, methods, random, rounds)
    refused = 0
    methods.each do |method|
        rounds.times do
            arguments = Array.new(random.rand(0..5)) { JUNK.sample(random: random) }
            options = [{}, {timeout: 0}, {timeout: 0, type: JUNK.sample(random: random)},
                       {JUNK.grep(Symbol).first => 1}].sample(random: random)
            begin
                made = Timeout.timeout(0.05) { object.__send__(method, *arguments, **options) {} }
                made.destroy if made.is_a?(SysVMQ)
            rescue StandardError, NoMemoryError, NotImplementedError
                refused += 1
            end
        end
    end
    refused
end

ok "arguments of all sorts" do
    random = Random.new(7)
    refused = 0
    objects = [reader, reader["values"], worker["values"], reader["plain"], worker["plain"],
               reader["board"], worker["board"], reader["jobs"], runner["jobs"],
               SysVMQ.new(0, 100, 0o600), SysVMQ.new("jobs")]
    objects.each do |object|
        methods = object.class.instance_methods(false) - NOT_THESE
        methods.concat(object.class.superclass.instance_methods(false) - NOT_THESE) if
            object.is_a?(ShmClient::Section)
        refused += pester(object, methods, random, 15)
    end
    # and behind what takes keywords apart
    bare = ShmClient::SysVQueue.new(0, 0, 0)
    [[reader, %i[_open]], [reader["values"], %i[_next]], [worker["board"], %i[_grab _fgrab _each]],
     [bare, %i[send receive set]]].each do |object, methods|
        refused += pester(object, methods, random, 40)
    end
    refused += pester(ShmClient, %i[_wait_any], random, 40)
    refused += pester(ShmClient::Segment, %i[new], random, 40)
    refused += pester(SysVMQ, %i[new], random, 40)
    refused += pester(ShmClient::Segment.allocate, %i[_attach _open _create info], random, 40)
    bare.remove
    objects[-2].destroy rescue nil # which IPC_RMID may have done
    worker["board"].each(in_use: true) { |slot| worker["board"].release(slot.index) }
    jobs = runner["jobs"]
    nil while jobs.receive(timeout: 0, exception: false)
    true! refused > 1000, "that #{refused} are many"
    true! reader["values"].next(timeout: 0), "the rest going on"
end
ok "wrong types say so" do
    [-> { reader[3] }, -> { reader[nil] }, -> { ShmClient.attach(worker: 3) },
     -> { ShmClient.attach(key: "1") }, -> { worker["values"].publish(nil) },
     -> { worker["values"].publish(3) }, -> { reader["values"].next(timeout: "1") },
     -> { worker["board"].put("0", "x") }, -> { worker["board"].get(nil) },
     -> { runner["jobs"].send(3) }, -> { runner["jobs"].send("x", type: "1") },
     -> { worker.create("x", size: "9") }].each { |call| raises(TypeError, &call) }
    [-> { ShmClient.attach(key: 2**32) }, -> { ShmClient.attach(key: -1) },
     -> { worker["board"].get(2**40) }, -> { runner["jobs"].send("x", type: 2**64) },
     -> { worker.create("x", size: -1) }].each { |call| raises(RangeError, &call) }
    [-> { reader["values\0"] }, -> { reader["values"].next(timeout: -1) },
     -> { reader["values"].next(timeout: Float::NAN) }, -> { ShmClient.attach(nonsense: 1) },
     -> { reader.open("values", kind: :heap) }, -> { worker.create("x", size: 1, kind: 3) },
     -> { ShmClient.attach(worker: "a", anonymous: true) },
     -> { worker.create("x", size: 1, sticky: true) }].each { |call| raises(ArgumentError, &call) }
end
ok "what converts is converted first, and may close what it is for" do
    section = worker["values"]
    evil = Object.new
    evil.define_singleton_method(:to_str) do
        section.close
        "evil"
    end
    raises(Errno::EBADF) { section.publish(evil) }
    section = worker["plain"]
    late = Object.new
    late.define_singleton_method(:to_int) do
        section.close
        0
    end
    raises(Errno::EBADF) { section.read(late) }
    section = worker["board"]
    raises(Errno::EBADF) { section.put(late, "x") }
end
ok "objects that nothing made" do
    raises(Errno::EBADF) { ShmClient::Segment.allocate.info }
    same nil, ShmClient::Segment.allocate.detach
    raises(Errno::EINVAL) { ShmClient::SysVQueue.allocate.send("x", 1, 0) }
    raises(TypeError) { ShmClient::Snapshot.allocate }
    raises(NoMethodError) { ShmClient::Snapshot.new }
    raises(TypeError) { ShmClient::View.allocate }
    raises(TypeError) { reader["values"].dup }
    raises(TypeError) { reader.dup }
    raises(TypeError) { Marshal.dump(reader) }
    raises(ArgumentError, /attached already/) { reader.__send__(:initialize) }
end
ok "use after close" do
    %w[values plain board jobs].each do |name|
        section = worker[name]
        section.close
        same nil, section.close
        methods = section.class.instance_methods(false) + %i[info to_io spin=] -
                  %i[about [] []= count map name]
        methods.each do |method|
            arity = section.method(method).arity
            arguments = [1, method == :put ? "x" : 1].first(arity.negative? ? -arity - 1 : arity)
            arguments = ["x"] if %i[publish write send <<].include?(method)
            raises(Errno::EBADF) { section.__send__(method, *arguments) {} }
        end
        same "#<#{section.class} #{name} closed>", section.inspect
    end
end
ok "use after detach" do
    segment = ShmClient.attach(timeout: DEADLINE)
    sections = %w[values plain board jobs].map { |name| segment[name] }
    io = sections[0].to_io
    segment.detach
    same nil, segment.detach
    raises(Errno::EBADF, /this attachment was detached/) { segment.info }
    raises(Errno::EBADF, /this attachment was detached/) { sections[0].read }
    raises(Errno::EBADF) { sections[0].next(timeout: DEADLINE) }
    raises(Errno::EBADF) { sections[0].view { |_| nil } }
    raises(Errno::EBADF) { sections[1].read }
    raises(Errno::EBADF) { sections[2].each { |_| nil } }
    raises(Errno::EBADF) { sections[3].receive }
    raises(Errno::EBADF) { ShmClient.wait_any(sections[0]) }
    sections.each(&:close)
    true! io.closed?
end

# ---- garbage collection

# A bit of everything.
def everything
    ShmClient.attach(timeout: DEADLINE) do |segment|
        values = segment["values"]
        values.read
        values.about
        values.next(timeout: 0, exception: false)
        values.view { |view| view.byteslice(0, 3) + view.to_s }
        (values.next(timeout: 0) rescue $!.message)
        segment.sections
        segment["board"].each { |slot| slot.to_h }
        segment["jobs"].lanes
        segment.open("plain").read(0, 100)
    end
    KERNEL.send("a message that is longer than an embedded string")
    KERNEL.send("short")
    2.times { KERNEL.receive }
    (KERNEL.receive(timeout: 0.001) rescue $!.message)
end

ok "with garbage collection at each step" do
    everything
    jobs = runner["jobs"]
    GC.stress = true
    everything
    jobs << "m" << "n"
    jobs.each(timeout: DEADLINE) { |_| break }
    jobs.receive(timeout: DEADLINE)
    (jobs.receive(timeout: 0.001) rescue $!.message)
ensure
    GC.stress = false
end
ok "and with all that can move having moved" do
    GC.verify_compaction_references(toward: :empty, double_heap: true)
    everything
    GC.auto_compact = true
    3.times do
        everything
        GC.compact
    end
rescue NotImplementedError
    puts "# this Ruby doesn't compact"
ensure
    GC.auto_compact = false
end
ok "a wait keeps what it waits with" do
    ready = Thread::Queue.new
    thread = Thread.new do
        ShmClient.attach(timeout: DEADLINE)["values"].tap(&:read).tap { ready << true }
                 .next(timeout: DEADLINE)
    end
    ready.pop
    await("the thread waits") { thread.stop? }
    10.times { GC.start && GC.compact }
    worker["values"].publish("still there")
    same "still there", thread.value
end
ok "a view keeps its section, where its block is never left" do
    view = ShmClient.attach(timeout: DEADLINE)["values"].enum_for(:view).next
    5.times { GC.start }
    same "still there", view.to_s
end
ok "an IO keeps its section" do
    io = ShmClient.attach(timeout: DEADLINE)["values"].tap(&:read).to_io
    5.times { GC.start }
    worker["values"].publish("kept")
    true! IO.select([io], nil, nil, DEADLINE)
end
ok "what nobody has any more is freed, in any order" do
    200.times do
        segment = ShmClient.attach(timeout: DEADLINE)
        segment["values"].read
        segment["jobs"].stat
    end
    GC.start
    true! Dir.children("/proc/self/fd").size < 100, "few descriptors being left"
end

# ---- fork

ok "a child is told, and may clean up" do
    section = worker["values"]
    section.publish("parent's")
    same "ECHILD " * 6, in_child {
        calls = [-> { section.publish("x") }, -> { section.read }, -> { section.next(timeout: 1) },
                 -> { worker.info }, -> { runner["jobs"] }, -> { section.view { |_| 1 } }]
        calls.map { |call|
            raises(Errno::ECHILD, /a child attaches for itself/, &call) && "ECHILD "
        }.join
    }
    same "parent's", in_child {
        section.close
        [worker, runner, reader].each(&:detach)
        3.times { GC.start }
        ShmClient.attach(timeout: DEADLINE)["values"].read
    }
    same "parent's", section.read
    section.publish("still its own")
    child = fork { GC.start } # and exit, with what is freed then
    same 0, Process.wait2(child)[1].exitstatus
    same "still its own", section.read
end
ok "a fork beside a thread that waits" do
    section = reader["values"]
    section.read
    thread = waiting { section.next(timeout: DEADLINE) }
    same "closed", in_child { section.close || reader.detach || GC.start || "closed" }
    worker["values"].publish("for the parent")
    same "for the parent", thread.value
end
ok "a fork in a view" do
    worker["values"].publish("in view")
    same "this view ended", (reader["values"].view do |view|
        in_child do
            reader.detach
            view.to_s
        rescue Errno::EBADF => e
            e.message[/this view ended/]
        end
    end)
end
ok "a child goes on behind the block in which it was forked, and in which it closed all" do
    [["values", :view, :close], ["values", :view, :detach], ["board", :each, :close],
     ["board", :each, :detach]].each do |name, method, ending|
        segment = ShmClient.attach(timeout: DEADLINE)
        section = segment[name]
        parent = Process.pid
        child = nil
        begin
            section.__send__(method) do
                next if child || Process.pid != parent

                child = fork
                (ending == :close ? section : segment).__send__(ending) unless child
            end
        rescue Errno::EBADF, Errno::ECHILD
            raise if Process.pid == parent
        end
        exit! 0 if Process.pid != parent
        same true, Process.wait2(child)[1].success?
        segment.detach
    end
end
ok "a process ends while its threads wait" do
    child = fork do
        segment = ShmClient.attach(timeout: DEADLINE)
        waiting { segment["values"].tap(&:read).next }
        waiting { KERNEL.receive }
        waiting { SysVMQ.new("jobs", worker: "job-runner", timeout: DEADLINE).receive }
    end
    same 0, Timeout.timeout(DEADLINE) { Process.wait2(child)[1].exitstatus }
end

# ---- Ractors

runner.detach # which one of them shall be
ok "Ractors attach for themselves" do
    Warning[:experimental] = false
    same [%w[in\ view in\ view], ["sent", nil]], [
        Array.new(2) { Ractor.new { ShmClient.attach(timeout: 60)["values"].read } }.map(&:take),
        Ractor.new do
            queue = SysVMQ.new(0, 100, 0o600)
            queue.send("sent")
            [queue.receive, queue.destroy]
        end.take
    ]
    same ["of all kinds", true, "status"], (Ractor.new do
        jobs = SysVMQ.new("jobs", worker: "job-runner", timeout: 60)
        jobs.send("of all kinds")
        seen = ShmClient.attach["values"]
        [jobs.receive, ShmClient.wait_any(seen, timeout: 60).equal?(seen),
         ShmClient.manager("status") && "status"].tap { jobs.close }
    end.take)
    raises(TypeError) { Ractor.new { Ractor.receive }.send(reader) }
    raises(Ractor::Error) { Ractor.make_shareable(reader) }
end
[worker, reader].each(&:detach)
