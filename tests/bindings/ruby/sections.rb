# SPDX-License-Identifier: Apache-2.0
#
# Attaching, snapshot and raw sections, slots, and how they wait.
require "shmclient"
require_relative "harness"

reader = ShmClient.attach(timeout: DEADLINE)
worker = ShmClient.attach(worker: "driver", timeout: DEADLINE)
temps = worker["values"]
seen = reader["values"]

ok "a section without a value says so" do
    raises(Errno::ENODATA, /section 'values': nothing was published yet/) { seen.read }
    same 0, seen.about.version
    same :alive, seen.about.writer
end
ok "what is published is read, as binary" do
    same temps, temps.publish("a\0\xff".b)
    same "a\0\xff".b, seen.read
    same Encoding::BINARY, seen.read.encoding
    same 1, seen.about.version
    same 3, seen.about.length
    true! (Time.now - seen.about.time).abs < 3600, "its time"
    true! seen.about.age >= 0, "its age"
    same false, seen.about.stale?
    true! seen.about.frozen?
end
ok "and an empty value, and the largest" do
    same "", temps.publish("") && seen.read
    same 10_000, (temps.publish("x" * 10_000) && seen.read).size
    raises(Errno::EMSGSIZE, /a value of 10001 bytes/) { temps.publish("x" * 10_001) }
end
ok "next gives each once, follow all that are there" do
    reader.open("values") do |section|
        section.read
        same nil, section.next(timeout: 0, exception: false)
        same nil, section.next(timeout: 0.01, exception: false)
        raises(Errno::EAGAIN, /nothing newer/) { section.next(timeout: 0) }
        raises(Errno::ETIMEDOUT, /newer than version 3 came in 150 ms/) do
            section.next(timeout: 0.15)
        end
        3.times { |i| temps.publish(i.to_s) }
        same "2", section.next(timeout: DEADLINE)
        same 2, section.about.missed
        3.times { |i| temps.publish(i.to_s) }
        same %w[0 1 2], Array.new(3) { section.follow(timeout: DEADLINE) }
    end
end
ok "a value that became stale is said to be, once" do
    aging = worker["aging"]
    aging.publish("soon old")
    section = reader["aging"]
    section.read
    raises(Errno::ETIME, /older than the 20 ms of its stale_ms/) do
        section.next(timeout: DEADLINE)
    end
    true! section.about.stale?
    raises(Errno::ETIMEDOUT) { section.next(timeout: 0.01) }
end
ok "each yields value and what is known of it" do
    seen.read
    found = []
    temps.publish("first")
    seen.each do |value, about|
        found << [value, about.version]
        break if found.size == 3

        temps.publish("more")
    end
    same %w[first more more], found.map(&:first)
    same found.map(&:last).minmax.then { |a, b| (a..b).to_a }, found.map(&:last)
    temps.publish("lazy")
    same ["lazy"], seen.each(every: true).first(1).map(&:first)
end
ok "a view is in place, in bounds, and over behind its block" do
    temps.publish("0123456789")
    kept = nil
    same ["10", 48, nil, "89", nil, "0123456789"], (seen.view do |view|
        kept = view
        raises(Errno::EBUSY, /a view of it is open/) { seen.read }
        raises(Errno::EBUSY) { seen.close }
        raises(Errno::EBUSY) { reader.detach }
        [view.size.to_s, view.getbyte(0), view.getbyte(10), view.byteslice(8, 9),
         view.byteslice(11, 1), view.to_s]
    end)
    raises(Errno::EBADF, /this view ended/) { kept.to_s }
    raises(RangeError) { seen.view { |view| view.getbyte(-1) } }
    same :left, (seen.view { |_| break :left })
    raises(RuntimeError) { seen.view { raise "out" } }
    same "0123456789", seen.read
end
ok "a view whose writer comes round is shown again" do
    rounds = 0
    same "the newest", (seen.view do |view|
        rounds += 1
        8.times { temps.publish("the newest") } if rounds == 1
        view.to_s
    end)
    same 2, rounds
