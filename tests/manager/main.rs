//! The session manager, from the cookies that come to the cookies that go, by a clock that the tests move.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod ages;
mod browser;
mod copies;
mod emptied;
mod exclusive;
mod history;
mod ids;
mod lending;
mod life;
mod newcomers;
mod others;
mod races;
mod remembering;
mod seats;
mod support;
mod unknown;
mod watched;

use cloakroom::codec::{AtRest, TokenMode};
use support::{House, Keeper};

/// One module of tests for each way to keep sessions. A test that is missing here is dead code, which the build refuses.
macro_rules! kept {
    ($way:ident = $keeper:expr; $($module:ident :: $test:ident,)*) => {
        mod $way {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    $module::$test(House::new($keeper)).await;
                }
            )*
        }
    };
}

macro_rules! in_a_store {
    ($($tests:tt)*) => {
        kept! { store_plain = Keeper::Store(AtRest::Plain); $($tests)* }
        kept! { store_sealed = Keeper::Store(AtRest::Sealed); $($tests)* }
    };
}

macro_rules! in_the_browser {
    ($($tests:tt)*) => {
        kept! { browser_sealed = Keeper::Browser(TokenMode::Sealed); $($tests)* }
        kept! { browser_signed = Keeper::Browser(TokenMode::Signed); $($tests)* }
    };
}

macro_rules! in_the_browser_with_a_memory {
    ($($tests:tt)*) => {
        kept! { remembering_sealed = Keeper::Remembering(TokenMode::Sealed); $($tests)* }
        kept! { remembering_signed = Keeper::Remembering(TokenMode::Signed); $($tests)* }
    };
}

