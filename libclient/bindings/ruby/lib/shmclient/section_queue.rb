# SPDX-License-Identifier: Apache-2.0
#
# SysVMQ's side to a section of kind queue.  It attaches when it must: to send without a name, to
# receive as the section's owner.  A section object belongs to one thread at a time, so that each
# call takes one from the idle ones, or opens another; a child of fork begins anew.
class SysVMQ
    class SectionQueue # :nodoc:
        # The section objects of one attachment.
        class Side
            def initialize(name, segment, is_ours)
                @name = name
                @segment = segment
                @is_ours = is_ours
                @first = segment.open(name, kind: :queue)
                @all = [@first]
                @front = [@first]
                @rest = []
            end

            attr_reader :segment

            # The first is also the one that to_io is of, and is taken before others.  Timeout and
            # Thread#raise come in where a method returns, or at a branch: so that none is lost then,
            # taking is [] and shift, and giving back is <<, of a nil where there was none.
            def use
                section = nil
                home = @front
                begin
                    section = home[0]
                    home.shift
                    until section
                        home = @rest
                        add if home.empty?
                        section = home[0]
                        home.shift
                    end
                    yield section
                ensure
                    home << section
                end
            end

            def add
                section = @segment.open(@name, kind: :queue)
                @rest << section
                @all << section
            end

            def to_io = @first.to_io

            def used? = (@front + @rest).compact.size < @all.size

            def close
                @all.each(&:close)
                @segment.detach if @is_ours
            end
        end

        def initialize(name, worker: nil, segment: nil, **options)
            raise ArgumentError, "worker: the segment that is given is attached already" if
                worker && segment

            @name = name
            @worker = worker
            @segment = segment
            @options = {timeout: 5}.merge(options)
            @lock = Mutex.new
            @sides = {}
            @pid = Process.pid
            side(:reader)
        end

        def title = "section '#{@name}'"

        def send(text, type, wait)
            side(:sender).use { |section| section.send(text, type: type, timeout: wait) }
        end

        def receive(type, flags, wait)
            if flags.anybits?(MSG_COPY)
                message = side(:reader).use { |section| section.look(type) }
            else
                message = side(:receiver).use do |section|
                    section.receive(type: type, except: flags.anybits?(MSG_EXCEPT) && type > 0,
                                    timeout: wait, exception: wait != 0)
                end
            end
            message || refuse(Errno::ENOMSG, "no such message waits")
        end

        def stats
            side(:reader).use do |section|
                stat = section.stat
                {count: stat.messages, maximum_size: stat.lane_bytes * stat.lanes,
                 size: stat.bytes}.merge(stat.to_h.except(:messages, :bytes))
            end
        end

        def limits
            side(:reader).use do |section|
                stat = section.stat
                {maximum_message_size: stat.message_bytes,
                 maximum_queue_size: stat.lane_bytes * stat.lanes,
                 count: stat.messages, size: stat.bytes}
            end
        end

        def set(*)
            refuse(Errno::EPERM, "its size and groups are those of its row: shmtool table edit")
        end

        # For a section that this worker made with Segment#create.
        def destroy
            side(:receiver).segment.drop(@name)
            close
        end

        def close
            refuse(Errno::EBUSY, "another thread is in a call of this queue: end that first") if
                @pid == Process.pid && @sides.each_value.any?(&:used?)

            @sides.each_value(&:close)
            @sides = {}
        end

        def to_io = side(:receiver).to_io

        private

        def refuse(error, why)
            raise error.new("section '#{@name}': #{why}").extend(ShmClient::Error)
        end

        # What the parent had is freed by garbage collection, and of no use in its child.
        def side(role)
            if @pid != Process.pid
                @pid = Process.pid
                @sides = {}
            end
            @sides[role] || @lock.synchronize { @sides[role] ||= make(role) }
        end

        def make(role)
            return Side.new(@name, @segment, false) if @segment

            options = @options
            options = options.merge(anonymous: true) if role == :sender
            options = options.merge(worker: @worker || owner) if role == :receiver
            segment = ShmClient::Segment.new(**options)
            begin
                Side.new(@name, segment, true)
            rescue StandardError
                segment.detach
                raise
            end
        end

        def owner = (@sides[:reader] ||= make(:reader)).segment.section(@name).owner
    end
    private_constant :SectionQueue
end
