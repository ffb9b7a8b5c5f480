#!/usr/bin/perl
# Guest book: a small application of the old kind. Its sessions are kept by Cloakroom, the proxy in front of it.
#
# A CGI script, see lighttpd.conf. There is no session module here and no cookie. The session comes with each request
# in headers named X-Session-* (CGI calls them HTTP_X_SESSION_*), and is changed by response headers named X-Session-*.
# All of it is in the next sixty lines.
use strict;
use warnings;
use Fcntl qw(:flock O_RDWR O_CREAT);
use File::Basename qw(dirname);
use POSIX qw(strftime);

# ---- Values are percent-encoded UTF-8. ----------------------------------------------------------------------------
sub decoded {
    my $value = shift // '';
    $value =~ tr/+/ /;
    $value =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
    utf8::decode($value);    # or else it stays what it is, Latin-1
    $value =~ s/[^\x{0}-\x{D7FF}\x{E000}-\x{10FFFF}]/\x{FFFD}/g;
    return $value;
}

sub encoded {
    my $value = shift;
    utf8::encode($value);
    $value =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ge;
    return $value;
}

sub pairs {    # k=v&k2=v2 as a flat list: k, v, k2, v2
    my ($text, $separator) = @_;
    return map { decoded($_) } map { (split(/=/, $_, 2), '')[0, 1] } grep { length } split /$separator/, $text // '';
}

