//! Sessions that are bound to what their visitor looks like: to his scheme, his browser, his network (SL14).
//!
//! The imprint is taken when a session begins, and anew with `X-Session-Login` and `X-Session-Regenerate`. A session from
//! before the setting gets one with its next write.

use super::{Custody, Origin, Session, SessionError, SessionManager};
use crate::clock::Timestamp;
use crate::codec::{imprint, is_imprint};
use crate::session::{Changed, Head, Imprint, Lineage, State, Trait, View, What};
use std::net::IpAddr;

/// How often it is decided again when others are faster.
const MAX_ATTEMPTS: usize = 32;

/// What happens when a property has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// Nothing: the session is not bound to it.
    #[default]
    Off,
    /// The backend is told.
    Flag,
    /// The session ends.
    End,
}

/// What the sessions of a policy are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bond {
    /// Whether the visitor comes over TLS.
    pub scheme: OnChange,
    /// The visitor's browser; digits and dots in its name do not count, since versions change.
    pub user_agent: OnChange,
    /// The visitor's network.
    pub address: OnChange,
    /// How many leading bits of an IPv4 address are the network.
    pub ipv4_prefix: u8,
    /// How many leading bits of an IPv6 address are the network.
    pub ipv6_prefix: u8,
}

impl Bond {
    const fn on_change(self, which: Trait) -> OnChange {
        match which {
            Trait::Scheme => self.scheme,
            Trait::UserAgent => self.user_agent,
            Trait::Address => self.address,
        }
    }

    /// What is compared of a visitor's property; `None` where it cannot be told, or does not matter.
    fn text(self, which: Trait, looks: Looks<'_>) -> Option<Vec<u8>> {
        if self.on_change(which) == OnChange::Off {
            return None;
        }
        match which {
            Trait::Scheme => Some(vec![u8::from(looks.is_secure)]),
            Trait::UserAgent => {
                Some(looks.user_agent.iter().filter(|b| !b.is_ascii_digit() && **b != b'.').copied().collect())
            }
            Trait::Address => looks.address.map(|address| self.network(address)),
        }
    }

    /// The network of an address, a mapped IPv4 address as what it is.
    fn network(self, address: IpAddr) -> Vec<u8> {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(self.ipv4_prefix.into())).unwrap_or(0);
                (address.to_bits() & mask).to_be_bytes().to_vec()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(self.ipv6_prefix.into())).unwrap_or(0);
                (address.to_bits() & mask).to_be_bytes().to_vec()
            }
        }
    }
}

/// What a visitor looks like.
#[derive(Clone, Copy, Debug)]
pub struct Looks<'a> {
    /// He comes over TLS.
    pub is_secure: bool,
    /// His `User-Agent`; empty without one.
    pub user_agent: &'a [u8],
    /// His address; none on a Unix socket.
    pub address: Option<IpAddr>,
}

impl Session {
    /// What has changed about the visitor since the session was bound to him.
    #[must_use]
    pub const fn changed(&self) -> Changed {
        self.changed
    }

    fn lineage(&self) -> Option<Lineage> {
        self.snapshot.as_ref().and_then(|snapshot| Head::parse(&snapshot.bytes).ok()).map(|head| head.lineage)
    }
}

impl SessionManager {
    /// Holds the visitor against what the session is bound to, where the policy binds its sessions. One that must end does
    /// so here, in the store too; the visitor is anonymous from now on. What is bound later in this exchange is bound to
    /// these looks.
    ///
    /// A copy of some age may know another visitor than the newest record: nothing ends on its word.
    ///
    /// # Errors
    /// [`SessionError`] when the store cannot answer; then the session must not be shown.
    pub async fn recognize(&self, session: &mut Session, looks: Looks<'_>, now: Timestamp) -> Result<(), SessionError> {
        let Some(bond) = self.options.bond else { return Ok(()) };
        session.imprint =
            Imprint::new(|which| bond.text(which, looks).map(|text| imprint(&self.ring, &self.binding, which, &text)));
        for attempt in 0..MAX_ATTEMPTS {
            let changed = self.compare(session, bond, looks);
            let ends = Trait::ALL.into_iter().any(|which| changed.has(which) && bond.on_change(which) == OnChange::End);
            session.changed = changed;
            if !ends {
                return Ok(());
            }
            if session.is_degraded() {
                // A copy cannot be ended, and must not be shown to another.
                return Err(SessionError::Degraded);
            }
            if (attempt > 0 || matches!(self.custody, Custody::Browser { .. })) && self.end_stolen(session, now).await?
            {
                if let Some(lineage) = session.lineage() {
                    self.remember_end(lineage, What::Unrecognized, now).await;
                }
                let changed = changed.words().unwrap_or_default();
                tracing::warn!(target: "cloakroom::session", policy = self.options.name, changed, "a session ended: its visitor is another");
                session.end(false);
                return Ok(());
            }
            self.renew(session, now).await?;
        }
        Err(SessionError::Contended { attempts: MAX_ATTEMPTS })
    }

