//! Messages for the next page: which requests are handed them, and which answers have shown them to a person.

use super::access::OutageLog;
use super::answer::Teller;
use super::context::{Exchange, Snapshot};
use super::route;
use crate::clock::Timestamp;
use crate::manager::{Consume, Session};
use crate::session::{self, Handed, Record, State, encode};
use crate::wire::Allowance;
use crate::wire::request::Fields;
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use pingora::http::{RequestHeader, ResponseHeader};

/// Whether an answer to the request may consume messages. Only such a request takes them from the others: it costs a
/// write.
pub(super) fn may_be_consumed(teller: Teller<'_>, request: &RequestHeader) -> bool {
    teller.used.rights.may_write
        && match teller.policy.manager.options().consume {
            Consume::Document => navigates(request),
            Consume::Acknowledge | Consume::Always => true,
        }
}

/// Whether an answer consumes what its request was shown, unless the backend keeps it.
pub(super) fn consumes(consume: Consume, request: &RequestHeader, response: &ResponseHeader) -> bool {
    match consume {
        Consume::Document => navigates(request) && is_document(response),
        Consume::Acknowledge => false,
        Consume::Always => true,
    }
}

/// Hands the waiting messages to a request that may consume them, and to no other meanwhile (F3): as many as there is room
/// for. The session has to be told again then. A request that was let in before hands back what it held.
///
/// Where that cannot be written the request is handed none; they stay.
pub(super) async fn lend(teller: Teller<'_>, session: &mut Session, allowance: Allowance, outages: &OutageLog) {
    let manager = &teller.policy.manager;
    let Some(deadline) = session.snapshot().map(|snapshot| snapshot.deadline) else { return };
    let fits = |record: &Record| {
        let (mut fields, mut allowance) = (Fields::new(), allowance);
        let snapshot = session::Snapshot { bytes: encode(record).into(), deadline };
        teller.tell_record(State::Live, &snapshot, Handed::Free, &mut fields, &mut allowance).flashes
    };
    if let Err(error) = manager.lend(session, teller.now, fits).await {
        outages.report_unwritten(manager.options(), &error);
    }
}

/// Whether the request holds messages of any of its sessions: one whose answer was delivered does not.
pub(super) fn are_held(exchange: &Exchange) -> bool {
    exchange.sessions.iter().any(|session| session.handed().mark().is_some())
}

