# SPDX-License-Identifier: Apache-2.0
#
# An attachment: as a reader, as a worker, or without a name.
module ShmClient
    class Segment
        LEASED = 0x2 # SHMC_ANONYMOUS
        KINDS = {nil => 0, raw: 1, snapshot: 2, slots: 3, queue: 4}.freeze
        STAMPS = {precise: 0, coarse: 1, none: 2}.freeze
        NOTIFIES = {demand: 0, always: 1, never: 2}.freeze
        FLAGS = {exclusive: 0x1, transient: 0x2, persist: 0x4, shared: 0x8, pregrab: 0x10,
                 clear: 0x20, clear_restart: 0x40}.freeze
        private_constant :LEASED, :KINDS, :STAMPS, :NOTIFIES, :FLAGS

        # worker:      its name in the table; nil: a reader, or with anonymous: true a sender
        # key:         nil: $SHMC_KEY, else ShmClient::DEFAULT_KEY
        # timeout:     seconds in which the segment may appear, and a holder go; nil: for ever
        def initialize(worker: nil, anonymous: false, key: nil, runtime_dir: nil, timeout: 0)
            raise ArgumentError, "worker: #{worker} has a name; leave anonymous: away" if
                worker && anonymous

            _attach(worker, self.class.key_of(key), anonymous ? LEASED : 0, runtime_dir, timeout)
        end

        # A Snapshot, Raw, Slots or Queue, as the section is.  What the caller relies on:
        # kind: (a Symbol), format:, min_size:.  With a block it is closed behind that.
        def open(name, kind: nil, format: nil, min_size: 0)
            size = self.class.number("min_size", min_size, 64)
            section = _open(name, self.class.choice("kind", KINDS, kind), format, size)
            return section unless block_given?

            begin
                yield section
            ensure
                section.close
            end
        end

        alias [] open

        # Makes a section whose owner this worker is: as the columns of its row, shm-table(5).
        # Flags: exclusive, transient, persist, shared, pregrab, clear, clear_restart.
        def create(name, size:, kind: :snapshot, count: 0, format: nil, read_group: nil,
                   write_group: nil, stale_ms: 0, stamp: :precise, notify: :demand, **flags)
            bits = flags.sum { |flag, on| on ? self.class.choice("flags", FLAGS, flag) : 0 }
            _create(name, self.class.choice("kind", KINDS, kind),
                    self.class.number("count", count, 32), self.class.number("size", size, 64),
                    format, read_group, write_group, self.class.number("stale_ms", stale_ms, 64),
                    self.class.choice("stamp", STAMPS, stamp),
                    self.class.choice("notify", NOTIFIES, notify), bits)
        end

        def inspect
            detached? ? "#<#{self.class} detached>" : format("#<%s 0x%08x>", self.class, info.key)
        end

        class << self
            # @api private
            def key_of(key) = key.nil? ? nil : number("key", key, 32)

            # @api private
            def number(name, value, bits)
                raise TypeError, "#{name}: #{value.inspect} is no Integer" unless
                    value.is_a?(Integer)
                raise RangeError, "#{name}: #{value} isn't of #{bits} bits" unless
                    value.between?(0, 2**bits - 1)

                value
            end

            # @api private
            def choice(name, choices, value)
                choices.fetch(value) do
                    raise ArgumentError, "#{name}: #{value.inspect} is none of " \
                                         "#{choices.keys.compact.join(", ")}"
                end
            end
        end
    end
end
