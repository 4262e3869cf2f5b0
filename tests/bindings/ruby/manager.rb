# SPDX-License-Identifier: Apache-2.0
#
# Whose manager dies, comes back, and destroys the segment: the script says when, on a line each,
# and gets "ok" when all was as it must be.
require "sysvmq"
require_relative "harness"

reader = ShmClient.attach(timeout: DEADLINE)
worker = ShmClient.attach(worker: "driver", timeout: DEADLINE)
out = worker["values"]
seen = reader["values"]
jobs = SysVMQ.new("jobs", timeout: DEADLINE)
thread = nil

STEPS = {
    "serve" => lambda do
        out.publish("served")
        same "served", seen.read
        jobs.send("job") && jobs.receive
        thread = waiting { seen.next(timeout: DEADLINE) }
    end,
    "grown" => lambda do
        out.publish("g" * 50_000)
        same "g" * 50_000, thread.value
        same "g" * 50_000, seen.view(&:to_s)
        thread = waiting { seen.next(timeout: DEADLINE) }
    end,
    "without" => lambda do
        out.publish("without it")
        same "without it", thread.value
        same "job", jobs.send("job") && jobs.receive
        if ENV["SHM_TEST_BACKEND"] == "memfd" # where attaching takes a manager
            raises(Errno::ENOTCONN) { ShmClient.attach }
        else
            same "without it", ShmClient.attach["values"].read
        end
        raises(Errno::ENOTCONN, /no manager answers/) { ShmClient.attach(worker: "temp-driver") }
        raises(Errno::ENOTCONN) { ShmClient.manager("status") }
        raises(Errno::ENOTCONN) { worker.create("more", size: 10) }
        await("that is seen") { !reader.info.manager_alive? }
        thread = waiting { ShmClient.attach(worker: "temp-driver", timeout: DEADLINE) }
    end,
    "again" => lambda do
        thread.value.detach
        out.publish("again")
        same "again", seen.next(timeout: DEADLINE)
        thread = waiting { seen.next(timeout: DEADLINE) }
    end,
    "revoked" => lambda do
        raises(Errno::EKEYREVOKED) { out.publish("to nobody") }
        same "again", reader["values"].read
    end,
    "destroyed" => lambda do
        raises(Errno::EIDRM) { thread.value }
        raises(Errno::EIDRM) { seen.read }
        raises(SystemCallError) { out.publish("to nobody") }
        raises(Errno::EIDRM) { jobs.send("to nobody") }
        raises(SystemCallError) { ShmClient.attach }
        seen.close
        [reader, worker, jobs].each { |each| each.respond_to?(:detach) ? each.detach : each.close }
    end
}.freeze

$stdout.sync = true
$stdin.each_line(chomp: true) do |step|
    STEPS.fetch(step).call
    puts "ok"
rescue Exception => e
    puts e.full_message(highlight: false).tr("\n", " ")
end