# ---- The session as Cloakroom sent it. ----------------------------------------------------------------------------
my $state   = $ENV{HTTP_X_SESSION_STATE};             # none, live, expired ...; absent: no Cloakroom
my $user    = decoded($ENV{HTTP_X_SESSION_USER});     # who logged in
my %session = pairs($ENV{HTTP_X_SESSION_DATA}, '&');  # name=ada&visits=3
my @flashes;                                          # success=Thank%20you;said=...&info=...
for my $item (grep { length } split /&/, $ENV{HTTP_X_SESSION_FLASHES} // '') {
    my ($level, $text, %more) = pairs($item, ';') or next;
    push @flashes, { level => $level, text => $text, said => $more{said} // '' };
}

# ---- The session as we change it: one response header a command, before the blank line; values through encoded(). --
my @said;

sub command {
    push @said, @_;
    print "$_\n" for @_;
}

# Answers a form: sends the visitor back to the page, with a message that Cloakroom keeps until the page asks for it.
# The field `said` is our own: it lets the page show what this answer carried.
sub back {
    my ($level, $text) = @_;
    my $flash = "X-Session-Flash: $level=" . encoded($text);
    my $lines = join "\n", @said, "$flash;said=...";
    command("$flash;said=" . encoded(substr $lines, 0, 400));
    print "Status: 303 See Other\nLocation: ./\n\n";
    exit;
}

# ---- The application ----------------------------------------------------------------------------------------------
my @ITEMS = qw(tea cake book);
my $BOOK  = ($ENV{GUESTBOOK_DIR} || dirname(__FILE__)) . '/guestbook.txt';
binmode STDOUT, ':utf8';

sub refuse {
    my ($status, @headers) = @_;
    print map { "$_\n" } "Status: $status", 'Content-Type: text/plain; charset=utf-8', @headers, '';
    print substr($status, 0, 3), "\n";
    exit;
}

sub h {
    my $text = shift;
    my %entity = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;', '"' => '&quot;', "'" => '&#x27;');
    $text =~ s/([&<>"'])/$entity{$1}/g;
    return $text;
}

sub number {
    return ($_[0] // '') =~ /^([0-9]+)$/ ? $1 : 0;
}

# The lines of the book, newest first, each "time TAB name TAB message".
sub entries {
    open my $file, '<:utf8', $BOOK or return;
    flock $file, LOCK_SH;
    chomp(my @lines = <$file>);
    return @lines;
}

sub sign {
    my ($name, $message) = @_;
    sysopen(my $file, $BOOK, O_RDWR | O_CREAT) or return;
    binmode $file, ':utf8';
    flock $file, LOCK_EX or return;
    my @lines = (time . "\t$name\t$message\n", <$file>);
    seek $file, 0, 0;
    truncate $file, 0;
    return print({$file} grep { defined } @lines[0 .. 49]) && close $file;
}

my ($method, $path, $length) = ($ENV{REQUEST_METHOD}, $ENV{PATH_INFO} // '', number($ENV{CONTENT_LENGTH}));
refuse('404 Not Found') unless $path =~ m{^/(?:sign|login|logout|cart|empty)?\z};
my @allowed = $path eq '/' ? ('GET', 'HEAD') : ('POST');
refuse('405 Method Not Allowed', 'Allow: ' . join ', ', @allowed) unless grep { $_ eq $method } @allowed;
refuse('413 Content Too Large') if $length > 65536;

read STDIN, my ($body), $length;
my %form = pairs($body, '&');

# A field of the form: one line, not longer than $max characters.
sub field {
    my ($name, $max) = @_;
    my $value = $form{$name} // '';
    $value =~ s/[\x00-\x20\x7f]+/ /g;
    $value =~ s/^ | $//g;
    return substr $value, 0, $max;
}

if ($path eq '/sign') {
    my ($name, $message) = (field('name', 20), field('message', 280));
    back('error', 'Please give a name and a message.') if $name eq '' || $message eq '';
    back('error', 'The guest book cannot be written.') unless sign($name, $message);
    command('X-Session-Set: name=' . encoded($name));
    back('success', 'Thank you');
}
if ($path eq '/login') {
    $user = field('user', 20);
    back('error', 'Wrong user or password.') if $user eq '' || field('password', 20) ne 'coat';
    command('X-Session-Login: ' . encoded($user));        # a new session id, bound to this user
    command('X-Session-Set: user=' . encoded($user));
    back('success', "Welcome, $user");
}
if ($path eq '/logout') {
    command('X-Session-Destroy: 1');
    back('info', 'You are logged out.');
}
if ($path eq '/cart') {
    my $item = field('item', 20);
    back('error', 'We do not sell that.') unless grep { $_ eq $item } @ITEMS;
    command("X-Session-Add: cart_$item=1");               # added in the store: no click is ever lost
    back('success', "One $item for you");
}
if ($path eq '/empty') {
    command('X-Session-Unset: ' . join ', ', map { "cart_$_" } @ITEMS);
    back('info', 'The cart is empty.');
}

# ---- The page -----------------------------------------------------------------------------------------------------
command('X-Session-Add: visits=1') if $method eq 'GET';
print "Content-Type: text/html; charset=utf-8\n\n";

open my $css, '<', dirname(__FILE__) . '/style.css' or die "style.css: $!";
my $style = join '', <$css>;
my $visits = number($session{visits}) + 1;
my $name = h($session{name} // $user);
my $owner = h($user);
my $who = $user eq '' ? 'nobody is logged in' : "logged in: <b>$owner</b>";
my $answered = h(join "\n", @said) || '(nothing)';
my @received;
for my $variable (sort grep { /^HTTP_X_SESSION_/ } keys %ENV) {
    (my $header = lc substr $variable, 5) =~ tr/_/-/;
    $header =~ s/\b([a-z])/\u$1/g;
    utf8::decode(my $value = $ENV{$variable});
    push @received, "$header: $value";
}
my $received = h(join "\n", @received) || '(nothing)';

my ($chip, $note, $messages, $book, $cart, $before) = ('') x 6;
if (defined $state) {
    $chip = qq(\n<span class="chip">session: ${\h($state)}</span>);
} else {
    $note = <<'END';

<p class="flash">Cloakroom is not in front of this application: the request came without <code>X-Session-State</code>.
The guest book works, but nobody remembers you. Please open the address on which Cloakroom listens.</p>
END
}
for my $flash (@flashes) {
    my ($level, $text, $lines) = map { h($_) } @$flash{qw(level text said)};
    $messages .= qq(\n<p class="flash $level" role="status">$text</p>);
    $before .= qq(\n<h3>and, just before, to your form</h3>\n<pre>$lines</pre>) if $lines ne '';
}
for my $line (entries()) {
    my ($time, $signer, $message) = map { h($_) } split /\t/, "$line\t\t ";
    $time = strftime '%Y-%m-%d %H:%M', gmtime number($time);
    $book .= qq(\n<div class="entry"><p>$message</p>\n<footer>$signer, $time UTC</footer></div>);
}
for my $item (@ITEMS) {
    my $count = number($session{"cart_$item"});
    $cart .= qq(\n<button class="quiet" name="item" value="$item">\n$item: <b>$count</b> +</button>);
}
my $login = $user ne '' ? <<"KNOWN" : <<'UNKNOWN';
<h2>Hello, $owner</h2>
<form method="post" action="logout"><button>Log out</button></form>
KNOWN
<h2>Log in</h2>
<form method="post" action="login">
<label>User <input name="user" maxlength="20" required autocomplete="username"></label>
<label>Password <input name="password" type="password" maxlength="20" required autocomplete="current-password"></label>
<div class="row"><button>Log in</button></div>
</form>
<p class="faint">Any user will do; the password is <b>coat</b>.</p>
UNKNOWN

print <<"END";
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guest book</title>
<style>
$style
</style>
</head>
<body>
<header>
<h1>Guest book</h1>
<span class="chip">Perl CGI</span>$chip
<span class="chip">$who</span>
</header>$note$messages
<main class="columns">
<section class="card">
<h2>Sign the book</h2>
<form method="post" action="sign">
<label>Your name <input name="name" maxlength="20" required value="$name"></label>
<label>Your message <textarea name="message" maxlength="280" required></textarea></label>
<button>Sign</button>
</form>
</section>
<div class="stack">
<section class="card">
<h2>Your visits</h2>
<p class="big">$visits</p>
<p class="faint">Counted in your session, by the answer to this very page.</p>
</section>
<section class="card">
$login</section>
<section class="card">
<h2>Your cart</h2>
<form method="post" action="cart" class="row">$cart
</form>
<form method="post" action="empty" class="row"><button class="quiet">Empty the cart</button></form>
</section>
</div>
</main>
<section class="wide">
<h2>Both sides of this exchange</h2>
<div class="columns">
<div class="card">
<h3>What Cloakroom sent</h3>
<pre>$received</pre>
</div>
<div class="card">
<h3>What the backend answered</h3>
<pre>$answered</pre>$before
</div>
</div>
</section>
<section class="wide card">
<h2>The book</h2>$book
</section>
</body>
</html>
END