end
ok "a raw section is bytes at an offset" do
    plain = worker["plain"]
    same 5000, plain.size
    same 5, plain.write("hello", 4995)
    same "hello", reader["plain"].read(4995)
    same "ell", reader["plain"].read(4996, 3)
    same 5000, reader["plain"].read.size
    same "", reader["plain"].read(5000)
    raises(Errno::EINVAL) { reader["plain"].read(4999, 2) }
    raises(Errno::EINVAL) { reader["plain"].read(5001) }
    raises(Errno::EINVAL) { plain.write("xx", 4999) }
    raises(Errno::EACCES, /this process is a reader/) { reader["plain"].write("x") }
end

ok "readers publish nothing, and a second holder is told of the first" do
    raises(Errno::EACCES, /belongs to worker 'driver'/) { seen.publish("x") }
    raises(Errno::EBUSY, /worker 'driver' is held by process #{Process.pid}/) do
        attach_within(0.1, worker: "driver")
    end
    raises(Errno::ENOENT, /no worker 'nobody'/) { ShmClient.attach(worker: "nobody") }
    raises(Errno::ENOENT, /no section 'none'/) { reader["none"] }
    raises(Errno::EPROTOTYPE) { reader.open("values", kind: :queue) }
    raises(Errno::EPROTOTYPE) { reader.open("values", min_size: 10_001) }
    raises(Errno::EPROTOTYPE) { reader.open("values", format: "other/1") }
    same "values", reader.open("values", kind: :snapshot, format: "values/1", min_size: 10_000).name
    raises(Errno::ENOENT) { ShmClient.attach(key: 0x7fff0001) }
end
ok "looking around" do
    same %w[aging board jobs plain temps values], reader.sections.map(&:name)
    same [:snapshot, "driver", 10_000],
         reader.section("values").to_h.values_at(:kind, :owner, :size)
    same :alive, reader.worker("driver").state
    same Process.pid, reader.worker("driver").pid
    true! reader.info.manager_alive?
    same Integer(ENV.fetch("SHMC_KEY")), reader.info.key
    same "values", temps.info.name
    same true, temps.info.own?
    true! reader.attachments.is_a?(Array)
    true! ShmClient.manager("status").key?("manager")
    raises(Errno::EINVAL) { ShmClient.manager("nonsense") }
end
ok "sections are made and dropped at run time" do
    worker.create("mine", size: 100, kind: :snapshot, format: "mine/1", transient: true)
    worker["mine"].publish("made")
    same "made", reader["mine"].read
    held = reader["mine"]
    raises(Errno::EEXIST) { worker.create("mine", size: 100, exclusive: true) }
    worker.drop("mine")
    raises(Errno::EIDRM) { held.read }
    raises(Errno::EACCES) { reader.create("mine", size: 100) }
end

# ---- waits

ok "other threads run while one waits" do
    temps.publish("before")
    seen.read
    thread = waiting { seen.next(timeout: DEADLINE) }
    raises(Errno::EBUSY, /another thread is in a call/) { seen.read }
    raises(Errno::EBUSY) { seen.close }
    raises(Errno::EBUSY, /another thread/) { reader.detach }
    temps.publish("after")
    same "after", thread.value
    same "after", seen.read
end
ok "Timeout ends a wait" do
    raises(Timeout::Error) { Timeout.timeout(0.05) { seen.next } }
end
ok "Thread#kill ends it" do
    thread = waiting { seen.next }
    thread.kill
    true! thread.join(DEADLINE), "its end"
end
ok "Thread#raise ends it" do
    thread = waiting { seen.next }
    thread.raise(IOError, "enough")
    raises(IOError, /enough/) { thread.value }
end
ok "a signal's trap runs in it, and it goes on" do
    trapping(-> { temps.publish("from the trap") }) do
        same "from the trap", seen.next(timeout: DEADLINE)
    end
end
ok "a trap that closes the section ends it" do
    section = reader["values"]
    section.read
    trapping(-> { section.close }) do
        raises(Errno::EBADF, /this section was closed/) { section.next(timeout: DEADLINE) }
    end
end
ok "where interrupts are put off, the value comes first" do
    temps.publish("old")
    seen.read
    thread = waiting do
        Thread.handle_interrupt(IOError => :never) { seen.next(timeout: DEADLINE) }
    end
    thread.raise(IOError, "later")
    temps.publish("new")
    raises(IOError, /later/) { thread.value }
    same "new", seen.read
end
ok "an attach waits for the worker to come free, and can be ended" do
    raises(Timeout::Error) do
        Timeout.timeout(0.05) { ShmClient.attach(worker: "driver", timeout: nil) }
    end
    thread = waiting { ShmClient.attach(worker: "driver", timeout: DEADLINE) }
    worker.detach
    worker = thread.value
    temps = worker["values"]
    temps.publish("the next holder")
    same "the next holder", seen.read
end
ok "select wakes, and next clears it" do
    seen.read
    io = seen.to_io
    true! io.equal?(seen.to_io)
    quiet(seen) { same nil, seen.next(timeout: 0, exception: false) }
    temps.publish("selected")
    same [[seen], [], []], IO.select([seen], nil, nil, DEADLINE)
    same "selected", seen.next(timeout: 0)
    quiet(seen) { same nil, seen.next(timeout: 0, exception: false) }
end
ok "the IO ends with its section, and no other file" do
    section = reader["values"]
    io = section.to_io
    io.close
    raises(IOError) { IO.select([section], nil, nil, 0) }
    section.close
    other = reader["values"]
    io = other.to_io
    other.close
    true! io.closed?
end
ok "wait_any names the one that has news" do
    plain = reader["values"]
    plain.read
    seen.read
    same nil, ShmClient.wait_any(plain, seen, timeout: 0)
    thread = waiting { ShmClient.wait_any([plain, seen], timeout: DEADLINE) }
    raises(Errno::EBUSY) { plain.read }
    temps.publish("any")
    true! [plain, seen].include?(thread.value)
    plain.read
    seen.read
    raises(Timeout::Error) { Timeout.timeout(0.05) { ShmClient.wait_any(plain, seen) } }
    raises(ArgumentError) { ShmClient.wait_any }
    raises(TypeError) { ShmClient.wait_any(3) }
    plain.close
    raises(Errno::EBADF) { ShmClient.wait_any(plain, seen, timeout: 0) }
end

# ---- slots

ok "slots are grabbed, put, got and released" do
    writer = ShmClient.attach(anonymous: true, timeout: DEADLINE)
    board = writer["board"]
    shown = reader["board"]
    same [8, 8, 100], [board.num_slots, board.num_free, board.slot_size]
    same 0, board.grab
    raises(Errno::ENODATA) { board.get(0) }
    board.put(0, "first")
    same "first", shown.get(0)
    board[3] = "fourth"
    same "fourth", shown[3]
    same [0, 3], shown.each(in_use: true).map(&:index)
    same 8, shown.count
    slot = shown.slot(3)
    same [3, Process.pid, true, true, 6], slot.to_h.values_at(:index, :pid, :in_use, :held, :length)
    same false, shown.slot(5).in_use?
    same 7, board.fgrab(7, stays: true)
    true! board.slot(7).stays?
    ticket = board.offer(0)
    same 0, board.take(0, ticket)
    raises(Errno::EINVAL) { board.take(0, 1) }
    raises(Errno::ESTALE) { board.take(0, ticket) }
    raises(Errno::EBUSY, /held by/) { worker["board"].put(3, "mine") }
    raises(Errno::EACCES) { shown.grab }
    raises(Errno::EMSGSIZE) { board.put(0, "x" * 101) }
    raises(Errno::EINVAL) { board.get(8) }
    raises(Errno::EINVAL) { board.slot(-1) }
    raises(Errno::ENOENT) { board.release(5) }
    [0, 3, 7].each { |index| board.release(index) }
    same 8, Array.new(8) { board.grab }.uniq.size
    raises(Errno::ENOSPC) { board.grab }
    writer.detach
    await("they come free with their holder") { shown.num_free == 8 }
end
ok "each is left in all ways" do
    board = reader["board"]
    same 2, board.each { |slot| break slot.index if slot.index == 2 }
    raises(RuntimeError, /out/) { board.each { raise "out" } }
    same :thrown, catch(:it) { board.each { throw :it, :thrown } }
    same 0, board.each.next.index # in a Fiber that nobody resumes
    same [0] * 8, board.map { board.each(in_use: true).to_a.size }
    same board, board.each { board.close }
end
[temps, seen].each(&:close)
[worker, reader].each(&:detach)
