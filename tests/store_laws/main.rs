//! The laws of `Store`, each one a test that runs against every store; what only one store promises; races and kills.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod bounds;
mod breaking;
mod copies;
mod cuts;
mod file;
mod full;
mod growth;
mod interleaving;
mod kills;
mod laws;
mod memcached;
mod moves;
mod near;
mod postgres;
mod processes;
mod races;
mod redis;
#[path = "../servers/mod.rs"]
mod servers;
mod support;
mod walks;

/// One module of tests for each store, in a module for each set of laws. A law that is missing here is dead code, which
/// the build refuses.
macro_rules! stores_keep {
    ($set:ident: [$($store:ident)*] $laws:tt) => {
        mod $set {
            $(stores_keep! { @store $store $laws })*
        }
    };
    (@store $store:ident { $($module:ident :: $law:ident,)* }) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $law() {
                    let fixture = crate::support::Fixture::$store();
                    crate::$module::$law(fixture.store()).await;
                }
            )*
        }
    };
}

// What every store promises.
stores_keep! {
    every: [
        memory
        disk_sync_always
        disk_sync_interval
        disk_sync_never
        disk_shared
        disk_guarded
        near_memory
        moving_memory
        moving_from_old
        redis
        redis_unix
        redis_tls_acl
        redis_sentinel
        redis_cluster
        memcached
        memcached_ring
        postgres
        postgres_pooler
        postgres_tls
    ]
    {
        laws::load_answers_none_for_absent_and_expired_alike,
        laws::what_was_written_comes_back_whole,
        laws::a_deadline_holds_at_the_millisecond_it_names,
        laws::create_never_overwrites_a_live_entry,
        laws::create_takes_the_place_of_an_expired_entry,
        laws::replace_writes_only_over_the_version_it_was_given,
        laws::a_version_does_not_fit_an_entry_made_anew,
        laws::a_deadline_moves_with_a_write_that_counts,
        laws::replace_of_what_was_never_there_is_gone,
        laws::replace_after_delete_is_gone,
        laws::replace_of_an_expired_entry_is_gone,
        laws::delete_of_an_absent_entry_succeeds,
        laws::what_was_seen_expired_stays_so_when_the_clock_steps_back,
        laws::no_clock_value_is_too_strange,
        laws::an_entry_that_is_too_large_is_refused_and_changes_nothing,
        races::parallel_increments_sum_up,
        races::only_one_of_parallel_creates_wins,
        races::destroy_racing_writes_revives_nothing,
        races::nobody_sees_an_older_state_after_a_newer_one,
    }
}

// The stores with an owner index.
stores_keep! {
    listing: [
        memory
        disk_sync_always
        disk_sync_interval
        disk_sync_never
        disk_shared
        disk_guarded
        near_memory
        moving_memory
        moving_from_old
        redis
        redis_unix
        redis_tls_acl
        redis_sentinel
        redis_cluster
        memcached
        memcached_ring
        postgres
        postgres_pooler
        postgres_tls
    ]
    {
        laws::the_index_lists_only_live_keys,
        laws::the_index_follows_a_change_of_owner,
        laws::the_index_follows_the_deadline,
        races::the_index_agrees_with_the_entries_after_a_race,
    }
}

// The stores whose expired entries we remove; others have a time to live of their own.
stores_keep! {
    sweeping: [
        memory
        disk_sync_always
        disk_sync_interval
        disk_sync_never
        disk_shared
        disk_guarded
        near_memory
        moving_memory
        postgres
        postgres_pooler
        postgres_tls
    ]
    {
        laws::sweep_removes_what_has_expired_up_to_its_limit,
        laws::sweep_goes_by_the_newest_deadline,
    }
}

// The stores that can be walked.
stores_keep! {
    walking: [
        memory
        disk_sync_never
        disk_shared
        disk_guarded
        near_memory
    ]
    {
        walks::a_walk_sees_every_live_entry_and_no_expired_one,
        walks::a_walk_sees_what_lives_through_all_of_it,
        walks::a_place_that_is_none_is_an_error,
        copies::a_copy_moves_every_live_entry_and_overwrites_nothing,
        copies::a_copy_that_is_killed_goes_on_where_it_stopped,
        copies::a_copy_under_load_loses_nothing_and_revives_nothing,
    }
}
