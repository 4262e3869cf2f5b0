# SPDX-License-Identifier: Apache-2.0
#
# Shares state through the segment of a shm-manager:
#
#     ShmClient.attach(worker: "temp-driver") do |segment|
#         segment["temps"].publish([20.0, 21.0].pack("d2"))
#     end
#
# The extension does the work; this takes keywords apart.  README.md beside it tells the rest.
require "json"
require "shmclient/native"
require "shmclient/segment"
require "shmclient/section"
require "shmclient/queue"

module ShmClient
    VERSION = "0.1.0"

    class << self
        # Segment.new; with a block that gets it, and behind which it is detached.
        def attach(**options)
            segment = Segment.new(**options)
            return segment unless block_given?

            begin
                yield segment
            ensure
                segment.detach
            end
        end

        # The first of these Snapshots that has a newer value than it returned; nil: none in time.
        def wait_any(*sections, timeout: nil) = _wait_any(sections.flatten, timeout)

        # Asks the manager: "status", "table", "plan", "history", "reload", "destroy".
        def manager(request, key: nil, runtime_dir: nil, timeout: 5)
            seconds = Float(timeout)
            raise ArgumentError, "timeout: #{timeout} is no time in seconds" unless
                seconds.between?(0, 86_400)

            JSON.parse(_manager(request, Segment.key_of(key), runtime_dir, (seconds * 1000).ceil))
        end
    end
end
