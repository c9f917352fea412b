//! The tests that every implementation of the traits passes, generic over it. The implementations in memory and on AWS pass the
//! same functions, so that tests in memory are meaningful. A macro a suite names its tests, so that no implementation can
//! omit one.
#![expect(clippy::unwrap_used, reason = "a test suite: a failure is to be loud")]

pub mod batches;
pub mod budget;
pub mod entries;
pub mod firings;
pub mod objects;
pub mod runs;
pub mod sample;
pub mod steps;
pub mod storage;
pub mod tokens;
pub mod waiters;

/// Tests of the table. `$store` is an expression whose future gives an empty store; each test has its own.
#[macro_export]
macro_rules! table_contract {
    ($store:expr) => {
        $crate::contract_tests!($store, entries: [
            an_entry_is_what_was_committed,
            a_commit_needs_the_revision_it_read,
            one_of_many_creators_wins,
            an_attempt_is_what_was_committed,
            the_first_report_stays,
            a_job_belongs_to_one_attempt,
            many_entries_at_once,
            due_entries_in_order,
        ]);
        $crate::contract_tests!($store, budget: [
            a_hold_and_its_end,
            a_hold_needs_a_running_run_and_its_money,
            a_settlement_needs_the_run_only,
            a_budget_for_ten_covers_ten_of_a_hundred_holds,
            joining_needs_the_waiter,
            a_refused_commit_changes_nothing,
        ]);
        $crate::contract_tests!($store, waiters: [
            waiting_again_overwrites_the_token_only,
            joining_and_running_are_recorded,
            every_waiter_of_the_entry_and_no_other,
            only_the_latest_token_ends_a_wait,
            a_waiter_of_any_token_is_deleted,
        ]);
        $crate::contract_tests!($store, runs: [
            a_run_is_what_was_created,
            a_run_is_created_once,
            runs_are_listed_newest_first,
            planning_twice_keeps_the_steps,
            steps_in_the_order_of_the_document,
            a_run_is_stopped_while_it_runs,
            a_run_is_closed_once,
            open_runs_are_those_that_have_not_ended,
            overdue_runs_in_order,
            the_last_planned_run_of_a_pipeline,
        ]);
        $crate::contract_tests!($store, batches: [
            a_batch_is_created_planned_stopped_and_closed,
            an_ended_batch_is_redriven,
            due_batches_in_order,
            a_chunk_counts_once,
            a_budget_is_shared_by_the_chunks,
            a_grant_is_topped_up,
            what_is_settled_after_the_end_of_a_chunk_goes_to_the_batch,
            the_money_of_a_batch_is_conserved,
        ]);
        $crate::contract_tests!($store, firings: [the_latest_firing_stays,]);
        $crate::contract_tests!($store, storage: [
            usage_is_zero_at_first,
            usage_added_during_a_measurement_stays,
            one_of_two_measurements_counts,
        ]);
        $crate::contract_tests!($store, steps: [
            a_key_is_noted,
            every_row_has_steps_of_its_own,
            beginning_counts_and_notes_the_first,
            a_source_is_noted_until_the_step_is_decided,
            the_first_pin_stays,
            a_result_outweighs_a_failure,
            the_first_failure_stays,
            a_step_that_is_missing_stays_missing,
        ]);
    };
}

/// Tests of objects. `$store` is an expression whose future gives a store.
#[macro_export]
macro_rules! objects_contract {
    ($store:expr) => {
        $crate::contract_tests!($store, objects: [
            what_is_missing_is_missing,
            a_small_object_is_what_was_put,
            an_upload_is_seen_when_it_is_finished,
            an_upload_of_nothing_is_an_empty_object,
            lengths_around_a_part,
            a_long_upload_in_odd_pieces,
            the_first_upload_stays,
            an_aborted_upload_leaves_nothing,
            a_listing_continues_after_a_key,
            only_the_named_objects_are_deleted,
            a_touched_object_keeps_its_content,
            a_copy_needs_the_entity_tag,
        ]);
    };
}

/// Tests of task tokens. `$store` is an expression whose future gives the store and a function that opens a token.
#[macro_export]
macro_rules! tokens_contract {
    ($store:expr) => {
        $crate::contract_tests!($store, tokens: [
            a_token_accepts_one_success,
            a_token_accepts_one_failure,
            a_token_accepts_one_request_to_be_called_again,
            an_unknown_token_is_expired,
        ]);
    };
}

/// One test for each function of a module of the contract.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($store:expr, $module:ident: [$($name:ident,)*]) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let store = $store.await;
                    $crate::contract::$module::$name(&store).await;
                }
            )*
        }
    };
}
