# SPDX-License-Identifier: Apache-2.0
#
# The matrix's part in Ruby: as matrix.c.
require "shmclient"

TIMEOUT_S = 60

def obey(segment, verb, kind, name, file)
    segment.open(name) do |section|
        case "#{verb} #{kind}"
        when "write raw" then section.write(File.binread(file))
        when "write snapshot" then section.publish(File.binread(file))
        when "write queue" then section.send(File.binread(file), type: 1, timeout: TIMEOUT_S)
        when "read raw", "read snapshot" then File.binwrite(file, section.read)
        when "read queue" then File.binwrite(file, section.receive(type: 1, timeout: TIMEOUT_S))
        else raise ArgumentError, "#{verb} #{kind}"
        end
    end
    puts "ok"
rescue StandardError => error
    puts "#{error.class}: #{error.message}"
end

$stdout.sync = true
ShmClient.attach(worker: ARGV[0], timeout: TIMEOUT_S) do |segment|
    $stdin.each_line { |line| obey(segment, *line.split) }
end
