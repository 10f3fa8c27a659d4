//! The list of cases: which there are, what they need, and in which order they run.
//!
//! An entry is `folder name [needs]`: the folder `any` for cases of every reach, `here` for
//! those that need closures, `there` for those that need worker processes; `statistically`
//! marks those that look for races. The macro [`conformance!`](crate::conformance!) and the
//! tables below are made of the same list.

use super::Rule;
use super::case::{Case, Need};
use super::in_process;
#[cfg(feature = "remote")]
use super::same_binary;
use super::subject::Body;
use crate::InProcess;

/// Hands the list to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    ([$($then:tt)*]) => {
        $($then)*! {
            ord_1 Ord1 {
                any collect_keeps_input_order [];
                any collect_keeps_the_order_of_a_lazy_input [];
                any collect_keeps_order_where_results_need_more_room [];
                any ordered_yields_in_input_order [];
                any for_each_is_called_in_input_order [];
                any outcomes_are_in_input_order [];
                any as_completed_names_each_item_by_its_index [];
                any each_handle_gives_the_result_of_its_own_task [];
                any as_completed_handles_keep_their_positions [];
                here ordered_waits_for_a_slow_first_item [Workers TwoWorkers];
                here as_completed_does_not_wait_for_a_slow_item [Workers TwoWorkers];
                here an_item_is_yielded_while_its_chunk_goes_on [Workers];
                here a_ready_item_does_not_wait_for_the_input [Workers];
                here as_completed_handles_come_as_they_end [Workers TwoWorkers];
            }
            once_1 Once1 {
                any every_submitted_task_gives_its_result [];
                any every_submitted_task_gives_its_result_one_by_one [];
                any as_completed_yields_each_item_once [];
                any as_completed_handles_yield_each_task_once [];
                any outcomes_has_one_entry_for_each_item [];
                any the_result_of_an_unwatched_task_is_dropped_in_peace [];
                any retries_give_up_after_the_last [];
                there every_item_starts_once_in_a_worker [];
                here every_item_starts_once [];
                here every_task_starts_once [];
                here an_item_that_fails_is_not_started_again [];
                here with_retries_an_item_is_tried_until_it_succeeds [];
                here a_task_runs_although_its_handle_is_dropped [];
                here on_done_is_called_once [];
                here every_item_and_result_is_dropped_once [];
                here every_value_is_dropped_once_when_a_map_fails [];
                here every_value_is_dropped_once_when_an_iterator_is_left [];
            }
            par_1 Par1 {
                any parallelism_is_what_was_asked_for [ChosenSize];
                any every_executor_has_an_identity_of_its_own [];
                here tasks_run_on_threads_of_the_executor [Workers];
                here as_many_tasks_run_at_once_as_declared [Workers];
                here as_many_items_of_a_map_run_at_once_as_declared [Workers];
                here a_task_does_not_wait_while_a_worker_is_idle [Workers TwoWorkers];
                here a_task_of_a_busy_worker_does_not_wait_for_it [Workers TwoWorkers];
                here full_strength_is_there_after_panics [Workers];
                here never_more_jobs_run_at_once_than_declared [Workers];
                here submit_returns_before_the_task_ends [Workers];
                here submit_returns_while_every_worker_is_busy [Workers];
            }
            lazy_1 Lazy1 {
                any an_endless_input_works_in_order [];
                any an_endless_input_works_as_completed [];
                any the_bound_holds_for_ordered [];
                any the_bound_holds_for_as_completed [];
                any the_bound_holds_for_for_each [];
                any the_bound_holds_for_chunks_larger_than_it [];
                any the_default_bound_is_finite [];
                any nothing_is_pulled_before_the_map_is_started [];
                any a_finished_stream_has_pulled_every_item_once [];
            }
            lazy_2 Lazy2 {
                any the_input_is_entered_by_one_thread_at_a_time [];
                any a_panic_in_the_input_reaches_every_kind_of_caller [];
                any items_before_a_panic_in_the_input_are_delivered [];
                any outcomes_end_with_the_panic_of_the_input [];
                any the_pool_survives_a_panic_in_the_input [];
                any an_input_that_has_ended_is_not_asked_again [];
                any a_wrong_size_hint_loses_nothing_in_silence [];
            }
            chunk_1 Chunk1 {
                any results_are_equal_for_every_chunk_size [];
                any errors_are_equal_for_every_chunk_size [];
                any panics_are_equal_for_every_chunk_size [];
                any tallies_are_equal_for_every_chunk_size [];
                any fail_fast_reports_the_same_failure_for_every_chunk_size [];
                here a_failure_ends_its_own_chunk_too [ChosenSize];
                here a_cancelled_chunk_ends_after_the_running_item [ChosenSize];
                here a_timed_out_item_costs_its_chunk_nothing [TimeLimits TwoWorkers];
            }
            err_1 Err1 {
                any every_ending_reports_the_failure [];
                any a_failure_ends_an_endless_map [];
                any ordered_ends_after_the_failure [];
                any the_rest_of_the_outcomes_is_cancelled [];
                any a_panic_fails_fast_too [];
                any stop_after_ends_with_so_many_failures [];
                any stop_above_ends_with_too_many_failures [];
                any retries_come_before_failing [];
                any a_map_without_failures_is_not_stopped [];
                here with_one_worker_nothing_starts_after_the_failure [ChosenSize];
                here nothing_starts_once_the_failure_is_known [];
                here running_items_are_asked_to_stop [Workers TwoWorkers];
                here items_that_do_not_stop_are_left_behind_in_limited_maps
                    [Workers TwoWorkers TimeLimits];
                here iterators_do_not_wait_for_running_items [Workers TwoWorkers];
            }
            err_2 Err2 {
                any one_worker_reports_the_first_failure [ChosenSize];
                any exactly_one_failure_is_reported [];
                any the_error_of_the_function_comes_back [];
                here of_two_known_failures_the_lower_is_reported [Workers TwoWorkers];
            }
            err_3 Err3 {
                any collect_reports_every_failure [];
                any collect_runs_every_item [];
                any ordered_yields_failures_in_their_places [];
                any as_completed_yields_failures_too [];
                any skip_delivers_the_successes_in_order [];
                any skipped_failures_are_counted [];
                any panics_can_be_collected_and_skipped [];
                any a_map_whose_items_all_fail_ends [];
            }
            pan_1 Pan1 {
                any a_panic_is_the_outcome_of_a_task [];
                any a_panic_is_the_outcome_of_its_item_alone [];
                any a_static_message_is_kept [];
                any a_payload_that_is_no_string_is_survived [];
                any the_pool_goes_on_after_many_panics [];
                any a_panic_can_be_retried [];
                any a_drop_that_panics_inside_a_task_is_its_outcome [];
                here the_place_of_a_panic_is_kept [];
                here a_payload_may_panic_when_it_is_dropped [];
                here a_result_may_panic_when_it_is_dropped [];
                here a_result_of_a_failed_collect_may_panic_when_it_is_dropped [];
                here an_unstarted_item_may_panic_when_it_is_dropped [];
                here a_function_may_panic_when_it_is_dropped [];
                here a_cancelled_task_may_panic_when_it_is_dropped [];
                here an_error_may_panic_when_it_is_printed [];
                here a_clone_that_panics_is_the_outcome_of_its_item [];
                here an_unused_copy_may_panic_when_it_is_dropped [];
                here an_error_may_panic_when_it_is_dropped [];
                here a_state_that_cannot_be_made_is_the_outcome_of_its_item [];
                here an_exit_hook_may_panic [];
                here a_state_may_panic_when_it_is_dropped [];
                here a_panic_replaces_the_state_of_its_worker [ChosenSize];
                here a_callback_may_panic [];
                here a_panic_in_for_each_reaches_its_caller [];
                here a_panic_inside_a_nested_map_stays_inside [];
            }
            can_1 Can1 {
                any cancelling_a_finished_task_is_too_late [];
                any a_map_with_a_cancelled_token_runs_nothing [];
                any a_token_ends_an_endless_stream [];
                any cancelling_after_the_end_changes_nothing [];
                any a_cancelled_map_never_passes_for_a_complete_one [] statistically;
                here a_cancelled_waiting_task_never_starts [Workers ChosenSize];
                here a_cancelled_running_task_is_asked [Workers];
                here a_task_may_ask_for_its_token_after_it_was_cancelled [Workers];
                here the_answer_is_true_at_every_moment [] statistically;
                here a_dropped_handle_cancels_if_it_was_told_to [Workers ChosenSize];
                here a_token_ends_a_map_and_asks_its_running_items [];
                here a_token_asks_the_running_items_of_a_limited_map [TimeLimits];
                here leaving_an_iterator_asks_its_running_items [Workers];
                here a_map_inside_a_cancelled_task_ends [Workers];
                here a_map_inside_ends_when_the_map_outside_fails [Workers TwoWorkers];
                here a_cancelled_task_may_still_give_its_result [Workers];
            }
            time_1 Time1 {
                any a_limit_that_cannot_be_kept_is_refused [];
                any a_limit_that_nobody_exceeds_changes_nothing [TimeLimits];
                any a_deadline_ends_an_endless_map [TimeLimits];
                there an_item_over_its_limit_costs_itself_alone [TimeLimits];
                there a_deadline_ends_items_that_never_end [TimeLimits];
                here an_item_over_its_limit_ends_as_timed_out [TimeLimits];
                here its_token_is_set [TimeLimits];
                here an_item_that_does_not_stop_is_left_behind [TimeLimits];
                here a_late_result_is_discarded [TimeLimits];
                here the_other_items_keep_their_results [TimeLimits];
                here the_time_counts_from_the_start_of_the_item [TimeLimits];
                here a_timed_out_item_can_be_retried [TimeLimits];
                here a_deadline_ends_the_map [TimeLimits ChosenSize];
                here a_deadline_leaves_running_items_behind [TimeLimits];
                here a_token_leaves_running_items_behind_after_the_grace [TimeLimits];
                here the_pool_has_its_workers_back_in_the_end [TimeLimits];
            }
            time_2 Time2 {
                any a_finished_task_is_joined_whatever_the_timeout [];
                any wait_for_all_returns_every_position [];
                any wait_for_the_first_returns_at_least_one [];
                any wait_for_the_first_error_finds_it [];
                any next_timeout_yields_what_is_done [];
                here join_timeout_gives_the_handle_back [Workers];
                here try_join_never_waits [Workers];
                here wait_returns_when_the_time_is_over [Workers];
                here next_timeout_returns_when_the_time_is_over [Workers];
                here a_wait_with_a_timeout_inside_a_task_ends [];
                here a_handle_is_a_future [Workers];
            }
            nest_1 Nest1 {
                here a_task_may_join_a_task [];
                here tasks_may_be_nested_deeply [];
                here tasks_may_fork_and_join [];
                here a_task_may_join_a_task_that_somebody_else_submitted [Workers];
                here a_task_may_map [];
                here a_task_may_read_an_iterator [];
                here maps_may_be_nested [];
                here every_worker_may_wait_at_once [];
                here a_scope_inside_a_map_may_map [];
                here a_scope_may_be_left_with_tasks_that_wait [];
                here the_input_of_a_map_may_be_another_map [];
                here the_input_of_a_map_may_use_the_pool [];
                here a_consumer_may_use_the_pool [];
                here a_task_may_wait_for_several [];
                here a_lock_may_be_held_over_a_nested_map [];
                here limited_maps_may_be_nested [TimeLimits];
                here two_pools_may_be_nested [];
            }
            drop_1 Drop1 {
                any a_pool_that_was_never_used_leaves_nothing [];
                any a_pool_that_was_used_leaves_nothing [];
                any a_pool_that_met_panics_leaves_nothing [];
                any many_pools_one_after_another_leave_nothing [];
                any many_pools_at_once_leave_nothing [];
                any every_handle_resolves_when_its_pool_is_dropped [];
                any an_iterator_may_be_left_at_any_moment [];
                any a_map_that_was_never_started_runs_nothing [];
                here waiting_tasks_resolve_when_the_pool_is_dropped [Workers];
                here values_of_waiting_tasks_are_dropped_with_the_pool [Workers];
                here the_last_reference_may_go_inside_a_task [Workers];
                here a_scope_waits_for_its_tasks [];
                here a_scope_that_is_left_by_a_panic_cancels_what_waits [Workers];
                here borrowed_data_is_not_used_after_the_map [];
                here an_iterator_that_is_left_does_not_wait [Workers];
                here an_iterator_and_its_pool_may_be_dropped_at_once [];
            }
            shut_1 Shut1 {
                any a_task_is_refused_after_a_shutdown [Shutdown];
                any every_map_is_refused_after_a_shutdown [Shutdown];
                any a_refused_map_is_an_error_under_every_policy [Shutdown];
                any a_map_ends_after_an_abort [Shutdown];
                any a_pool_can_be_shut_down_twice [];
                any an_idle_pool_can_be_shut_down [];
                any a_drain_runs_what_was_accepted [];
                any every_handle_resolves_after_a_shutdown [];
                any submits_race_with_a_shutdown [] statistically;
                here a_shutdown_does_not_wait_for_running_tasks [Workers];
                here a_drain_runs_what_waits [Workers];
                here what_waits_is_cancelled_at_once [Workers Shutdown];
                here a_waiter_wakes [Workers Shutdown];
                here an_abort_asks_running_tasks_to_stop [Workers Shutdown];
                here an_abort_ends_a_running_map [Workers Shutdown];
                here a_task_may_shut_its_own_pool_down [Shutdown];
                here a_running_map_ends_whatever_the_shutdown [];
                here a_task_may_submit_during_a_drain [Workers Shutdown];
                here a_scope_resolves_after_a_shutdown [Shutdown];
            }
            zero_1 Zero1 {
                any zero_workers_are_an_error [ChosenSize];
                any zero_items_are_no_work [];
                any zero_items_cannot_be_cancelled [];
                any one_item_is_enough [];
                any more_workers_than_items_are_no_trouble [];
                any a_chunk_may_be_larger_than_the_input [];
                any a_bound_may_be_larger_than_the_input [];
                any options_that_make_no_sense_are_errors [];
                any every_ending_checks_its_options [];
                any items_and_results_may_have_no_size [];
                any waiting_for_no_handles_returns_at_once [];
                any zero_retries_are_no_retries [];
            }
            obs_1 Obs1 {
                any the_beginning_and_the_end_are_told_once [];
                any every_failure_is_told_once [];
                any the_sum_is_the_total_under_every_policy [];
                any the_sum_is_the_total_of_a_vector_that_fails [];
                any the_end_is_told_when_an_iterator_is_left [];
                any finish_gives_the_report_of_the_observer [];
                any the_end_is_told_when_the_map_is_cancelled [];
                any totals_are_told_where_they_are_known [];
                any a_panicking_observer_harms_nothing [];
                any every_observer_is_told [];
                any retries_are_counted_beside_the_total [];
                here finished_items_are_counted_while_others_run [Workers ChosenSize];
                here items_that_were_left_behind_are_counted_once [TimeLimits];
            }
            res_1 Res1 {
                any a_failed_map_leaves_no_trace [];
                any a_cancelled_map_leaves_no_trace [];
                any a_left_iterator_leaves_no_trace [];
                any maps_on_one_pool_do_not_mix [];
                any two_iterators_on_one_pool_can_be_read_in_turn [];
                any many_maps_one_after_another_are_alike [];
                any a_context_belongs_to_its_map [];
                any a_worker_state_begins_afresh_with_each_map [];
                here every_state_is_made_and_taken_once [];
                here a_state_is_never_used_by_two_threads_at_once [];
                here a_left_behind_item_does_not_disturb_the_next_map [TimeLimits TwoWorkers];
                here the_token_of_one_map_is_not_that_of_the_next [];
                here a_worker_is_no_worker_after_the_map [];
            }
            rem_1 Rem1 {
                there a_crash_is_the_outcome_of_its_item_alone [CrashIsolation];
                there the_pool_goes_on_after_many_crashes [CrashIsolation];
                there a_crash_fails_fast [CrashIsolation];
                there a_crash_can_be_retried [CrashIsolation];
                there the_exit_code_of_a_task_that_exits_is_told [CrashIsolation];
            }
            rem_2 Rem2 {
                there an_item_that_cannot_travel_is_its_own_error [];
                there a_result_that_cannot_travel_is_its_own_error [];
            }
            rem_3 Rem3 {
                there no_worker_outlives_a_process_that_exits [OwnProcess];
                there no_worker_outlives_a_process_that_aborts [OwnProcess];
                there no_worker_outlives_a_process_that_is_killed [OwnProcess];
            }
            rem_4 Rem4 {
                there tasks_may_print [];
                there tasks_may_start_processes [];
            }
        }
    };
}

