//! Processes by identity: an id alone may have been given to another process since, so it counts only together with the
//! time when the process started.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A process that was seen alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// When it started, in words that are the same whenever they are read and differ between boots.
    started: String,
}

impl Identity {
    /// The living process with this id.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        started(pid).map(|started| Self { pid, started })
    }

    /// Whether it still lives. A zombie does not.
    pub(crate) fn alive(&self) -> bool {
        started(self.pid).as_ref() == Some(&self.started)
    }

    /// Waits until it is gone; `false` if it lives on after that time.
    pub(crate) fn gone_within(&self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        while self.alive() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
        true
    }

    /// Ends it and the group that it leads: asks, waits, then kills. `false` if it lives on even so.
    pub(crate) fn end(&self, patience: Duration) -> bool {
        if self.alive() {
            self.signal(Signal::TERM);
            if !self.gone_within(patience) {
                self.signal_group(Signal::KILL);
                self.signal(Signal::KILL);
            }
        }
        let gone = self.gone_within(Duration::from_secs(5));
        self.end_orphans();
        gone
    }

    /// Kills what is left of its group once it is gone. While the group has members its id is not given to another
    /// process; with a living process of that id, the group may be that one's and is left alone.
    pub(crate) fn end_orphans(&self) {
        if started(self.pid).is_none() {
            self.signal_group(Signal::KILL);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.rustix_pid() {
            // It may have ended meanwhile, which is what is wanted.
            let _ = kill_process(pid, signal);
        }
    }

    fn signal_group(&self, signal: Signal) {
        if let Some(pid) = self.rustix_pid() {
            let _ = kill_process_group(pid, signal);
        }
    }

    fn rustix_pid(&self) -> Option<Pid> {
        // 0 and 1 would stand for groups and for init.
        i32::try_from(self.pid).ok().filter(|&pid| pid > 1).and_then(Pid::from_raw)
    }
}

fn started(pid: u32) -> Option<String> {
    if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
        return from_stat(&stat, &fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default());
    }
    if fs::metadata("/proc/self/stat").is_ok() {
        return None;
    }
    // No /proc (macOS): ps knows, to the second.
    let output = Command::new("ps").args(["-o", "state=,lstart=", "-p", &pid.to_string()]).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let (state, started) = said.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

fn from_stat(stat: &str, boot: &str) -> Option<String> {
    // The name is in parentheses and may hold anything, so fields are counted from its end.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    Some(format!("{} after boot {}", fields.nth(18)?, boot.trim()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn a_process_is_known_by_id_and_start() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.alive());
        let other = Identity { started: "long ago".into(), ..me };
        assert!(!other.alive());
        assert!(other.end(Duration::ZERO), "a stale identity is gone, and nobody is harmed");
    }

    #[test]
    fn the_whole_group_ends() {
        let mut leader = Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .process_group(0)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(leader.stdout.take().unwrap()), &mut line).unwrap();
        let member = Identity::of(line.trim().parse().unwrap()).unwrap();
        let leader_identity = Identity::of(leader.id()).unwrap();
        assert!(leader_identity.end(Duration::from_secs(5)));
        leader.wait().unwrap();
        leader_identity.end_orphans();
        assert!(member.gone_within(Duration::from_secs(5)));
    }

    #[test]
    fn a_strange_name_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(from_stat(stat, "b\n").as_deref(), Some("4242 after boot b"));
        assert_eq!(from_stat(&stat.replace(" S ", " Z "), "b"), None);
    }
}