/// Gives back what a request holds whose answer did not come, or was withheld.
pub(super) async fn give_back(snapshot: &Snapshot, exchange: &mut Exchange, outages: &OutageLog, now: Timestamp) {
    let route = route(snapshot, exchange);
    for (used, session) in route.sessions.iter().zip(&mut exchange.sessions) {
        let manager = &snapshot.policies[used.policy].manager;
        if let Err(error) = manager.give_back(session, now).await {
            outages.report_unwritten(manager.options(), &error);
        }
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h [u8] {
    headers.get(name).map_or(&b""[..], |value| value.as_bytes().trim_ascii())
}

fn is(value: &[u8], word: &str) -> bool {
    value.eq_ignore_ascii_case(word.as_bytes())
}

/// Whether the request asks for a page to put before a person: a navigation of the browser, or of a script that takes its
/// place; neither a part of a page, nor a guess about the next one.
fn navigates(request: &RequestHeader) -> bool {
    let headers = &request.headers;
    let asks = matches!(request.method, Method::GET | Method::POST);
    asks && !is_speculative(headers) && (navigates_by_script(headers) || navigates_by_itself(headers))
}

/// A request that nobody may ever see the answer to. Turbo may not send `Sec-Purpose`, which belongs to the browser.
fn is_speculative(headers: &HeaderMap) -> bool {
    let guesses = |name: &str| {
        let purpose = header(headers, name);
        let word = purpose.split(|byte| matches!(byte, b';' | b',')).next().unwrap_or_default().trim_ascii();
        ["prefetch", "prerender", "preview"].into_iter().any(|guess| is(word, guess))
    };
    ["sec-purpose", "purpose", "x-purpose", "x-moz", "x-sec-purpose"].into_iter().any(guesses)
}

/// Turbo Drive and htmx fetch whole pages and put them in the place of the one that is there.
fn navigates_by_script(headers: &HeaderMap) -> bool {
    let turbo = headers.contains_key("x-turbo-request-id") && !headers.contains_key("turbo-frame");
    turbo || is(header(headers, "hx-boosted"), "true") || is(header(headers, "hx-history-restore-request"), "true")
}

/// A browser that says what it asks for is believed. One that does not asks for a page where it would take HTML, unless
/// a script has said that it asks.
fn navigates_by_itself(headers: &HeaderMap) -> bool {
    let (mode, dest) = (header(headers, "sec-fetch-mode"), header(headers, "sec-fetch-dest"));
    let scripted = is(header(headers, "x-requested-with"), "xmlhttprequest")
        || ["turbo-frame", "hx-request"].into_iter().any(|name| headers.contains_key(name));
    let by_mode = match mode {
        b"" => !matches!(dest, b"empty"),
        // A worker of the page that passes a navigation on says nothing of where it leads.
        mode => is(mode, "navigate"),
    };
    by_mode && matches!(dest, b"" | b"document" | b"iframe" | b"frame" | b"empty") && !scripted && takes_html(headers)
}

fn takes_html(headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(ACCEPT).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let kinds = ["text/html", "application/xhtml+xml", "text/*", "*/*"];
    !headers.contains_key(ACCEPT)
        || ranges.any(|range| {
            let kind = range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            kinds.into_iter().any(|html| is(kind, html))
        })
}

/// Whether the answer is a whole page of HTML that a browser shows.
fn is_document(response: &ResponseHeader) -> bool {
    let first = |name| {
        let value = response.headers.get(name).map(HeaderValue::as_bytes);
        value.map(|value| value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii())
    };
    let html = first(CONTENT_TYPE).is_some_and(|kind| is(kind, "text/html") || is(kind, "application/xhtml+xml"));
    // A disposition that nobody knows means a download, too (RFC 6266, section 4.2).
    let inline = first(CONTENT_DISPOSITION).is_none_or(|disposition| is(disposition, "inline"));
    let whole = response.status.is_success() && !matches!(response.status.as_u16(), 204..=206);
    whole && html && inline
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTML: (&str, &str) = ("Content-Type", "text/html; charset=utf-8");

    fn asks(method: &str, lines: &[(&'static str, &str)]) -> bool {
        let mut request = RequestHeader::build(method, b"/", None).unwrap();
        for (name, value) in lines {
            request.append_header(*name, *value).unwrap();
        }
        navigates(&request)
    }

    #[test]
    fn a_navigation_is_what_puts_a_page_before_a_person() {
        // F2
        const CHROME: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        const TURBO: (&str, &str) = ("X-Turbo-Request-Id", "0c0e");
        let script = [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"), ("Accept", "*/*")];
        let with = |line| [script[0], script[1], script[2], line];
        let page = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Accept", CHROME)];
        let and = |line| [page[0], page[1], page[2], line];
        assert!(asks("GET", &page) && asks("POST", &page) && asks("GET", &[]));
        for method in ["HEAD", "PUT", "DELETE", "OPTIONS"] {
            assert!(!asks(method, &page), "{method}");
        }
        for (expected, lines) in [
            (true, &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")][..]),
            (true, &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "empty")]), // passed on by a service worker
            (false, &[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "object")]),
            (false, &[("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")]),
            (false, &[("Sec-Fetch-Mode", "websocket"), ("Sec-Fetch-Dest", "empty")]),
            (false, &[("Sec-Fetch-Dest", "empty")]),
            (false, &script),
            (true, &with(TURBO)),
            (true, &with(("HX-Boosted", "true"))),
            (true, &with(("HX-History-Restore-Request", "true"))),
            (false, &with(("HX-Request", "true"))),
            (false, &[script[0], script[1], script[2], TURBO, ("Turbo-Frame", "cart")]),
            (false, &[script[0], script[1], script[2], TURBO, ("X-Sec-Purpose", "prefetch")]),
            (false, &and(("Sec-Purpose", "prefetch;prerender"))),
            (false, &and(("Purpose", "prefetch"))),
            (false, &and(("X-Moz", "prefetch"))),
            (false, &and(("X-Purpose", "preview"))),
            // Browsers that say nothing of it.
            (true, &[("Accept", "image/gif, image/pjpeg, application/x-shockwave-flash, */*")]),
            (true, &[("Accept", "Text/HTML;q=0.9")]),
            (false, &[("Accept", "application/json")]),
            (false, &[("Accept", "text/event-stream")]),
            (false, &[("Accept", "image/png,image/svg+xml;q=0.8")]),
            (false, &[("X-Requested-With", "XMLHttpRequest")]),
            (false, &[("HX-Request", "true")]),
        ] {
            assert_eq!(asks("GET", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_document_is_a_whole_page_that_a_browser_shows() {
        // F2
        let shows = |status: u16, lines: &[(&'static str, &str)]| {
            let mut response = ResponseHeader::build(status, None).unwrap();
            for (name, value) in lines {
                response.append_header(*name, *value).unwrap();
            }
            is_document(&response)
        };
        for (expected, status, lines) in [
            (true, 200, &[HTML][..]),
            (true, 201, &[HTML]),
            (true, 200, &[("Content-Type", "Application/XHTML+XML")]),
            (true, 200, &[HTML, ("Content-Disposition", "inline; filename=a.html")]),
            (false, 200, &[HTML, ("Content-Disposition", "attachment; filename=a.html")]),
            (false, 200, &[HTML, ("Content-Disposition", "Attachment")]),
            (false, 200, &[]),
            (false, 200, &[("Content-Type", "application/json")]),
            (false, 200, &[("Content-Type", "text/vnd.turbo-stream.html")]),
            (false, 204, &[HTML]),
            (false, 205, &[HTML]),
            (false, 206, &[HTML]),
            (false, 302, &[HTML]),
            (false, 304, &[HTML]),
            (false, 404, &[HTML]),
            (false, 500, &[HTML]),
        ] {
            assert_eq!(shows(status, lines), expected, "{status} {lines:?}");
        }
    }
}
