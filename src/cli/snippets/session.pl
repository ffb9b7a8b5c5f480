#!/usr/bin/perl
# Sessions of Cloakroom in a Perl CGI. No cookie: the session comes in request headers, and response headers change it.
#
# Commands are header lines: print them before the blank line that ends the headers.
use strict;
use warnings;
use utf8;
use Digest::SHA qw(hmac_sha256_hex);

# Bytes of a header as text, and text as what a header may carry.
sub decoded {
    my ($text) = @_;
    $text =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
    utf8::decode($text);
    return $text;
}

sub encoded {
    my ($text) = @_;
    utf8::encode($text);
    $text =~ s/([^A-Za-z0-9._~-])/sprintf "%%%02X", ord $1/ge;
    return $text;
}

# "a=1&b=two%20words" as a list of pairs.
sub pairs {
    my ($header) = @_;
    my @items = map { [split /=/, $_, 2] } grep { length } split /[&,]\s*/, $header;
    return map { [$_->[0], decoded($_->[1] // '')] } @items;
}

# All data of the session, its state (none, live, expired, invalid), and who logged in.
sub session_data    { return map { @$_ } pairs($ENV{HTTP_X_SESSION_DATA} // '') }
sub session_state   { return $ENV{HTTP_X_SESSION_STATE} // 'none' }
sub session_user    { return decoded($ENV{HTTP_X_SESSION_USER} // '') }

# Messages for this page, each as level, text and further fields: ['info', 'Saved.', { title => 'Done' }]. All of them, or
# those in a list ('' for those in none) and of a level: session_flashes('cart', 'error').
sub session_flashes {
    my ($list, $level) = @_;
    my @flashes;
    for my $item (grep { length } split /[&,]\s*/, $ENV{HTTP_X_SESSION_FLASHES} // '') {
        my ($flash, @fields) = pairs($item =~ tr/;/&/r);
        my %fields = map { @$_ } @fields;
        next if defined $list && $list ne ($fields{list} // '') || defined $level && $level ne $flash->[0];
        push @flashes, [@$flash, \%fields];
    }
    return @flashes;
}

# The token of this session's forms, for a hidden field `csrf_token`; '' where `headers.csrf` is off.
sub session_csrf    { return $ENV{HTTP_X_SESSION_CSRF} // '' }

# Whether this request came through the proxy, a minute ago at most. The first argument is the text of
# `headers.proof_key`; headers under names of their own (`expose`) follow it: 'HTTP_X_REMOTE_USER'.
sub is_proven {
    my ($key, @exposed) = @_;
    my ($time, $proof) = ($ENV{HTTP_X_SESSION_PROOF} // '') =~ /\At=(\d{1,12}),v1=([0-9a-f]{64})\z/ or return 0;
    return 0 if abs(time - $time) > 60;
    my @names = grep { my $name = $_; /\AHTTP_X_SESSION_(?!PROOF\z)/ || grep { $_ eq $name } @exposed } keys %ENV;
    my @lines = sort map { substr($_, 5) . ":$ENV{$_}" } @names;
    my @request = ('v1', $time, $ENV{REQUEST_METHOD}, $ENV{HTTP_HOST} // '', $ENV{REQUEST_URI});
    my $own = hmac_sha256_hex(join("\n", @request, @lines), $key);
    # Compared like this, the time it takes says nothing.
    return hmac_sha256_hex($own, $key) eq hmac_sha256_hex($proof, $key) ? 1 : 0;
}

# To be printed with the commands where `headers.nonce` is required: this answer is to this request.
sub session_nonce   { my $nonce = $ENV{HTTP_X_SESSION_NONCE} // ''; return $nonce && "X-Session-Nonce: $nonce\n" }

# Commands, to be printed among the headers.
sub session_set     { my ($key, $value) = @_; return "X-Session-Set: $key=" . encoded($value) . "\n" }
sub session_add     { my ($key, $number) = @_; return "X-Session-Add: $key=" . int($number) . "\n" }
sub session_unset   { return 'X-Session-Unset: ' . join('&', @_) . "\n" }          # '*' drops everything
sub session_login   { return 'X-Session-Login: ' . encoded($_[0]) . "\n" }         # a new id, the old one is dead
sub session_destroy { return 'X-Session-Destroy: ' . ($_[0] // '1') . "\n" }       # '1', 'others' or 'all'

# Shown by the next page; further fields follow the text: title => 'Done', list => 'cart'.
sub session_flash {
    my @pairs;
    while (my ($key, $value) = splice @_, 0, 2) { push @pairs, "$key=" . encoded($value) }
    return 'X-Session-Flash: ' . join(';', @pairs) . "\n";
}

# What this page has not shown waits for the next one, and what this answer has shown although it is no page: '1', levels,
# or 'list=cart'.
sub session_flash_keep { return 'X-Session-Flash-Keep: ' . ($_[0] // '1') . "\n" }
sub session_flash_read { return 'X-Session-Flash-Read: ' . ($_[0] // '1') . "\n" }

# ---- A page that uses it --------------------------------------------------------------------------------------------
binmode STDOUT, ':encoding(UTF-8)';
my %session = session_data();
print session_nonce();
print session_add('visits', 1);
print session_set('seen', $session{name} // 'café € 100%');      # any text: it is encoded
print session_flash('info', 'Welcome.') if session_state() eq 'none';
print "Content-Type: text/plain; charset=utf-8\n\n";

print 'state: ', session_state(), "\nuser: ", session_user(), "\n";
print "$_: $session{$_}\n" for sort keys %session;
print "[$_->[0]] $_->[1]\n" for session_flashes();
