#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
#
# The matrix's part of a program that knows nothing of shm-manager's library: Perl, with core's
# IPC::SharedMem (of IPC::SysV) and unpack() after shm-segment(7).  It reads raw and snapshot
# sections, and as a worker, by `shmtool run`, writes a raw one.  Lines as matrix.c's.
use strict;
use warnings;
use IPC::SharedMem;

my $memory = IPC::SharedMem->new(hex $ENV{SHMC_KEY}, 0, 0) or die "$!";
$memory->attach() or die "$!"; # to write as well, as shmwrite() does

my $bytes = $memory->stat->segsz;

sub copy { # OFFSET BYTES; beyond its end memread() would crash
    my ($offset, $n) = @_;
    die "the segment holds nonsense\n" if $offset > $bytes || $n > $bytes - $offset;
    return $n == 0 ? '' : $memory->read($offset, $n);
}

sub words { # OFFSET BYTES TEMPLATE
    my ($offset, $n, $template) = @_;
    return unpack $template, copy($offset, $n);
}

# (ctl_off, size, kind) of a section in the directory in force
sub place {
    my ($name) = @_;
    while (1) {
        my ($generation) = words(128, 8, 'Q<');
        my ($at) = words(144 + 16 * ($generation & 1), 8, 'Q<');
        my ($count, $index, $sections) = words($at, 64, 'x16 L< x20 L< L<');
        my @found;
        for my $slot (unpack 'L<*', copy($at + $index, 4 * $count)) {
            my ($is, $control, $size, $kind) = words($at + $sections + 384 * $slot, 384,
                'Z64 x128 x40 Q< x16 Q< x8 L<');
            @found = ($control, $size, $kind) if $is eq $name;
        }
        next if $generation != (words(128, 8, 'Q<'))[0]; # it was replaced meanwhile
        die "the segment has no section '$name'\n" if !@found;
        return @found;
    }
}

sub read_section {
    my ($control, $size, $kind) = place($_[0]);
    return copy($control, $size) if $kind == 1;
    while (1) {
        my ($stride, $from) = words($control, 64, 'x32 Q< Q<');
        my ($head) = words($control + 64, 8, 'Q<');
        my ($version, $buffer) = (($head & ~(255 << 56)) >> 1, $head >> 56);
        die "nothing was published yet\n" if $version == 0;
        my $at = $control + $from + $buffer * $stride;
        my ($sequence, $length) = words($at, 16, 'Q< Q<');
        next if $sequence != 2 * $version || $length > $stride - 64;
        my $value = copy($at + 64, $length);
        return $value if (words($at, 8, 'Q<'))[0] == $sequence; # else the writer came round
    }
}

sub contents {
    my ($mode, $file, $data) = @_;
    open my $handle, "$mode:raw", $file or die "$file: $!";
    return print $handle $data if defined $data;
    local $/;
    return <$handle> // '';
}

sub obey {
    my ($verb, $kind, $name, $file) = @_;
    if ($verb eq 'read') {
        contents('>', $file, read_section($name));
    } else {
        my $data = contents('<', $file);
        my ($control) = place($name);
        !length $data or $memory->write($data, $control, length $data) or die "$!";
    }
}

$| = 1;
while (my $line = <STDIN>) {
    print eval { obey(split ' ', $line); 1 } ? "ok\n" : "$@\n";
}
