# SPDX-License-Identifier: Apache-2.0
#
# What publish and read take in Ruby: by the binding, and by what is there without it, a process that
# keeps the value, and is told and asked for it through a Unix socket.
#
#     bench.rb ROUNDS OPERATIONS: prints for each round "SIZE CALL OURS THEIRS", in nanoseconds
require "socket"

rounds, operations = ARGV.map(&:to_i)

# "p" and a length and a value: keep it; "g": give it; "s": say when you are here.
def keep(socket)
    value = ""
    while (what = socket.read(1))
        case what
        when "p" then value = socket.read(socket.read(4).unpack1("N"))
        when "g" then socket.write([value.bytesize].pack("N"), value)
        when "s" then socket.write("s")
        end
    end
end

here, there = UNIXSocket.pair
keeper = fork do
    here.close
    keep(there)
    exit!(0)
end
there.close
require "shmclient"

def timed(operations, values = [nil, nil], finish = nil)
    start = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
    operations.times { |i| yield values[i & 1] }
    finish&.call
    (Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond) - start) / operations.to_f
end

put = ->(value) { here.write("p", [value.bytesize].pack("N"), value) }
arrived = -> { here.write("s") && here.read(1) }
get = -> { here.write("g") && here.read(here.read(4).unpack1("N")) }

writer = ShmClient.attach(worker: "bench", timeout: 60)
reader = ShmClient.attach
[64, 10240, 65536].each do |size|
    values = ["\1".b * size, "\2".b * size]
    ours = writer["v#{size}"]
    seen = reader["v#{size}"]
    last = values[operations - 1 & 1]
    rounds.times do
        puts "#{size} publish #{timed(operations, values) { |value| ours.publish(value) }} " \
             "#{timed(operations, values, arrived) { |value| put.call(value) }}"
        puts "#{size} read #{timed(operations) { seen.read }} #{timed(operations) { get.call }}"
        abort "#{size} bytes came out as others" unless seen.read == last && get.call == last
    end
end
here.close
Process.wait(keeper)
