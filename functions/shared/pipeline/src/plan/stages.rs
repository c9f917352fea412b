//! Stages and lanes: the order of work. A stage begins when the one before has ended; its lanes run side by side, at most
//! `workers` at a time and started in their order; a lane's steps run in a row. Steps are numbers here, so that the order can
//! be tested apart from everything that steps are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::document::ExecutionOrder;

/// Steps in a row, each the only reader of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Their places in [`super::Plan::steps`], in order.
    pub steps: Vec<usize>,
}

/// Lanes side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The most lanes at a time.
    pub workers: u32,
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

/// The reads of every step, by number; each number is lower than the reader's.
pub type Reads = [BTreeSet<usize>];

/// The order of work. Every step of `groups` is in it once, after everything that it reads.
pub fn arrange(groups: &[Group], reads: &Reads, schedule: ExecutionOrder) -> Vec<Stage> {
    let readers = readers(reads);
    let places = vec![None; reads.len()];
    let mut order = Order { reads, readers: &readers, stages: Vec::new(), places, own: BTreeSet::new() };
    for group in groups {
        order.own.clear();
        for stage in within(group, reads, &readers) {
            let lanes = if schedule == ExecutionOrder::Eager { order.followed(&stage, group) } else { None };
            match lanes {
                Some(lanes) => order.append(stage, lanes),
                None => order.push(stage),
            }
        }
    }
    order.stages
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
    // Level and lane of the steps so far.
    let mut places: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for &step in &group.steps {
        let mut own = reads[step].iter().filter_map(|read| Some((*read, *places.get(read)?)));
        let level = match (own.next(), own.next()) {
            (None, _) => 0,
            (Some((read, (level, at))), None) => {
                // This step is its only reader, so it is the last of its lane.
                if readers[read] == [step] {
                    stages[level].lanes[at].steps.push(step);
                    places.insert(step, (level, at));
                    continue;
                }
                level + 1
            }
            (Some((_, (one, _))), Some((_, (other, _)))) => {
                own.map(|(_, (level, _))| level).fold(one.max(other), usize::max) + 1
            }
        };
        if stages.len() <= level {
            stages.resize(level + 1, Stage { workers: group.workers, lanes: Vec::new() });
        }
        places.insert(step, (level, stages[level].lanes.len()));
        stages[level].lanes.push(lane(step));
    }
    stages
}

/// The stages so far, and where in them everything is: a long pipeline must not be searched again for each of its stages.
struct Order<'r> {
    reads: &'r Reads,
    readers: &'r [Vec<usize>],
    stages: Vec<Stage>,
    /// Stage and lane of the steps so far.
    places: Vec<Option<(usize, usize)>>,
    /// The lanes of the last stage that hold steps of the group at hand.
    own: BTreeSet<usize>,
}

impl Order<'_> {
    /// The lane that a step has in the last stage.
    fn lane(&self, step: usize) -> Option<usize> {
        let (stage, lane) = self.places[step]?;
        (stage + 1 == self.stages.len()).then_some(lane)
    }

    /// The lane of the last stage that each lane of `next` follows, if they may follow at once those steps of which each is
    /// the only reader, instead of waiting for the whole stage.
    ///
    /// The run must not become later by it, however long the steps take, and no group may get more workers than it asked
    /// for. So all of `next` has to follow, or what stays would wait for what went ahead. And where the last stage has more
    /// lanes than workers, a lane that has become longer makes others begin later: with two workers, lanes of 2, 1 and 1 s
    /// followed by steps of 0, 1 and 1 s end after 3 s, and lanes of 2, 2 and 2 s after 4. Then only one lane may grow: it
    /// delays everything by its own length at most, as the next stage would have.
    fn followed(&self, next: &Stage, group: &Group) -> Option<Vec<usize>> {
        let before = self.stages.last()?;
        let mut lanes = Vec::with_capacity(next.lanes.len());
        for lane in &next.lanes {
            let (first, others) = lane.steps.split_first()?;
            let mut there = self.reads[*first].iter().filter_map(|&read| Some((read, self.lane(read)?)));
            match (there.next(), there.next()) {
                (Some((read, lane)), None) if self.readers[read] == [*first] => lanes.push(lane),
                _ => return None,
            }
            if others.iter().any(|step| self.reads[*step].iter().any(|&read| self.lane(read).is_some())) {
                return None;
            }
        }
        let never_later = before.lanes.len() <= before.workers as usize || next.lanes.len() == 1;
        // A group may come in more than one stage, and the lanes that hold its steps are at work together. No two lanes
        // follow the same one: what they follow has one reader.
        let at_once = self.own.len() + lanes.iter().filter(|lane| !self.own.contains(lane)).count();
        (never_later && at_once.min(before.workers as usize) <= group.workers as usize).then_some(lanes)
    }

    fn push(&mut self, stage: Stage) {
        for (at, lane) in stage.lanes.iter().enumerate() {
            lane.steps.iter().for_each(|&step| self.places[step] = Some((self.stages.len(), at)));
        }
        self.own = (0..stage.lanes.len()).collect();
        self.stages.push(stage);
    }

    /// Appends the lanes of `next` to these lanes of the last stage.
    fn append(&mut self, next: Stage, lanes: Vec<usize>) {
        let number = self.stages.len().saturating_sub(1);
        let Some(last) = self.stages.last_mut() else { return };
        for (lane, at) in next.lanes.into_iter().zip(lanes) {
            lane.steps.iter().for_each(|&step| self.places[step] = Some((number, at)));
            last.lanes[at].steps.extend(lane.steps);
            self.own.insert(at);
        }
    }
}

/// The duration of the stages, in the unit of `length`, if a step takes `length(step)`: lanes begin in their order, each as
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
