//! Stages and lanes: the order of work. A stage begins when the one before has ended; its lanes run side by side, at most
//! `workers` at a time and begun in their order; a lane's steps run in a row. Steps are numbers here, so that the order can
//! be tested apart from everything that steps are.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::Schedule;

/// Steps in a row, each the only reader of the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Their places in [`super::Plan::steps`], in order.
    pub steps: Vec<usize>,
}

/// Lanes side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The most lanes at a time.
    pub workers: u32,
    /// The lanes.
    pub lanes: Vec<Lane>,
}

/// Steps that may run side by side, at most `workers` at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The most steps at a time.
    pub workers: u32,
    /// The steps, in the document's order.
    pub steps: Vec<usize>,
}

/// What every step reads, by number; each number is lower than the reader's.
pub type Reads = [BTreeSet<usize>];

/// The order of work. Every step of `groups` is in it once, behind everything that it reads.
pub fn arrange(groups: &[Group], reads: &Reads, schedule: Schedule) -> Vec<Stage> {
    let readers = readers(reads);
    let mut stages: Vec<Stage> = Vec::new();
    for group in groups {
        for stage in within(group, reads, &readers) {
            match stages.last_mut() {
                Some(before) if schedule == Schedule::Eager && follows(before, &stage, group, reads, &readers) => {
                    append(before, stage, reads);
                }
                _ => stages.push(stage),
            }
        }
    }
    stages
}

fn readers(reads: &Reads) -> Vec<Vec<usize>> {
    let mut readers = vec![Vec::new(); reads.len()];
    for (reader, read) in reads.iter().enumerate() {
        for &step in read {
            readers[step].push(reader);
        }
    }
    readers
}

/// The stages of one group: one, unless its steps read each other in a way that lanes cannot express.
fn within(group: &Group, reads: &Reads, readers: &[Vec<usize>]) -> Vec<Stage> {
    let lane = |step| Lane { steps: vec![step] };
    if group.workers <= 1 {
        // One after the other, in the document's order: lanes of one stage promise no order of their ends.
        return group.steps.iter().map(|&step| Stage { workers: 1, lanes: vec![lane(step)] }).collect();
    }
    let mut stages: Vec<Stage> = Vec::new();
    let mut level_of = vec![None; reads.len()];
    for &step in &group.steps {
        let own: Vec<usize> = reads[step].iter().copied().filter(|&read| level_of[read].is_some()).collect();
        let level = match own[..] {
            [] => 0,
            [read] if readers[read] == [step] => {
                let level = level_of[read].unwrap_or(0);
                if let Some(lane) = stages[level].lanes.iter_mut().find(|lane| lane.steps.last() == Some(&read)) {
                    lane.steps.push(step);
                    level_of[step] = Some(level);
                    continue;
                }
                level + 1
            }
            _ => own.iter().filter_map(|&read| level_of[read]).max().unwrap_or(0) + 1,
        };
        level_of[step] = Some(level);
        if stages.len() <= level {
            stages.resize(level + 1, Stage { workers: group.workers, lanes: Vec::new() });
        }
        stages[level].lanes.push(lane(step));
    }
    stages
}

/// Whether the lanes of `next` may follow at once those steps of `before` of which each is the only reader, instead of
/// waiting for the whole stage.
///
/// The run must not become later by it, however long the steps take, and nobody may get more workers than they asked for.
/// So all of the stage has to follow, or what stays would wait for what went ahead. And where `before` has more lanes than
/// workers, a lane that has become longer makes others begin later: with two workers, lanes of 2, 1 and 1 s followed by
/// steps of 0, 1 and 1 s end after 3 s, and lanes of 2, 2 and 2 s after 4. Then only one lane may grow: it delays
/// everything by its own length at most, as the next stage would have.
fn follows(before: &Stage, next: &Stage, group: &Group, reads: &Reads, readers: &[Vec<usize>]) -> bool {
    let there: BTreeSet<usize> = before.lanes.iter().flat_map(|lane| lane.steps.iter().copied()).collect();
    let mut followed = BTreeSet::new();
    for lane in &next.lanes {
        let Some((first, others)) = lane.steps.split_first() else { return false };
        let mut read = reads[*first].intersection(&there);
        match (read.next(), read.next()) {
            (Some(&read), None) if readers[read] == [*first] => followed.insert(read),
            _ => return false,
        };
        if others.iter().any(|step| !reads[*step].is_disjoint(&there)) {
            return false;
        }
    }
    let never_later = before.lanes.len() <= before.workers as usize || next.lanes.len() == 1;
    // A group may come in more than one stage, and the lanes that hold its steps are at work together.
    let own: BTreeSet<usize> = group.steps.iter().copied().chain(followed).collect();
    let at_once = before.lanes.iter().filter(|lane| lane.steps.iter().any(|step| own.contains(step))).count();
    never_later && at_once.min(before.workers as usize) <= group.workers as usize
}

fn append(before: &mut Stage, next: Stage, reads: &Reads) {
    let lanes = before.lanes.iter().enumerate();
    let lane_of: BTreeMap<usize, usize> = lanes.filter_map(|(n, lane)| Some((*lane.steps.last()?, n))).collect();
    for lane in next.lanes {
        let read = lane.steps.first().and_then(|&first| reads[first].iter().find_map(|read| lane_of.get(read)));
        if let Some(&read) = read {
            before.lanes[read].steps.extend(lane.steps);
        }
    }
}

/// How long the stages take, in the unit of `length`, if a step takes `length(step)`: lanes begin in their order, each as
/// soon as a worker is free.
pub fn wall(stages: &[Stage], length: impl Fn(usize) -> u64) -> u64 {
    let of_stage = |stage: &Stage| {
        let mut workers = vec![0u64; (stage.workers.max(1) as usize).min(stage.lanes.len().max(1))];
        for lane in &stage.lanes {
            let lane: u64 = lane.steps.iter().map(|&step| length(step)).sum();
            if let Some(free) = workers.iter_mut().min() {
                *free += lane;
            }
        }
        workers.into_iter().max().unwrap_or(0)
    };
    stages.iter().map(of_stage).sum()
}

/// The longest way through what reads what: no order of work is quicker.
pub fn critical_path(reads: &Reads, length: impl Fn(usize) -> u64) -> u64 {
    let mut ends = Vec::with_capacity(reads.len());
    for (step, read) in reads.iter().enumerate() {
        let ready = read.iter().filter_map(|&read| ends.get(read).copied()).max().unwrap_or(0);
        ends.push(ready + length(step));
    }
    ends.into_iter().max().unwrap_or(0)
}
