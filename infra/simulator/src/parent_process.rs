//! A watch on the process that started the simulator, so that the simulator ends with it.

use std::fs;
use std::time::Duration;

const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Waits until a process has ended, is a zombie, or has lost its id to another process. Never returns without `/proc`.
pub async fn parent_gone(pid: u32) {
    if fs::metadata("/proc/self/stat").is_err() {
        tracing::warn!(pid, "without /proc the parent process is not watched");
        return std::future::pending().await;
    }
    let Some(started) = start_time(pid) else { return };
    while start_time(pid) == Some(started) {
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

/// The start of a living process, in ticks since boot.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything, so fields are counted from its end.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_noticed() {
        assert!(start_time(std::process::id()).is_some());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let gone = tokio::spawn(parent_gone(child.id()));
        tokio::task::yield_now().await;
        assert!(!gone.is_finished());
        child.kill().unwrap();
        // Not waited for yet: a zombie counts as gone.
        tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap().unwrap();
        child.wait().unwrap();
    }
}
