# SPDX-License-Identifier: Apache-2.0
#
# 100,000 times each of what programs do all day, and memory, descriptors, threads and mappings stay
# as they are.
require "sysvmq"
require_relative "harness"

TIMES = 100_000
MOST = 40 # bytes that an operation may leave, on the average

reader = ShmClient.attach(timeout: DEADLINE)
worker = ShmClient.attach(worker: "driver", timeout: DEADLINE)
runner = ShmClient.attach(worker: "job-runner", timeout: DEADLINE)
out = worker["values"]
seen = reader["values"]
board = worker["board"]
jobs = runner["jobs"]
kernel = SysVMQ.new(0, 1024, 0o600)
data = "x" * 2000
board.grab

KINDS = {
    "publish_and_read" => -> { out.publish(data) && seen.read },
    "next" => -> { out.publish(data) && seen.next(timeout: 0) && seen.about },
    "nothing" => -> { seen.next(timeout: 0, exception: false) },
    "view" => -> { seen.view(&:size) },
    "slot" => -> { board.put(0, "y" * 90) && board.get(0) },
    "queue" => -> { jobs.send("z" * 200) && jobs.receive(timeout: nil) && jobs.about },
    "sysv" => -> { kernel.send("w" * 200) && kernel.receive }
}.freeze
# What takes longer is done less often.
RARE = {
    "error" => -> { seen.next(timeout: 0) rescue nil },
    "open" => -> { reader.open("values", &:read) },
    "info" => -> { reader.sections && reader.worker("driver") && board.each { |_| nil } },
    "attach" => -> { ShmClient.attach { |segment| segment["values"].read } }
}.freeze

def resident
    3.times { GC.start }
    File.read("/proc/self/status")[/RssAnon:\s+(\d+)/, 1].to_i * 1024
end

def held
    shared = File.foreach("/proc/self/maps").count { |line| line.split[1].end_with?("s") }
    [Dir.children("/proc/self/fd").size, Dir.children("/proc/self/task").size, shared]
end

# Memory that was fetched to be kept for later is fetched once; what leaks grows each round.
def left_by(times, call)
    before = nil
    5.times do |round|
        times.times { call.call }
        after = resident
        grown = [after - before, 0].max.fdiv(times) if round.positive?
        return grown if round == 4 || (round.positive? && grown <= MOST)

        before = after
    end
end

held_before = (KINDS.values + RARE.values).each(&:call) && held
left = KINDS.transform_values { |call| left_by(TIMES, call) }
left_by_rare = RARE.transform_values { |call| left_by(TIMES / 10, call) }
left.merge(left_by_rare).each do |name, bytes|
    raise "#{name}: each leaves #{bytes.round(1)} bytes" if bytes > MOST
end
raise "descriptors, threads, mappings: #{held}, before #{held_before}" if held != held_before

puts "figure: bindings.ruby.leak_operations #{TIMES} operations",
     "figure: bindings.ruby.leak_bytes #{left.values.max.round(1)} bytes"
kernel.destroy