in_a_store! {
    emptied::a_session_that_is_emptied_ends_and_its_cookie_goes,
    emptied::the_session_of_an_owner_outlives_its_data,
    emptied::a_session_of_nothing_but_a_message_ends_when_it_is_read,
    emptied::a_page_that_bears_a_token_does_not_outlive_its_session,
    emptied::a_refusal_is_told_before_an_empty_session_ends,
    emptied::a_key_that_died_is_nothing_to_keep,
    emptied::what_a_route_may_not_change_keeps_the_session,
    emptied::an_emptied_session_is_over_for_every_copy_of_its_cookie,
    emptied::an_answer_under_way_begins_another_session,
    emptied::a_condition_counts_for_what_is_left,
    emptied::nothing_revives_a_session_that_was_ended_in_truth,
    emptied::a_session_that_changed_meanwhile_is_not_emptied,
    newcomers::who_comes_back_is_written_down_once_and_no_newcomer_any_more,
    newcomers::a_change_by_who_comes_back_is_the_only_write,
    newcomers::who_does_not_come_back_is_forgotten_soon,
    newcomers::consent_is_asked_for_once,
    ages::the_browser_gets_its_cookie_again_before_it_drops_it,
    ages::a_cookie_that_the_browser_should_have_dropped_is_refused,
    ages::a_session_may_wish_for_a_cookie_that_ends_with_the_browser,
    ages::with_every_answer_the_cookie_is_renewed_where_the_policy_says_so,
    ages::sessions_from_before_the_setting_get_a_cookie_that_lasts,
    ages::the_moment_of_the_last_use_is_kept_where_it_is_told,
    history::a_history_tells_what_happened_and_no_value,
    history::who_ended_a_session_from_elsewhere_is_told,
    history::who_made_room_for_a_login_is_told_whose_it_was,
    history::the_clock_that_ended_a_session_is_told,
    history::a_session_that_gave_way_leads_to_the_one_in_its_place,
    history::a_refused_batch_is_noted_whether_its_page_was_delivered_or_not,
    history::a_session_that_its_store_has_lost_is_told_from_one_that_ended,
    history::the_oldest_changes_go_first,
    history::what_is_kept_outlives_the_session_for_so_long_and_no_longer,
    history::who_never_comes_back_leaves_no_history_behind,
    history::a_policy_without_history_pays_nothing,
    history::histories_outlive_the_key_that_sealed_them,
    history::a_damaged_history_begins_anew,
    history::parallel_answers_of_two_processes_are_all_noted,
    history::a_cut_connection_neither_loses_nor_doubles_a_change,
    history::a_store_that_fails_costs_the_history_and_not_the_answer,
    history::neither_values_nor_names_lie_in_the_store_in_the_clear,
    life::reading_creates_nothing,
    life::a_forged_cookie_costs_no_store_call_and_goes_away,
    life::the_browser_hears_of_a_session_only_when_its_copy_must_change,
    life::a_destroyed_session_is_over_for_every_copy_of_its_cookie,
    life::the_next_batch_after_the_end_begins_a_session_under_a_new_id,
    life::a_farewell_message_goes_into_a_new_session,
    life::a_session_ends_when_nobody_used_it_for_the_idle_time,
    life::a_session_ends_at_its_absolute_time_however_active_it_is,
    life::a_shorter_absolute_time_ends_sessions_that_began_before,
    life::a_session_that_is_over_is_so_although_the_store_fails_to_remove_it,
    life::sessions_that_began_before_a_moment_of_the_operators_choice_are_over,
    life::a_login_restarts_the_absolute_time,
    life::a_clock_that_steps_back_revives_nothing,
    life::use_is_written_down_at_most_every_interval,
    life::a_refused_batch_changes_nothing_and_is_loud,
    life::a_refusal_that_is_delivered_is_told_once,
    life::a_record_that_cannot_be_read_is_no_session,
    life::an_answer_finds_a_record_damaged_since_its_request_and_sets_no_cookie,
    life::a_dead_cookie_on_a_path_of_its_own_is_no_obstacle,
    life::an_owner_ends_the_others_or_all,
    life::ending_the_others_spares_the_session_that_moves_in_the_same_answer,
    life::a_cookie_that_moves_to_another_path_leaves_none_behind,
    ids::a_login_renews_the_id_and_the_old_one_is_dead_at_once,
    ids::a_late_answer_leaves_the_cookie_of_a_login_alone,
    ids::an_old_id_leads_to_the_new_one_for_the_grace,
    ids::no_answer_prolongs_the_grace,
    ids::two_changes_of_the_id_within_the_grace_are_a_chain,
    ids::a_page_whose_every_part_changes_the_id_loses_nothing,
    ids::without_grace_the_old_id_is_dead_at_once,
    ids::a_logout_through_the_old_id_ends_the_session,
    ids::a_ticket_of_an_older_key_is_issued_again_on_sight,
    ids::a_late_answer_under_an_older_key_hands_out_the_newest_id_or_none,
    exclusive::a_session_is_one_requests_alone_in_every_process,
    exclusive::what_an_answer_writes_ends_its_lock,
    exclusive::a_lock_is_no_change_of_the_session,
    exclusive::the_lock_of_a_process_that_died_ends_by_its_clock,
    exclusive::an_answer_whose_lock_has_passed_to_another_writes_nothing,
    exclusive::a_lease_that_nobody_took_is_still_its_holders,
    exclusive::what_others_write_on_routes_without_a_lock_leaves_it_in_place,
    exclusive::who_waits_follows_the_session_to_its_new_id_or_its_end,
    exclusive::no_more_wait_than_may,
    exclusive::in_one_process_the_next_comes_when_the_one_before_leaves,
    exclusive::who_has_no_session_locks_nothing,
    races::a_hundred_parallel_answers_lose_nothing,
    races::parallel_answers_that_change_the_id_lose_nothing,
    races::a_logout_among_parallel_answers_leaves_no_id_alive,
    races::a_late_answer_revives_no_session,
    races::a_late_login_begins_a_session_of_its_own,
    races::a_condition_is_decided_on_the_newest_record,
    races::a_value_that_only_the_old_copy_held_is_still_a_change,
    races::a_new_id_takes_along_what_was_written_meanwhile,
    unknown::a_cut_connection_costs_the_visitor_nothing,
    unknown::a_session_begins_although_the_connection_was_cut,
    unknown::a_logout_ends_the_session_although_the_connection_was_cut,
    unknown::the_end_of_the_others_reaches_all_of_them_although_the_connection_was_cut,
    unknown::a_cut_write_that_was_overtaken_is_made_on_what_is_there_now,
    unknown::a_late_write_that_cannot_take_place_any_more_is_made_on_what_is_there_now,
    unknown::a_write_that_may_lie_under_another_is_neither_made_again_nor_acknowledged,
    unknown::a_cut_write_on_a_session_that_ended_meanwhile_revives_nothing,
    unknown::a_write_answered_too_late_took_place_once,
    unknown::a_write_of_unknown_outcome_is_an_error_if_anything_was_asked,
    unknown::use_is_written_down_although_the_connection_was_cut,
    unknown::no_login_under_way_survives_the_end_of_all,
    others::the_end_of_the_others_spares_a_session_that_gets_a_new_id_elsewhere,
    others::whoever_asked_in_vain_to_end_all_sessions_can_ask_again,
    others::a_login_in_an_answer_that_ends_all_is_no_login_and_ends_nobody_elses_sessions,
    copies::a_batch_on_an_old_copy_is_applied_to_the_newest_record,
    copies::a_condition_that_holds_for_an_old_copy_only_is_refused,
    copies::an_old_copy_of_a_session_that_ended_revives_nothing,
    copies::a_login_on_an_old_copy_of_an_ended_session_begins_a_new_one,
    copies::an_old_copy_under_an_old_id_leads_to_the_newest_record,
    copies::a_copy_is_not_believed_when_it_speaks_against_the_session,
    copies::an_old_copy_shortens_no_session,
    copies::a_session_that_holds_cookies_is_never_shown_from_a_copy,
    lending::of_two_pages_under_way_one_shows_a_message,
    lending::what_an_answer_does_not_show_is_given_back_with_one_write_and_no_change,
    lending::a_session_is_in_use_although_its_messages_only_go_back,
    lending::a_request_without_an_answer_gives_back_what_it_held,
    lending::a_lease_ends_by_itself,
    lending::only_what_there_is_room_for_is_lent,
    lending::an_answer_consumes_what_its_request_was_shown_and_nothing_else,
    lending::what_the_backend_keeps_waits_for_the_next_request,
    lending::of_many_requests_at_once_one_is_handed_each_message,
    lending::messages_are_consumed_while_the_session_changes_all_the_time,
    lending::an_old_copy_hands_out_nothing_that_is_gone_or_held,
    lending::a_cut_connection_hands_a_message_to_one_request_still,
    lending::where_a_lease_cannot_be_written_the_messages_stay,
    lending::a_page_passes_although_its_messages_cannot_be_given_back,
    lending::a_new_id_takes_along_who_holds_what,
    lending::what_an_answer_asks_of_its_session_settles_what_it_held,
    lending::a_page_whose_batch_was_refused_shows_its_messages_where_it_is_delivered,
    lending::a_session_that_is_resolved_once_more_gives_back_what_the_request_held,
    seats::a_login_beyond_the_limit_is_refused_whole_or_ends_another_session,
    seats::the_visitor_of_a_session_that_made_room_loses_the_cookie,
    seats::a_seat_is_freed_by_whatever_ends_the_session,
    seats::the_end_of_the_others_frees_their_seats,
    seats::a_session_that_changes_its_id_keeps_its_seat,
    seats::a_login_on_an_old_copy_takes_along_the_seat_of_the_newest_id,
    seats::sessions_that_began_before_there_was_a_limit_count,
    seats::a_roster_that_cannot_be_read_is_begun_anew,
    seats::a_login_that_fails_takes_no_seat,
    seats::a_login_that_is_given_up_half_way_holds_its_seat_for_a_moment_only,
    seats::a_cut_connection_costs_no_seat,
    seats::sessions_that_an_operator_ended_take_no_seat,
    seats::logins_at_once_leave_no_more_sessions_than_there_may_be,
    seats::logouts_and_new_ids_among_logins_leave_no_more_sessions_than_there_may_be,
}