/// Makes a `#[test]` of every case: the executor is any expression of type
/// [`Subject`](crate::conformance::Subject).
///
/// Put it into a test target of its own, in a module of its own if there are several.
///
/// ```
/// mod inline {
///     use taskfarm_core::InlineExecutor;
///     use taskfarm_core::conformance::Subject;
///
///     taskfarm_core::conformance!(
///         Subject::new(|_| Ok(InlineExecutor::new())).runs_on_caller()
///     );
/// }
/// ```
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        fn __check(case: &str) {
            $crate::conformance::check(&$subject, case);
        }

        $crate::__conformance_list! { [$crate::__conformance_tests] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($($rule:ident $id:ident {
        $($folder:ident $name:ident [$($need:ident)*] $($statistically:ident)?;)*
    })*) => {
        $(
            mod $rule {
                $(
                    #[test]
                    fn $name() {
                        super::__check(concat!(stringify!($rule), "::", stringify!($name)));
                    }
                )*
            }
        )*
    };
}

macro_rules! is_statistical {
    () => {
        false
    };
    (statistically) => {
        true
    };
}

/// What a case needs because of the folder that it is in.
macro_rules! needs {
    (any $($need:ident)*) => {
        &[$(Need::$need),*]
    };
    (here $($need:ident)*) => {
        &[Need::Closures $(, Need::$need)*]
    };
    (there $($need:ident)*) => {
        &[Need::Processes $(, Need::$need)*]
    };
}

