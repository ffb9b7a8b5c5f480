#!/usr/bin/perl
# A page that says what it is told to say, and shows what it saw of the session. session.pl is the snippet for Perl.
use strict;
use warnings;
use utf8;
use File::Basename qw(dirname);
use JSON::PP;
use MIME::Base64 qw(decode_base64);
require(dirname(__FILE__) . '/session.pl');

# "set=lang%3Dde&X-Session-Push=seen%3Da&status=303", from the address and from the body.
read STDIN, my ($body), $ENV{CONTENT_LENGTH} || 0;
my @items = map { [map { decoded($_) } (split(/=/, $_, 2), '')[0, 1]] } grep { length } split /&/, "$ENV{QUERY_STRING}&$body";

binmode STDOUT, ':encoding(UTF-8)';
my ($status, $type) = (200, 'text/html; charset=utf-8');
my @shown = session_flashes();
for my $item (@items) {
    my ($name, $value) = @$item;
    my ($key, $rest) = split /=/, $value, 2;
    if    ($name eq 'set')     { print session_set($key, $rest) }
    elsif ($name eq 'add')     { print session_add($key, $rest) }
    elsif ($name eq 'unset')   { print session_unset($value) }
    elsif ($name eq 'login')   { print session_login($value) }
    elsif ($name eq 'destroy') { print session_destroy($value) }
    elsif ($name eq 'flash')   { print session_flash($key, $rest) }
    elsif ($name eq 'status')  { $status = $value }
    elsif ($name eq 'type')    { $type = $value }
    elsif ($name eq 'show')    { @shown = session_flashes($value) }
    elsif ($name eq 'hold') {
        open my $here, '>', "$value.here" or die "$value.here: $!";
        my $until = time + 20;
        select undef, undef, undef, 0.002 while !-e "$value.go" && time < $until;
    }
    elsif ($name =~ /-/) { print "$name: $value\n" }
}
print session_nonce();
print "Status: $status Told\nContent-Type: $type\n\n";
exit if $ENV{REQUEST_METHOD} eq 'HEAD' || $status == 204 || $status == 304;

my %sent = map { $_ => $ENV{$_} } grep { /^HTTP_/ } keys %ENV;
my $data = $ENV{HTTP_X_SESSION_DATA} // '';
$data =~ tr{-_}{+/};
my $json = eval { JSON::PP->new->utf8->decode(decode_base64($data)) };
print JSON::PP->new->encode({
    state => session_state(), user => session_user(), data => {session_data()}, flashes => \@shown,
    sent => \%sent, target => $ENV{REQUEST_URI}, json => $json,
});
