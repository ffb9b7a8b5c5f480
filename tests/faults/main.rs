//! Everything that can happen to a networked store, seen by a visitor through the real binary: no session that the store
//! acknowledged is lost, nobody is logged out, nothing is answered but what the route says, and it passes by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod engine;
mod outages;
#[path = "../servers/mod.rs"]
mod servers;
mod several;
#[path = "../support/mod.rs"]
mod support;
mod writes;

/// Each test with each store.
macro_rules! every_engine {
    ($($module:ident :: $test:ident,)*) => {
        every_engine! { @engine redis $($module::$test,)* }
        every_engine! { @engine memcached $($module::$test,)* }
        every_engine! { @engine postgres $($module::$test,)* }
    };
    (@engine $engine:ident $($module:ident :: $test:ident,)*) => {
        mod $engine {
            $(
                #[test]
                fn $test() {
                    crate::$module::$test(&crate::engine::Engine::$engine());
                }
            )*
        }
    };
}

every_engine! {
    outages::a_frozen_store_costs_time_and_no_session,
    outages::a_store_that_is_gone_costs_no_session,
    outages::a_slow_store_costs_at_most_its_limit,
    outages::a_killed_store_is_used_again_when_it_is_back,
    outages::a_proxy_starts_before_its_store,
    outages::each_route_does_what_it_says_in_an_outage,
    writes::a_write_that_is_cut_off_counts_once,
    writes::connections_that_break_under_load_lose_nothing,
    several::two_proxies_see_each_others_changes_at_once,
    several::of_pages_under_way_on_several_proxies_one_shows_a_message,
    several::a_logout_is_final_on_every_proxy,
    several::a_logout_ends_what_lasts_on_every_proxy,
    several::writers_on_two_proxies_add_up,
    several::a_lock_on_a_session_holds_on_every_proxy,
    several::a_late_answer_whose_lock_is_another_proxys_by_then_writes_nothing,
    several::a_cap_on_an_owner_holds_on_every_proxy,
    several::sessions_move_from_the_disk_while_visitors_use_them,
}
