# SPDX-License-Identifier: Apache-2.0
#
# For the tests beside it: a case prints "ok NAME", or says what was wrong and ends the program.
require "timeout"

DEADLINE = 60 # seconds; generous, as the machine may be slow

def ok(name)
    yield
    puts "ok #{name}"
rescue Exception => e # also what Timeout and Thread#kill leave
    puts "not ok #{name}", e.full_message(highlight: false)
    $stdout.flush
    exit! 1
end

def same(expected, is)
    raise "#{is.inspect} isn't #{expected.inspect}" unless expected == is
end

def true!(is, what = "it")
    raise "#{what} isn't so" unless is
end

# The block raises that, with a message like this.
def raises(error, like = //)
    yield
rescue error => e
    raise "#{e.message.inspect} isn't like #{like.inspect}" unless e.message.match?(like)

    raise "#{e.class} isn't one of ShmClient's" if
        e.is_a?(SystemCallError) && !e.is_a?(ShmClient::Error)

    e
else
    raise "it raised nothing, where #{error} was expected"
end

def await(what)
    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + DEADLINE
    until yield
        raise "#{what}: not in #{DEADLINE} s" if
            Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

        sleep 0.005
    end
end

# Longer where the manager had no time to say anything in that time.
def attach_within(timeout, **how)
    ShmClient.attach(timeout: timeout, **how)
rescue Errno::ETIMEDOUT
    raise if timeout >= DEADLINE

    attach_within(timeout * 2, **how)
end

# The block finds nothing, and clears the descriptor by that; which the library's helper may have
# raised once more, as it says that there may be something.
def quiet(io)
    await("nothing to select") do
        yield
        IO.select([io], nil, nil, 0).nil?
    end
end

# A thread that is in the block's wait: asleep, as Ruby sees it.
def waiting
    thread = Thread.new do
        Thread.current.report_on_exception = false
        yield
    end
    await("a thread waits") { thread.stop? }
    thread
end

# The block waits in the main thread, which gets SIGUSR1 then, and does that in its trap.
def trapping(what)
    main = Thread.current
    trap("USR1") { what.call }
    sender = Thread.new do
        await("the main thread waits") { main.stop? }
        Process.kill("USR1", Process.pid)
    end
    yield
    sender.join
ensure
    trap("USR1", "DEFAULT")
end

Cut = Class.new(StandardError)

# Calls the block again and again for so long, while another thread raises Cut in it.
def interrupted(seconds)
    main = Thread.current
    clock = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }
    Thread.handle_interrupt(Cut => :never) do
        done = false
        other = Thread.new { main.raise(Cut) || sleep(rand * 0.0004) until done }
        deadline = clock.call + seconds
        while clock.call < deadline
            begin
                Thread.handle_interrupt(Cut => :immediate) { yield }
            rescue Cut
                next
            end
        end
        done = true
        other.join
        while Thread.pending_interrupt?
            begin
                Thread.handle_interrupt(Cut => :immediate) { Thread.pass }
            rescue Cut
                next
            end
        end
    end
end

# What the block returns in a child of fork, as a String; its death by a signal is an error.
def in_child
    reader, writer = IO.pipe
    child = fork do
        reader.close
        writer.write((yield rescue "#{$!.class}: #{$!.message}").to_s)
        writer.close
        exit! 0
    end
    writer.close
    said = Timeout.timeout(DEADLINE) { reader.read }
    reader.close
    status = Process.wait2(child)[1]
    raise "the child ended: #{status}" unless status.success?

    said
end
