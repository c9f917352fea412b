//! The order of work by table, and what has to hold of it for every document and for steps of any length.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::document::ExecutionOrder;

fn group(workers: u32, steps: &[usize]) -> Group {
    Group { workers, steps: steps.to_vec() }
}

fn reads(of: &[&[usize]]) -> Vec<BTreeSet<usize>> {
    of.iter().map(|read| read.iter().copied().collect()).collect()
}

/// `4:0,1 2 | 1:3`: workers, then lanes of comma-separated steps; stages between bars.
fn shape(stages: &[Stage]) -> String {
    let lane = |lane: &Lane| lane.steps.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let stage =
        |stage: &Stage| format!("{}:{}", stage.workers, stage.lanes.iter().map(lane).collect::<Vec<_>>().join(" "));
    stages.iter().map(stage).collect::<Vec<_>>().join(" | ")
}

#[test]
fn stages_by_table() {
    use ExecutionOrder::{Eager, Groups};
    // The guide's example: one picture, then a video and a thumbnail of it, then what reads the thumbnail.
    let guide = ([group(4, &[0]), group(4, &[1, 2]), group(4, &[3])], reads(&[&[], &[0], &[0], &[2]]));
    assert_eq!(shape(&arrange(&guide.0, &guide.1, Groups)), "4:0 | 4:1 2 | 4:3");
    assert_eq!(shape(&arrange(&guide.0, &guide.1, Eager)), "4:0 | 4:1 2,3");
    for (what, groups, reads, expected) in [
        ("a chain", vec![group(4, &[0]), group(4, &[1]), group(4, &[2])], reads(&[&[], &[0], &[1]]), "4:0,1,2"),
        ("two readers", vec![group(4, &[0]), group(4, &[1, 2])], reads(&[&[], &[0], &[0]]), "4:0 | 4:1 2"),
        ("a join", vec![group(4, &[0, 1]), group(4, &[2])], reads(&[&[], &[], &[0, 1]]), "4:0 1 | 4:2"),
        ("pairs", vec![group(4, &[0, 1]), group(4, &[2, 3])], reads(&[&[], &[], &[0], &[1]]), "4:0,2 1,3"),
        (
            "pairs, three deep",
            vec![group(4, &[0, 1]), group(4, &[2, 3]), group(4, &[4, 5])],
            reads(&[&[], &[], &[1], &[0], &[2], &[3]]),
            "4:0,3,5 1,2,4",
        ),
        // What stays would wait for what went ahead.
        ("one of two", vec![group(4, &[0, 1]), group(4, &[2, 3])], reads(&[&[], &[], &[0], &[]]), "4:0 1 | 4:2 3"),
        // Lanes wait for workers: only one may grow.
        (
            "few workers",
            vec![group(2, &[0, 1, 2]), group(4, &[3, 4])],
            reads(&[&[], &[], &[], &[0], &[1]]),
            "2:0 1 2 | 4:3 4",
        ),
        (
            "few workers, one reader",
            vec![group(2, &[0, 1, 2]), group(4, &[3])],
            reads(&[&[], &[], &[], &[1]]),
            "2:0 1,3 2",
        ),
        // The second group asked for one at a time.
        (
            "the other's workers",
            vec![group(4, &[0, 1]), group(1, &[2, 3])],
            reads(&[&[], &[], &[0], &[1]]),
            "4:0,2 1 | 1:3",
        ),
    ] {
        assert_eq!(shape(&arrange(&groups, &reads, Eager)), expected, "{what}");
    }
    // Within a group: a row, a fork, a join.
    let inner = [group(3, &[0, 1, 2, 3, 4])];
    let edges = reads(&[&[], &[0], &[], &[2], &[2]]);
    assert_eq!(shape(&arrange(&inner, &edges, Groups)), "3:0,1 2 | 3:3 4");
    // One worker: one after the other, in order.
    assert_eq!(shape(&arrange(&[group(1, &[0, 1])], &reads(&[&[], &[]]), Groups)), "1:0 | 1:1");
}

