# SPDX-License-Identifier: Apache-2.0
#
# A queue: whoever may write it sends, its owner receives.
module ShmClient
    class Queue
        # Waits for room; with exception: false nil says that there was none.
        def send(data, type: 1, timeout: nil, exception: true)
            _send(data, type, timeout, exception)
        end

        def <<(data)
            _send(data, 1, nil, true)
            self
        end

        # The message that was sent first: of all (0), of that type (> 0), or of the lowest type up
        # to -type (< 0); with except: true of any type but that.  about() tells its type.
        def receive(type: 0, except: false, timeout: nil, exception: true)
            _receive(type, except ? EXCEPT : 0, timeout, exception)
        end

        # The same, but it stays, for nobody else to have, until ack() or abandon(), and comes again
        # when this process ends before.
        def peek(type: 0, except: false, timeout: nil, exception: true)
            _peek(type, except ? EXCEPT : 0, timeout, exception)
        end

        # Yields each message and what is known about it, and acknowledges it behind the block; one
        # in which something is raised, or that is left by break, is given back.
        def each(type: 0, except: false, timeout: nil, &block)
            unless block
                return enum_for(:each, type: type, except: except, timeout: timeout)
            end

            _each(type, except ? EXCEPT : 0, timeout, &block)
        end
    end
end