in_the_browser! {
    emptied::a_session_that_is_emptied_ends_and_its_cookie_goes,
    emptied::the_session_of_an_owner_outlives_its_data,
    emptied::a_session_of_nothing_but_a_message_ends_when_it_is_read,
    emptied::a_page_that_bears_a_token_does_not_outlive_its_session,
    emptied::a_refusal_is_told_before_an_empty_session_ends,
    emptied::a_key_that_died_is_nothing_to_keep,
    emptied::what_a_route_may_not_change_keeps_the_session,
    ages::the_browser_gets_its_cookie_again_before_it_drops_it,
    ages::a_cookie_that_the_browser_should_have_dropped_is_refused,
    ages::a_session_may_wish_for_a_cookie_that_ends_with_the_browser,
    ages::with_every_answer_the_cookie_is_renewed_where_the_policy_says_so,
    ages::sessions_from_before_the_setting_get_a_cookie_that_lasts,
    ages::the_moment_of_the_last_use_is_kept_where_it_is_told,
    lending::a_session_in_a_cookie_lends_nothing_and_shows_what_waits,
    browser::a_session_is_a_cookie_and_no_store_is_asked,
    browser::a_session_grows_into_pieces_and_shrinks_without_leftovers,
    browser::a_session_that_is_too_large_is_refused_whole,
    browser::a_session_ends_by_our_clock,
    browser::the_end_removes_every_piece,
    browser::use_is_written_down_at_most_every_interval,
    browser::a_dead_cookie_on_a_path_of_its_own_is_no_obstacle,
    browser::a_session_under_an_older_key_is_issued_again_on_sight,
    browser::what_does_not_verify_is_no_session_and_goes_away,
    browser::nobody_ends_the_sessions_of_other_browsers,
    browser::a_cookie_that_moves_to_another_path_leaves_none_behind,
}