    fn compare(&self, session: &Session, bond: Bond, looks: Looks<'_>) -> Changed {
        let mut changed = Changed::default();
        let view = session.snapshot.as_ref().and_then(|snapshot| View::parse(&snapshot.bytes).ok());
        let Some(known) = view.and_then(|view| view.imprint()) else { return changed };
        for which in Trait::ALL {
            if let (Some(digest), Some(text)) = (known.of(which), bond.text(which, looks))
                && !is_imprint(&self.ring, &self.binding, which, &text, digest)
            {
                changed.add(which);
            }
        }
        changed
    }

    /// Ends a live session, as it is known here; `false` when another writer was faster.
    async fn end_stolen(&self, session: &Session, now: Timestamp) -> Result<bool, SessionError> {
        let Some(snapshot) = session.snapshot.as_ref().filter(|_| session.state == State::Live) else {
            return Ok(false);
        };
        let view = View::parse(&snapshot.bytes).ok();
        match (&self.custody, &session.origin) {
            (Custody::Server { store, at_rest }, Origin::Stored { id, version, .. }) => {
                let desk = self.desk(&**store, *at_rest, now);
                if !desk.end(id, *version).await? {
                    return Ok(false);
                }
                let record = view.and_then(|view| view.to_record().ok());
                self.vacate(&desk, record.as_ref(), id).await;
            }
            (Custody::Browser { revoked: Some(store), .. }, _) => {
                if let Some(view) = view {
                    self.endings(&**store, now).end(view.head.lineage).await?;
                }
            }
            // A copy of the cookie that comes from where it was bound still works: nobody remembers what has ended.
            _ => {}
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_is_the_network_and_the_browser_whatever_its_version() {
        // SL14
        let on = OnChange::Flag;
        let bond = Bond { scheme: OnChange::Off, user_agent: on, address: on, ipv4_prefix: 24, ipv6_prefix: 56 };
        let looks = |user_agent: &'static str, address: &str| Looks {
            is_secure: true,
            user_agent: user_agent.as_bytes(),
            address: address.parse().ok(),
        };
        let same = |which, a: Looks<'_>, b: Looks<'_>| bond.text(which, a) == bond.text(which, b);
        let (old, new) = ("Mozilla/5.0 Firefox/145.0", "Mozilla/5.0 Firefox/146.0.1");
        assert!(same(Trait::UserAgent, looks(old, ""), looks(new, "")));
        assert!(!same(Trait::UserAgent, looks(old, ""), looks("curl/8", "")));
        for (is_same, a, b) in [
            (true, "10.1.2.3", "10.1.2.200"),
            (true, "10.1.2.3", "::ffff:10.1.2.9"),
            (false, "10.1.2.3", "10.1.3.3"),
            (true, "2001:db8:0:aa01::1", "2001:db8:0:aaff::2"),
            (false, "2001:db8:0:aa01::1", "2001:db8:0:ab01::1"),
            (false, "10.1.2.3", "2001:db8::1"),
        ] {
            assert_eq!(same(Trait::Address, looks("", a), looks("", b)), is_same, "{a} {b}");
        }
        assert_eq!(bond.text(Trait::Address, looks("", "")), None);
        assert_eq!(bond.text(Trait::Scheme, looks("", "")), None, "off");
        for (ipv4_prefix, ipv6_prefix) in [(0, 0), (32, 128)] {
            let bond = Bond { ipv4_prefix, ipv6_prefix, ..bond };
            let differ =
                |a: &str, b: &str| bond.text(Trait::Address, looks("", a)) != bond.text(Trait::Address, looks("", b));
            assert_eq!(differ("10.1.2.3", "10.1.2.4"), ipv4_prefix == 32);
            assert_eq!(differ("2001:db8::1", "2001:db8::2"), ipv6_prefix == 128);
        }
    }
}
