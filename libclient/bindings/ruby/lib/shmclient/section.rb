# SPDX-License-Identifier: Apache-2.0
#
# Sections of all kinds but queues.  An object belongs to one thread at a time; threads open their
# own.  Times are in seconds; nil: for ever, 0: don't wait.
module ShmClient
    class Section
        attr_reader :name

        def inspect = "#<#{self.class} #{name}#{" closed" if closed?}>"
    end

    class Snapshot
        # The newest value, as soon as it is newer than the last one that this object returned.
        def next(timeout: nil, exception: true) = _next(false, timeout, exception)

        # The one behind the last one, as far as it is still there.
        def follow(timeout: nil, exception: true) = _next(true, timeout, exception)

        # Yields each new value and what is known about it; with every: true as follow() does.
        def each(timeout: nil, every: false)
            return enum_for(:each, timeout: timeout, every: every) unless block_given?

            yield _next(every, timeout, true), about while true
        end
    end

    class Slots
        include Enumerable

        # The lowest slot that is free.  stays: in use until it is released, whoever lives.
        def grab(stays: false) = _grab(stays ? STAYS : 0)

        def fgrab(slot, stays: false) = _fgrab(slot, stays ? STAYS : 0)

        # Yields what was known of each slot when it began.
        def each(in_use: false, &block)
            return enum_for(:each, in_use: in_use) unless block

            _each(in_use ? IN_USE : 0).each(&block)
            self
        end

        def [](slot) = get(slot)

        def []=(slot, data)
            put(slot, data)
        end
    end
end