in_the_browser_with_a_memory! {
    emptied::a_session_that_is_emptied_ends_and_its_cookie_goes,
    emptied::the_session_of_an_owner_outlives_its_data,
    emptied::a_session_of_nothing_but_a_message_ends_when_it_is_read,
    emptied::a_page_that_bears_a_token_does_not_outlive_its_session,
    emptied::a_refusal_is_told_before_an_empty_session_ends,
    emptied::a_key_that_died_is_nothing_to_keep,
    emptied::what_a_route_may_not_change_keeps_the_session,
    history::what_browsers_keep_has_a_history_too,
    life::sessions_that_began_before_a_moment_of_the_operators_choice_are_over,
    remembering::no_copy_of_the_cookie_of_a_session_that_ended_works,
    remembering::reading_asks_the_store_and_writes_nothing,
    remembering::an_owner_ends_the_others_or_all,
    remembering::whoever_ends_the_others_last_is_the_one_who_is_left,
    others::a_login_in_an_answer_that_ends_all_is_no_login_and_ends_nobody_elses_sessions,
    remembering::of_two_that_end_each_other_at_once_neither_is_left,
    remembering::a_late_answer_hands_out_no_cookie_of_a_session_that_ended,
    remembering::a_late_login_begins_a_session_of_its_own,
    remembering::a_store_that_cannot_answer_neither_ends_nor_admits_a_session,
    remembering::a_note_that_cannot_be_read_ends_what_it_may_have_meant_and_no_later_login,
    remembering::a_login_on_a_machine_whose_clock_is_behind_counts,
    remembering::a_session_outlives_no_note,
}
