#!/usr/bin/env perl
# SPDX-License-Identifier: Apache-2.0
#
# The examples of shm-table(5): what stands between EX and EE, and behind it tags that say what becomes
# of it, each with its text.  Usage: table_page.pl DIRECTORY PAGE..., which gets for each
# example NUMBER.KIND (shell, begin or sql), and for each tag NUMBER.TAG; and NUMBER.memfd for one that
# is about that backend.
use strict;
use warnings;
my $directory = shift;
my ($title, $number, $here, $lines, $tag) = ('', 100, '');

sub keep {
    my ($name, $text) = @_;
    open my $to, '>', "$directory/$number.$name" or die "$directory/$number.$name: $!";
    print $to "$text\n";
    close $to or die "$directory/$number.$name: $!";
}

# A tag's lines are one, but for what .br ends.
sub end_tag {
    keep($tag, $lines =~ s/ *\n */\n/gr =~ s/^ +| +$//gr) if defined $tag;
    undef $tag;
}

while (<>) {
    chomp;
    my $text = s/\\&//gr =~ s/\\\[u2026\]/…/gr =~ s/\\-/-/gr =~ s/\\e/\\/gr;
    if ($here eq 'example' && !/^\.EE/) {
        $lines .= ($lines eq '' ? '' : "\n") . $text;
    } elsif (/^\.EX/) {
        end_tag();
        ($here, $lines) = ('example', '');
    } elsif (/^\.EE/) {
        $here = 'behind';
        next if $title eq 'EDITS WHILE IT RUNS'; # that one is a table
        $number++;
        keep($lines =~ /^(sqlite3|shmtool) / ? 'shell'
            : $title eq 'What all of the examples begin with' ? 'begin' : 'sql', $lines);
        keep('memfd', '') if $title =~ /memfd/;
    } elsif (/^\.S[HS] +"?([^"]*)/) {
        end_tag();
        ($title, $here) = ($1, '');
    } elsif (/^\.TP 10/ && $here eq 'behind') {
        end_tag();
        ($_ = <>) =~ /^\.B (edit|applied|rejected|pending)$/ or ($here = ''), next;
        ($tag, $lines) = ($1, '');
    } elsif (defined $tag) {
        if (/^\.br/) { $lines .= "\n" }
        elsif (/^\./) { end_tag() }
        else { $lines .= " $text" }
    } elsif (!/^\.(RS|in)\b/) {
        $here = '';
    }
}
end_tag();
