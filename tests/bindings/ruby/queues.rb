# SPDX-License-Identifier: Apache-2.0
#
# Queue sections.
require "shmclient"
require_relative "harness"

sender = ShmClient.attach(anonymous: true, timeout: DEADLINE)
receiver = ShmClient.attach(worker: "job-runner", timeout: DEADLINE)
into = sender["jobs"]
out = receiver["jobs"]

ok "messages come in their order, with what is known of them" do
    same true, into.send("one")
    into << "two" << "three\0"
    same "one", out.receive
    same [1, 3, 1, Process.pid], out.about.to_h.values_at(:type, :length, :id, :pid)
    same %w[two three] + [], [out.receive, out.receive.chomp("\0")]
    same Encoding::BINARY, (into << "é") && out.receive.encoding
    same "", (into << "") && out.receive
end
ok "by type" do
    [[5, "five"], [2, "two"], [9, "nine"], [2, "deux"]].each do |type, data|
        into.send(data, type: type)
    end
    same "nine", out.receive(type: 9)
    same 9, out.about.type
    same "two", out.receive(type: -5)
    same "five", out.receive(type: 2, except: true)
    same "deux", out.receive
    raises(Errno::EINVAL) { into.send("x", type: 0) }
    raises(Errno::EINVAL) { out.receive(type: -1, except: true) }
end
ok "nothing comes" do
    same nil, out.receive(timeout: 0, exception: false)
    same nil, out.receive(timeout: 0.02, exception: false)
    raises(Errno::EAGAIN) { out.receive(timeout: 0) }
    raises(Errno::ETIMEDOUT) { out.receive(timeout: 0.02) }
end
ok "what is longer than was ever seen comes whole" do
    long = Random.bytes(30_000)
    into.send(long)
    true! out.receive == long
    raises(Errno::EMSGSIZE) { into.send("x" * 40_000) }
end
ok "no room" do
    data = "x" * 20_000
    sent = 0
    sent += 1 while into.send(data, timeout: 0, exception: false)
    true! sent >= 2, "some were sent"
    raises(Errno::EAGAIN) { into.send(data, timeout: 0) }
    raises(Errno::ETIMEDOUT) { into.send(data, timeout: 0.02) }
    thread = waiting { into.send(data, timeout: DEADLINE) }
    same 20_000, out.receive.size
    same true, thread.value
    sent.times { same 20_000, out.receive.size }
end
ok "a waiting receiver is woken" do
    thread = waiting { out.receive(timeout: DEADLINE) }
    raises(Errno::EBUSY) { out.receive }
    into << "awake"
    same "awake", thread.value
end
ok "Timeout, Thread#kill and traps end or pass through a receive" do
    raises(Timeout::Error) { Timeout.timeout(0.05) { out.receive } }
    thread = waiting { out.receive }
    thread.kill
    true! thread.join(DEADLINE), "its end"
    trapping(-> { into << "from the trap" }) do
        same "from the trap", out.receive(timeout: DEADLINE)
    end
end
ok "no message is lost to interruptions" do
    got = []
    stop = false
    taker = Thread.new do
        until stop && got.size == 500
            begin
                Thread.handle_interrupt(Timeout::Error => :never) do
                    Timeout.timeout(0.001) do
                        message = out.receive(timeout: 0.01, exception: false)
                        got << message.to_i if message
                    end
                end
            rescue Timeout::Error
                next
            end
        end
    end
    500.times { |i| into << i.to_s }
    stop = true
    true! taker.join(DEADLINE), "its end"
    same (0...500).to_a, got
end
ok "peek, ack and abandon" do
    into << "job"
    same "job", out.peek
    raises(Errno::EBUSY) { out.peek(timeout: 0) }
    out.abandon
    same "job", out.peek
    true! out.about.redelivered?
    out.ack
    raises(Errno::EINVAL, /nothing is peeked/) { out.ack }
    same nil, out.peek(timeout: 0, exception: false)
end
ok "each acknowledges, and gives back what failed" do
    into << "a" << "b" << "c"
    done = []
    raises(RuntimeError, /on b/) do
        out.each(timeout: DEADLINE) do |job, about|
            raise "on b" if job == "b" && !about.redelivered?

            done << job
        end
    end
    out.each do |job, _about|
        done << job
        break if job == "b"
    end
    same %w[a b], done
    same %w[b], [out.receive(timeout: 0)] # a break gives it back, too
    same %w[c], [out.receive(timeout: 0)]
end
ok "what an interruption ends leaves nothing peeked, and takes nothing from who is careful" do
    sent = got = 0
    done = false
    feeder = Thread.new do
        until done
            sent += 1 if into.send("x", timeout: 0, exception: false)
            sleep 0.0001
        end
    end
    interrupted(0.4) do
        Thread.handle_interrupt(Cut => :on_blocking) { out.receive(timeout: DEADLINE) && got += 1 }
    end
    interrupted(0.4) { out.each(timeout: DEADLINE) { |_| got += 1 } }
    done = true
    feeder.join
    got += 1 while out.receive(timeout: 0, exception: false)
    true! got >= sent, "that each of #{sent} came, in #{got}"
end
ok "looking and counting" do
    into << "x" << "yy"
    shown = ShmClient.attach["jobs"]
    same %w[x yy], [shown.look(0), shown.look(1)]
    same nil, shown.look(2)
    same [2, 3], shown.stat.to_h.values_at(:messages, :bytes)
    same 8, shown.lanes.size
    same 1, shown.lanes.count(&:held?)
    raises(Errno::EACCES) { shown.receive(timeout: 0) }
    raises(Errno::EACCES) { shown.send("x") }
    2.times { out.receive }
end
ok "select wakes a receiver, and a sender when there is room" do
    out.receive(timeout: 0, exception: false)
    out.to_io
    quiet(out) { same nil, out.receive(timeout: 0, exception: false) }
    into << "selected"
    true! IO.select([out], nil, nil, DEADLINE)
    same "selected", out.receive(timeout: 0)
    quiet(out) { same nil, out.receive(timeout: 0, exception: false) }
    into.to_io
    nil while into.send("x" * 20_000, timeout: 0, exception: false)
    quiet(into) { same nil, into.send("x" * 20_000, timeout: 0, exception: false) }
    out.receive
    true! IO.select([into], nil, nil, DEADLINE)
    nil while out.receive(timeout: 0, exception: false)
end
ok "closing gives back what was peeked" do
    into << "back"
    out.peek
    out.close
    out = receiver["jobs"]
    same "back", out.receive(timeout: DEADLINE)
end
[into, out].each(&:close)
[sender, receiver].each(&:detach)