macro_rules! in_process_body {
    (any $rule:ident $name:ident) => {
        Some(in_process::any::$rule::$name)
    };
    (here $rule:ident $name:ident) => {
        Some(in_process::$rule::$name)
    };
    (there $rule:ident $name:ident) => {
        None
    };
}

#[cfg(feature = "remote")]
macro_rules! same_binary_body {
    (any $rule:ident $name:ident) => {
        Some(same_binary::any::$rule::$name)
    };
    (here $rule:ident $name:ident) => {
        None
    };
    (there $rule:ident $name:ident) => {
        Some(same_binary::$rule::$name)
    };
}

macro_rules! tables {
    ($($rule:ident $id:ident {
        $($folder:ident $name:ident [$($need:ident)*] $($statistically:ident)?;)*
    })*) => {
        /// Every case.
        pub(super) const CASES: &[Case] = &[$($(
            Case::new(
                Rule::$id,
                concat!(stringify!($rule), "::", stringify!($name)),
                needs!($folder $($need)*),
                is_statistical!($($statistically)?),
            ),
        )*)*];

        /// What each case does on an in-process executor; at the same position.
        pub(super) const IN_PROCESS: &[Option<Body<InProcess>>] = &[$($(
            in_process_body!($folder $rule $name),
        )*)*];

        /// What each case does on an executor of worker processes; at the same position.
        #[cfg(feature = "remote")]
        pub(super) const SAME_BINARY: &[Option<Body<crate::SameBinary>>] = &[$($(
            same_binary_body!($folder $rule $name),
        )*)*];
    };
}

crate::__conformance_list! { [tables] }
