//! Applications behind the proxy, as a browser finds them: each path has its page.

use super::support::Site;
use super::support::message::Message;
use super::support::tls::SelfSigned;
use super::support::upstream::{Gate, Reply, status};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A site of pages, which any host name leads to.
///
/// In a page `{state}`, `{data}`, `{flashes}` and `{csrf}` stand for what the application is told with the request. Requests
/// below `/together/` wait for each other in pairs.
pub struct Application {
    site: Site,
    scheme: &'static str,
    pages: Arc<Mutex<BTreeMap<String, Reply>>>,
    seen: Mutex<Vec<Message>>,
    _certificate: Option<tempfile::TempDir>,
}

impl Application {
    /// Served over TLS, by the proxy itself.
    pub fn over_tls(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = SelfSigned::new(dir.path(), "shop.example");
        let listener = format!(
            "[listeners.web]\naddress = \"@web\"\n[listeners.web.tls]\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]\n",
            made.cert.display(),
            made.key.display()
        );
        Self { _certificate: Some(dir), ..Self::new("https", &(listener + config)) }
    }

    /// Served without TLS.
    pub fn in_the_clear(config: &str) -> Self {
        Self::new("http", &format!("[listeners.web]\naddress = \"@web\"\n{config}"))
    }

    fn new(scheme: &'static str, config: &str) -> Self {
        let pages: Arc<Mutex<BTreeMap<String, Reply>>> = Arc::default();
        let (shown, gate) = (Arc::clone(&pages), Gate::for_many(2));
        let site = Site::answering(config, move |request| {
            let target = request.target();
            let path = target.split('?').next().unwrap_or_default();
            if path.starts_with("/together/") {
                gate.pass();
            }
            let reply = shown.lock().unwrap().get(path).cloned();
            reply.unwrap_or_else(|| status(404)).filled(|text| {
                let told = ["State", "Data", "Flashes", "Csrf"].map(|name| (name.to_lowercase(), request.told(name)));
                told.iter().fold(text, |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
            })
        });
        Self { site, scheme, pages, seen: Mutex::default(), _certificate: None }
    }

    /// From now on this is the answer there, whatever the query.
    pub fn shows(&self, path: &str, reply: Reply) {
        self.pages.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// The address of a page on this host.
    pub fn at(&self, host: &str, path: &str) -> String {
        format!("{}://{host}:{}{path}", self.scheme, self.site.proxy.address().port())
    }

    /// The requests that came for this path so far.
    pub fn requests(&self, path: &str) -> Vec<Message> {
        let mut seen = self.seen.lock().unwrap();
        seen.extend(self.site.upstream.take());
        let is_there = |request: &&Message| request.target().split('?').next() == Some(path);
        seen.iter().filter(is_there).cloned().collect()
    }

    /// What came last for this path.
    pub fn last(&self, path: &str) -> Message {
        self.requests(path).pop().unwrap_or_else(|| panic!("nobody asked for {path}"))
    }
}
