//! A short chaos on every change, on a stack of its own.

use fresco_cli::stack::{Layout, Progress};
use fresco_tests::chaos::{Options, chaos};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_chaos_ends_well() {
    let instance = Layout::find().unwrap().root().join(format!("target/tmp/stack-{}", std::process::id()));
    let options = Options { instance, runs: 24, seed: 5, progress: Progress::silent() };
    let report = chaos(&options).await.unwrap();
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    assert!(report.billed > 0 && report.runs.values().sum::<u64>() == u64::from(options.runs));
}
