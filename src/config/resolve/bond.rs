//! `[sessions.<name>.binding]`: what sessions are bound to, and what happens when it changes.

use super::super::file::Session;
use super::super::given::Given;
use super::super::problem::Problem;
use super::Resolver;
use crate::manager::{Bond, OnChange};

/// What is a network unless the file says otherwise: what a household, or a small company, has.
const IPV4_PREFIX: u8 = 24;
const IPV6_PREFIX: u8 = 56;

pub(super) fn bond(session: &Session, to: &mut Resolver<'_>) -> Option<Bond> {
    let binding = &session.binding;
    let address = binding.address.value();
    let prefix = |to: &mut Resolver<'_>, setting: &str, given: &Given<u8>, default, most| {
        if let Some(written) = given.at().filter(|written| address == OnChange::Off && written.value != default) {
            let problem = Problem::error("session::binding", format!("`{setting}` means nothing without `address`"));
            to.report(problem.at(written.span.clone()).help("add `address = \"flag\"`, or remove it"));
        }
        to.within(setting, given, default, 1..=most)
    };
    let bond = Bond {
        scheme: binding.scheme.value(),
        user_agent: binding.user_agent.value(),
        address,
        ipv4_prefix: prefix(to, "ipv4_prefix", &binding.ipv4_prefix, IPV4_PREFIX, 32),
        ipv6_prefix: prefix(to, "ipv6_prefix", &binding.ipv6_prefix, IPV6_PREFIX, 128),
    };
    let is_bound = [bond.scheme, bond.user_agent, bond.address].iter().any(|on_change| *on_change != OnChange::Off);
    is_bound.then_some(bond)
}