/// Groups of steps that read earlier ones, and lengths.
fn documents() -> impl Strategy<Value = (Vec<Group>, Vec<BTreeSet<usize>>, Vec<u64>)> {
    let group = (1u32..6, 1usize..6);
    (prop::collection::vec(group, 1..7), any::<u64>(), prop::collection::vec(0u64..100, 30)).prop_map(
        |(shape, seed, lengths)| {
            let mut random = seed;
            let mut draw = |below: usize| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) as usize % below.max(1)
            };
            let (mut groups, mut reads, mut next) = (Vec::new(), Vec::new(), 0);
            for (workers, count) in shape {
                for step in next..next + count {
                    // Few edges and near ones, or nothing could ever follow at once.
                    let edges = [0, 1, 1, 1, 2][draw(5)].min(step);
                    let near = |draw: &mut dyn FnMut(usize) -> usize| step - 1 - draw(step.min(count + 2));
                    let read: BTreeSet<usize> = (0..edges).map(|_| near(&mut draw)).collect();
                    reads.push(read);
                }
                groups.push(Group { workers, steps: (next..next + count).collect() });
                next += count;
            }
            (groups, reads, lengths)
        },
    )
}

/// The start and the end of every step, if lanes begin in their order as workers become free.
fn times(stages: &[Stage], length: impl Fn(usize) -> u64) -> Vec<(usize, u64, u64)> {
    let (mut times, mut from) = (Vec::new(), 0);
    for stage in stages {
        let mut workers = vec![from; stage.workers as usize];
        for lane in &stage.lanes {
            let free = workers.iter_mut().min().unwrap();
            for &step in &lane.steps {
                times.push((step, *free, *free + length(step)));
                *free += length(step);
            }
        }
        from = workers.into_iter().max().unwrap();
    }
    times
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_step_runs_once_behind_its_inputs_and_within_its_workers((groups, reads, lengths) in documents()) {
        for schedule in [ExecutionOrder::Groups, ExecutionOrder::Eager] {
            let stages = arrange(&groups, &reads, schedule);
            let length = |step: usize| lengths[step];
            let times = times(&stages, length);
            let mut seen: Vec<usize> = times.iter().map(|(step, ..)| *step).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..reads.len()).collect::<Vec<_>>());
            let of = |step: usize| *times.iter().find(|(found, ..)| *found == step).unwrap();
            for (step, read) in reads.iter().enumerate() {
                for &read in read {
                    prop_assert!(of(read).2 <= of(step).1, "{} before {}", step, read);
                }
            }
            // Never more of a group at a time than it asked for. Lengths of 0 overlap nothing.
            for group in &groups {
                for &step in &group.steps {
                    let at = of(step).1;
                    let busy = group.steps.iter().filter(|&&other| of(other).1 <= at && at < of(other).2).count();
                    prop_assert!(busy <= group.workers as usize, "{} at once in {:?}", busy, group);
                }
            }
            prop_assert_eq!(wall(&stages, length), times.iter().map(|(.., end)| *end).max().unwrap_or(0));
            prop_assert!(critical_path(&reads, length) <= wall(&stages, length));
        }
    }

    #[test]
    fn eager_is_never_later((groups, reads, lengths) in documents()) {
        let [groups, eager] = [ExecutionOrder::Groups, ExecutionOrder::Eager].map(|schedule| arrange(&groups, &reads, schedule));
        let length = |step: usize| lengths[step];
        prop_assert!(wall(&eager, length) <= wall(&groups, length), "{} later than {}", shape(&eager), shape(&groups));
    }
}

/// A group's own steps in a lane that is not limited by workers end no later either.
#[test]
fn eager_is_worth_it_where_it_may_be() {
    let groups = [group(4, &[0, 1, 2]), group(4, &[3, 4, 5])];
    let edges = reads(&[&[], &[], &[], &[0], &[1], &[2]]);
    let length = |step: usize| [5, 10, 15, 60, 30, 10][step];
    assert_eq!(wall(&arrange(&groups, &edges, ExecutionOrder::Groups), length), 75);
    assert_eq!(wall(&arrange(&groups, &edges, ExecutionOrder::Eager), length), 65);
    assert_eq!(critical_path(&edges, length), 65);
}
