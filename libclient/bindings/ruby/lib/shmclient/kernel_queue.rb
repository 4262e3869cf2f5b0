# SPDX-License-Identifier: Apache-2.0
#
# SysVMQ's side to the kernel.
class SysVMQ
    class KernelQueue # :nodoc:
        Native = ShmClient::SysVQueue

        def initialize(key, buffer_size, flags)
            {key: key, buffer_size: buffer_size, flags: flags}.each do |name, value|
                raise TypeError, "#{name}: wrong argument type #{value.class} (expected Integer)" \
                    unless value.is_a?(Integer)
            end
            raise RangeError, "key: #{key} isn't of 32 bits" unless key.between?(-2**31, 2**32 - 1)
            raise RangeError, "flags: #{flags} isn't of 32 bits" unless flags.between?(0, 2**31 - 1)
            raise ArgumentError, "buffer_size: #{buffer_size} is less than nothing" if
                buffer_size.negative?
            raise RangeError, "buffer_size: #{buffer_size} isn't of 63 bits" if
                buffer_size.bit_length > 63

            @buffer_size = buffer_size
            asked = (flags.anybits?(IPC_CREAT) ? Native::CREATE : 0) |
                    (flags.anybits?(IPC_EXCL) ? Native::EXCLUSIVE : 0)
            @queue = Native.new(key & 0xffffffff, flags & 0o777, asked)
        end

        def send(text, type, wait)
            if text.bytesize > @buffer_size
                raise ArgumentError, "a message of #{text.bytesize} bytes is larger than the " \
                                     "buffer of #{@buffer_size}: make it with a larger one"
            end
            @queue.send(text, type, wait)
        end

        def receive(type, flags, wait)
            asked = (flags.anybits?(MSG_NOERROR) ? Native::TRUNCATE : 0) |
                    (flags.anybits?(MSG_EXCEPT) && type > 0 ? Native::EXCEPT : 0) |
                    (flags.anybits?(MSG_COPY) ? Native::COPY : 0)
            @queue.receive(type, asked, @buffer_size, wait).first
        end

        def title = "System V queue #{@queue.id}"
        def stats = @queue.stat.to_h
        def limits = @queue.info.to_h
        def set(uid, gid, mode, maximum_size) = @queue.set(uid, gid, mode, maximum_size)
        def destroy = @queue.remove
        def close = nil

        def to_io
            raise TypeError, "a System V queue has no descriptor to select on; a section has: " \
                             "SysVMQ.new(\"jobs\")"
        end
    end
    private_constant :KernelQueue
end
