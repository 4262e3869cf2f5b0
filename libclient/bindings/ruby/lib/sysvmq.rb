# SPDX-License-Identifier: Apache-2.0
#
# SysVMQ: the class of the sysvmq gem (0.2), over the System V queues of the kernel,
#
#     mq = SysVMQ.new(0xDEADC0DE, 1024, SysVMQ::IPC_CREAT | 0666)
#
# and over a section of kind queue of a shm-manager's segment:
#
#     mq = SysVMQ.new("jobs")
#
# An object may be used by any number of threads, and by children of fork.
require "shmclient"
require "shmclient/kernel_queue"
require "shmclient/section_queue"

class SysVMQ
    IPC_CREAT = 0o1000
    IPC_EXCL = 0o2000
    IPC_NOWAIT = 0o4000
    IPC_RMID = 0
    IPC_SET = 1
    IPC_STAT = 2
    IPC_INFO = 3
    MSG_NOERROR = 0o10000 # receiving: what is beyond the buffer is cut off, and lost
    MSG_EXCEPT = 0o20000  # receiving: any type but this one
    MSG_COPY = 0o40000    # receiving: the type is an index, and the message stays

    # key, buffer_size, flags: as msgget(2).  Or the name of a section; then
    # worker:   as whom to receive; nil: as the section's owner
    # segment:  a ShmClient::Segment for all of it, instead of attaching when it is needed
    # key:, runtime_dir:, timeout: as ShmClient.attach
    def initialize(key, *size_and_flags, **options)
        @queue =
            if size_and_flags.size == 2
                KernelQueue.new(key, *size_and_flags, **options)
            elsif size_and_flags.empty? && key.is_a?(String)
                SectionQueue.new(key, **options)
            else
                raise ArgumentError, "wrong number of arguments: SysVMQ.new takes a key, a " \
                                     "buffer's size and flags, or the name of a section"
            end
    end

    # Sends, waits for room, and returns the message.
    def send(message, positional_type = 1, positional_flags = 0, type: positional_type,
             flags: positional_flags, blocking: true, timeout: nil)
        check_integer("type", type, 64)
        check_integer("flags", flags, 32)
        text = String.try_convert(message)
        raise TypeError, "no implicit conversion of #{message.class} into String" if text.nil?

        @queue.send(text, type, wait_of(flags, blocking, timeout))
        message
    end

    # The oldest message of all (0 or :front), of that type (> 0), or of the lowest type up to -type
    # (< 0), as a binary String.
    def receive(positional_type = 0, positional_flags = 0, type: positional_type,
                flags: positional_flags, blocking: true, timeout: nil, truncate: false,
                except: false)
        type = 0 if type == :front
        check_integer("type", type, 64)
        check_integer("flags", flags, 32)
        flags |= MSG_NOERROR if truncate
        flags |= MSG_EXCEPT if except
        @queue.receive(type, flags, wait_of(flags, blocking, timeout))
    end

    # What msgctl(2) gives: a Hash of the queue (IPC_STAT; :count, :maximum_size, :size and more),
    # or of all queues (IPC_INFO).  IPC_SET sets what is given; IPC_RMID removes the queue.
    def stats(command = IPC_STAT, **settings)
        check_integer("command", command, 32)
        raise ArgumentError, "settings are for IPC_SET" if command != IPC_SET && !settings.empty?

        case command
        when IPC_STAT then @queue.stats
        when IPC_INFO then @queue.limits
        when IPC_SET then set(**settings)
        when IPC_RMID then destroy
        else raise ArgumentError, "command: #{command} is no IPC_STAT, _INFO, _SET or _RMID"
        end
    end

    # Changes the queue's owner, mode or maximum_size, and returns its stats.
    def set(uid: nil, gid: nil, mode: nil, maximum_size: nil)
        {uid: [uid, 32], gid: [gid, 32], mode: [mode, 9], maximum_size: [maximum_size, 64]}
            .each { |name, (value, bits)| ShmClient::Segment.number(name, value, bits) if value }
        @queue.set(uid, gid, mode, maximum_size)
        @queue.stats
    end

    # Removes the queue, with what is in it.
    def destroy
        @queue.destroy
        nil
    end

    # Gives up what this object holds; a queue of the kernel's needs no closing.
    def close
        @queue.close
        nil
    end

    # Of a section: an IO for select, readable while there may be a message.
    def to_io = @queue.to_io

    def inspect = "#<#{self.class} #{@queue.title}>"

    private

    # The seconds to wait.
    def wait_of(flags, blocking, timeout)
        flags.anybits?(IPC_NOWAIT) || !blocking ? 0 : timeout
    end

    def check_integer(name, value, bits)
        raise TypeError, "#{name}: wrong argument type #{value.class} (expected Integer)" unless
            value.is_a?(Integer)
        return if value.bit_length < bits

        raise RangeError, "#{name}: #{value} is out of the range of #{bits} bits"
    end
end
